"""A host's key for its reports is rotated by the host: the key that is registered signs a hand-over to the next one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from apps.audit import selectors as trail
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.deployments.gateways import keys
from apps.deployments.models import Host
from apps.deployments.services import refusals
from celery_worker import orders
from celery_worker.handover import LONGEST_OVERLAP, Handover, read_handover
from celery_worker.orders import OrderRefused

# An agent rotates once an overlap, so one at a time is what it carries.
MOST_HANDOVERS = 2


@transaction.atomic
def take_handover(*, handover: Any) -> Host | None:
    """Believe the next key of a host because its registered key signed for it; returns the host, or None when that is done already.

    The old key's reports count until the time that the hand-over names. A key hands over once; it may say it again with a later end.
    Raises OrderRefused with the reason.
    """
    named = handover.get("key_id") if isinstance(handover, Mapping) else None
    if not isinstance(named, str) or not named or len(named) > 16:
        raise OrderRefused("malformed", "A hand-over names the key that signed it.")
    active = Host.objects.filter(state="active")
    # A key whose time is over is looked up too: what it said is done, and no forgery.
    host = active.filter(key_id=named).first() or active.filter(previous_key_id=named).order_by("-previous_until").first()
    if host is not None and host.key_id == named:
        host = Host.objects.select_for_update(no_key=True).get(id=host.id)
    known = {host.key_id: host.public_key, host.previous_key_id: host.previous_public_key} if host else {}
    believed = {named: keys.public_key(known[named])} if known.get(named) else {}
    found = read_handover(handover, keys=believed, now=now(), key_purpose="agent")
    assert host is not None
    if host.key_id == found.new:
        return _lengthen(host, found)
    if host.key_id != found.old:
        raise OrderRefused("bad_signature", f"Key {found.old} has been replaced by {host.key_id} already, and hands over once.")
    if _handed_over_at(host, found.old) is not None:
        raise OrderRefused(
            "bad_signature",
            f"Key {found.old} handed over before it was registered again, and does so once; register another with register_host --replace-key.",
        )
    if Host.objects.filter(Q(key_id=found.new) | Q(previous_key_id=found.new)).exists():
        raise OrderRefused("bad_signature", f"Key {found.new} is, or was, a host's; a key does not come back.")
    host.previous_public_key, host.previous_key_id, host.previous_until = host.public_key, host.key_id, found.old_accepted_until
    host.public_key, host.key_id = orders.public_to_text(found.public), found.new
    host.save(update_fields=["public_key", "key_id", "previous_public_key", "previous_key_id", "previous_until"])
    audit.record(
        "deployments.host.key_handed_over", actor=Actor.agent(host.name), obj_type="host", obj_id=str(host.id), obj_label=host.name,
        before={"key_id": found.old}, after={"key_id": found.new, "old_accepted_until": found.old_accepted_until},
    )  # fmt: skip
    return host


def _lengthen(host: Host, found: Handover) -> Host | None:
    """A rotation that broke off was run again: while the old key counts, it counts until the later end that it names now.

    Never more than LONGEST_OVERLAP after it handed over, because whoever holds the old key can say so again and again.
    """
    if host.previous_until is None or found.old_accepted_until <= host.previous_until:
        return None
    host = Host.objects.select_for_update(no_key=True).get(id=host.id)
    began = _handed_over_at(host, found.old)
    if (host.key_id, host.previous_key_id) != (found.new, found.old) or host.previous_until is None or began is None:
        return None
    before, until = host.previous_until, min(found.old_accepted_until, began + LONGEST_OVERLAP)
    if not now() < before < until:
        return None
    host.previous_until = until
    host.save(update_fields=["previous_until"])
    audit.record(
        "deployments.host.overlap_lengthened", actor=Actor.agent(host.name), obj_type="host", obj_id=str(host.id), obj_label=host.name,
        before={"key_id": found.old, "old_accepted_until": before}, after={"key_id": found.old, "old_accepted_until": until},
    )  # fmt: skip
    return host


def _handed_over_at(host: Host, key_id: str) -> datetime | None:
    """When this key of the host handed over, as the trail has it; None when it did not."""
    told = trail.search(Actor.system("reports"), action="deployments.host.key_handed_over", obj=f"host:{host.id}")
    return next((event.occurred_at for event in told if event.facts["before"]["key_id"] == key_id), None)


def take_carried(*, envelope: Any) -> None:
    """Take up what travels beside a report; what is not believed changes nothing and is audited by its hash."""
    carried = envelope.get("handovers") if isinstance(envelope, Mapping) else None
    for one in carried[:MOST_HANDOVERS] if isinstance(carried, list) else ():
        try:
            take_handover(handover=one)
        except OrderRefused as refusal:
            digest = orders.sha256_of_envelope(one)
            refusals.tell(
                "deployments.host.handover_refused", source="unknown", reason=refusal.reason, digest=digest, detail=refusal.detail,
                actor=Actor.system("reports"), obj_type="message", obj_id=digest, obj_label="hand-over of an agent's key",
                after={"reason": refusal.reason, "sha256": digest},
            )  # fmt: skip

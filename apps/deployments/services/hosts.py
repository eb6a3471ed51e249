"""Serving hosts."""

import re

from django.db import transaction
from django.db.models import Q

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid
from apps.deployments import rules
from apps.deployments.gateways import keys
from apps.deployments.models import Host
from celery_worker import orders

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@transaction.atomic
def register_host(*, actor: Actor, name: str, public_key: str, replace_key: bool = False, overlap_hours: float = 0) -> Host:
    """Believe reports of the host `name` that this key (base64 of 32 bytes) signed. Repeating it changes nothing.

    Another key for a known name needs `replace_key`, because whoever holds it speaks for the host from then on. With `overlap_hours`
    reports that the old key signed count that much longer, such as those that wait on the host's disk.
    Raises Invalid naming the field, NotAllowed, Conflict.
    """
    rules.check_may_register_host(actor)
    if not _NAME.fullmatch(name):
        raise Invalid("name: use a-z, 0-9, '.', '-' and '_', at most 63 of them.", errors={"name": ["Not a host name."]})
    try:
        public = keys.public_key(public_key)
    except ValueError as error:
        raise Invalid("public_key: give base64 of the 32 bytes of an Ed25519 key.", errors={"public_key": ["Not a key."]}) from error
    text, key_id = orders.public_to_text(public), orders.key_id(public)
    overlap = rules.check_overlap(overlap_hours) if overlap_hours else None
    if Host.objects.filter(Q(key_id=key_id) | Q(previous_key_id=key_id, previous_until__gt=now())).exclude(name=name).exists():
        raise Conflict("public_key: another host has this key. Make a key for each host.", errors={"public_key": ["In use."]})
    host = Host.objects.select_for_update(no_key=True).filter(name=name).first()
    if host is None:
        host = Host.objects.create(name=name, public_key=text, key_id=key_id)
        audit.record(
            "deployments.host.registered", actor=actor, obj_type="host", obj_id=str(host.id), obj_label=name, after={"key_id": key_id}
        )
        return host
    if host.key_id == key_id:
        return host
    if not replace_key:
        raise Conflict(f"name: {name} is registered with another key. Ask to replace the key if the host was set up anew.")
    before, until = host.key_id, now() + overlap if overlap else None
    kept = (host.public_key, host.key_id, until) if until else ("", "", None)
    host.previous_public_key, host.previous_key_id, host.previous_until = kept
    host.public_key, host.key_id = text, key_id
    host.save(update_fields=["public_key", "key_id", "previous_public_key", "previous_key_id", "previous_until"])
    audit.record(
        "deployments.host.key_replaced", actor=actor, obj_type="host", obj_id=str(host.id), obj_label=name,
        before={"key_id": before}, after={"key_id": key_id, "old_accepted_until": until},
    )  # fmt: skip
    return host

"""Rotate the order key: the old key hands over to a new one and stays accepted for a while."""

from django.db import connection, transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.deployments import rules
from apps.deployments.gateways import keys
from apps.outbox import services as outbox

_ROTATION_LOCK = 0x6A7E0002


@transaction.atomic
def rotate_order_key(*, actor: Actor, overlap_hours: float) -> keys.Rotation:
    """Make the next order key and publish the old one's hand-over to it (where the order key is); `finish_key_rotation` then signs with it.

    overlap_hours: how long agents still accept the old key. Two steps, so that the trail has it before the first order under the new
    key; one that broke off between them is gone on with. Raises NotAllowed, Invalid, NoOrderKey.
    """
    rules.check_may_rotate(actor)
    overlap = rules.check_overlap(overlap_hours)
    _one_by_one()
    made = keys.begin_rotation(overlap=overlap)
    audit.record(
        "deployments.order_key.rotated", actor=actor, obj_type="key", obj_id=made.new, obj_label="order key",
        before={"key_id": made.old}, after={"key_id": made.new, "old_accepted_until": made.accepted_until},
    )  # fmt: skip
    return made


@transaction.atomic
def finish_key_rotation(*, actor: Actor) -> None:
    """Sign with the new key from now on, the routes of the gateways too. Repeating it changes nothing."""
    rules.check_may_rotate(actor)
    _one_by_one()
    keys.finish_rotation()
    outbox.put("deployments.publish_routing", {})


def _one_by_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ROTATION_LOCK])

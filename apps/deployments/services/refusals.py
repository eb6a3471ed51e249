"""Refused messages in the trail, bounded: whoever can write to the broker cannot fill it.

Of each source and reason the first few in a minute are events of their own; the rest are counted, and one more event says how many.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.deployments import rules
from apps.deployments.models import RefusalTally

KEEP_TALLIES = timedelta(days=1)


def tell(action: str, *, source: str, reason: str, digest: str, **event: Any) -> None:
    """Record the refusal of one message, or count it when its source was refused for this reason often in this minute.

    source: a host, or `unknown`; reason: one of orders.REASONS; digest: of the message. `event` goes to audit.record.
    """
    row, _ = RefusalTally.objects.get_or_create(action=action, source=source, reason=reason, minute=now().replace(second=0, microsecond=0))
    # The row is locked from here on, so two workers never take the same place.
    RefusalTally.objects.filter(id=row.id).update(count=F("count") + 1, last_digest=digest)
    row.refresh_from_db(fields=["count"])
    if row.count <= rules.REFUSALS_TOLD_A_MINUTE:
        audit.record(action, reason=event.pop("detail", ""), **event)


@transaction.atomic
def sum_up(*, actor: Actor) -> int:
    """For every minute that is over and had more refusals than were told, record one event with their number; returns how many."""
    moment = now().replace(second=0, microsecond=0)
    over = RefusalTally.objects.select_for_update(skip_locked=True).filter(minute__lt=moment, summed_up=False)
    told = 0
    for row in over.order_by("minute", "id")[:500]:
        if row.count > rules.REFUSALS_TOLD_A_MINUTE:
            audit.record(
                row.action, actor=actor, obj_type="message", obj_id=row.last_digest, obj_label="refused messages, summed up",
                reason=f"{row.count} messages were refused within a minute; {rules.REFUSALS_TOLD_A_MINUTE} of them have events of their own.",
                after={
                    "reason": row.reason, "source": row.source, "minute": row.minute, "count": row.count,
                    "told": rules.REFUSALS_TOLD_A_MINUTE, "last_sha256": row.last_digest,
                },
            )  # fmt: skip
            told += 1
        row.summed_up = True
        row.save(update_fields=["summed_up"])
    RefusalTally.objects.filter(summed_up=True, minute__lt=moment - KEEP_TALLIES).delete()
    return told

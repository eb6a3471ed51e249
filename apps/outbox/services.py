"""Put a message with a change; claim and settle messages (the relay's side)."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from apps.core import sql
from apps.core.canonical import plain
from apps.core.clock import now
from apps.outbox.models import Message

CLAIM_S = settings.OUTBOX_CLAIM_S
KEEP_SENT = timedelta(days=7)


def put(topic: str, body: dict[str, Any], *, due_at: datetime | None = None) -> None:
    """Write a message in the caller's transaction; it exists exactly if the change does.

    `topic` is `app.verb` and names a control task (see celery_worker/control/topics.py); `body` holds ids, not state.
    """
    _check_open()
    sql.insert(Message(topic=topic, body=plain(body), due_at=due_at or now()))


_EACH = """
    INSERT INTO outbox_message (topic, body, created_at, due_at, tries)
    SELECT $1::varchar, to_jsonb(found), $2::timestamptz, $3::timestamptz, 0 FROM found
"""


def put_each(topic: str, found: sql.Change, *, due_at: datetime) -> None:
    """Make a change that gives rows, and write a message for each in the same statement; its body are the row's columns."""
    _check_open()
    sql.change(_EACH, [topic, now(), due_at], found=found)


def _check_open() -> None:
    if not sql.is_open():
        raise RuntimeError("outbox.put needs the transaction of the change it speaks of")


@transaction.atomic
def claim(*, limit: int = 100) -> list[Message]:
    """Take due messages for `CLAIM_S` seconds; rivals skip them. A relay that dies leaves them to the next one."""
    moment = now()
    free = Q(claimed_until=None) | Q(claimed_until__lt=moment)
    rows = list(
        Message.objects.select_for_update(skip_locked=True, no_key=True)
        .filter(free, sent_at=None, due_at__lte=moment)
        .order_by("id")[:limit]
    )
    Message.objects.filter(id__in=[r.id for r in rows]).update(claimed_until=moment + timedelta(seconds=CLAIM_S))
    return rows


@transaction.atomic
def mark_sent(ids: list[int]) -> int:
    """Settle messages that the broker has taken."""
    return Message.objects.filter(id__in=ids, sent_at=None).update(sent_at=now(), claimed_until=None)


@transaction.atomic
def mark_failed(message_id: int) -> None:
    """Give a message back, to be tried again after a growing pause (at most a minute)."""
    row = Message.objects.select_for_update(no_key=True).get(id=message_id)
    row.tries += 1
    row.claimed_until = None
    row.due_at = now() + timedelta(seconds=min(60, 2 ** min(row.tries, 6)))
    row.save(update_fields=["tries", "claimed_until", "due_at"])


@transaction.atomic
def sweep() -> int:
    """Delete messages that were sent more than a week ago; returns how many."""
    return Message.objects.filter(sent_at__lt=now() - KEEP_SENT).delete()[0]


def waiting() -> int:
    """How many are due and not sent: the relay's lag, for doctor and readiness."""
    return Message.objects.filter(sent_at=None, due_at__lte=now()).count()

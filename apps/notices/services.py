"""Tell people and webhooks; set webhooks up; deliver."""

import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q

from apps.accounts.models import User
from apps.audit import services as audit
from apps.core import boxes
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.doors import call
from apps.core.errors import Conflict, NotAllowed
from apps.notices import rules, selectors
from apps.notices.gateways import mail, webhooks
from apps.notices.models import Delivery, MailChoice, Notice, Try, Webhook
from apps.outbox import services as outbox

PURPOSE = "webhook"
CLAIM = timedelta(seconds=60)
KEEP = timedelta(days=90)


@transaction.atomic
def tell(
    *,
    event: str,
    title: str,
    text: str = "",
    path: str = "",
    usecase_id: Any = None,
    data: dict[str, Any] | None = None,
    people: Iterable[Any] = (),
) -> Notice:
    """Tell webhooks and these people (ids) in the caller's transaction: they hear of it exactly if it happened.

    Called by services of other apps, which have checked the actor and written the trail. Who acts is not told of their own act:
    the caller leaves them out.
    """
    if event not in rules.EVENTS:
        raise ValueError(f"{event} is not declared in notices/rules.py")
    notice = Notice.objects.create(event=event, usecase_id=usecase_id, title=title[:200], text=text, path=path, data=data or {})
    moment = now()
    rows = [Delivery(notice=notice, webhook=w, next_try_at=moment) for w in selectors.webhooks_for(event, usecase_id)]
    silent = set(MailChoice.objects.filter(wanted=False).values_list("person_id", flat=True))
    for person in User.objects.filter(id__in=set(people), is_active=True).order_by("id"):
        quiet = person.id in silent
        state = Delivery.State.SHOWN if quiet else Delivery.State.WAITING
        rows.append(Delivery(notice=notice, person=person, state=state, next_try_at=None if quiet else moment))
    Delivery.objects.bulk_create(rows)
    if any(r.state == Delivery.State.WAITING for r in rows):
        outbox.put("notices.deliver", {})
    return notice


# --- webhooks -----------------------------------------------------------------------------------------


@transaction.atomic
def add_webhook(*, actor: Actor, name: str, url: str, events: Iterable[str] = (), usecase_id: Any = None) -> tuple[Webhook, str]:
    """Tell an address of events (none named: all) from now on; returns it and its signing key, which is shown this once.

    Raises NotAllowed, Invalid naming the field, Conflict when the name is taken.
    """
    rules.check_may_manage(actor)
    wanted = sorted(set(events))
    rules.check_webhook(name=name, url=url, events=wanted, loopback_allowed=settings.WEBHOOKS_TO_LOOPBACK)
    key = rules.new_key()
    try:
        with transaction.atomic():
            row = Webhook.objects.create(
                name=name.strip(), url=url, events=wanted, usecase_id=usecase_id,
                key_box=boxes.lock(key, purpose=PURPOSE), created_by=actor.label[:300],
            )  # fmt: skip
    except IntegrityError as error:
        raise Conflict("name: a webhook of this name is there already.", errors={"name": ["Taken."]}) from error
    _record("notices.webhook.added", actor, row, after={"url": url, "events": wanted, "usecase": str(usecase_id) if usecase_id else None})
    return row, key


@transaction.atomic
def change_webhook(
    *, actor: Actor, webhook_id: Any, name: str | None = None, url: str | None = None, events: Iterable[str] | None = None
) -> Webhook:
    """Change what is given; the rest stays."""
    row = _mine(actor, webhook_id)
    before = {"name": row.name, "url": row.url, "events": row.events}
    after: dict[str, Any] = {
        "name": row.name if name is None else name.strip(), "url": row.url if url is None else url,
        "events": row.events if events is None else sorted(set(events)),
    }  # fmt: skip
    rules.check_webhook(**after, loopback_allowed=settings.WEBHOOKS_TO_LOOPBACK)
    changed = {k: v for k, v in after.items() if before[k] != v}
    if not changed:
        return row
    for field, value in changed.items():
        setattr(row, field, value)
    try:
        with transaction.atomic():
            row.save(update_fields=list(changed))
    except IntegrityError as error:
        raise Conflict("name: a webhook of this name is there already.", errors={"name": ["Taken."]}) from error
    _record("notices.webhook.changed", actor, row, before={k: before[k] for k in changed}, after=changed)
    return row


@transaction.atomic
def rotate_key(*, actor: Actor, webhook_id: Any) -> tuple[Webhook, str]:
    """Sign with a new key, and for 24 hours with the old one too; returns the new key, shown this once."""
    row = _mine(actor, webhook_id)
    key = rules.new_key()
    row.old_key_box, row.old_key_until = row.key_box, now() + rules.KEY_OVERLAP
    row.key_box = boxes.lock(key, purpose=PURPOSE)
    row.save(update_fields=["key_box", "old_key_box", "old_key_until"])
    _record("notices.webhook.key_rotated", actor, row, after={"old_until": row.old_key_until})
    return row, key


@transaction.atomic
def end_webhook(*, actor: Actor, webhook_id: Any) -> Webhook:
    """Tell it nothing any more; what it was told stays readable."""
    row = _mine(actor, webhook_id)
    row.ended_at = now()
    row.save(update_fields=["ended_at"])
    row.deliveries.filter(state=Delivery.State.WAITING).update(state=Delivery.State.GAVE_UP, next_try_at=None)
    _record("notices.webhook.ended", actor, row)
    return row


@transaction.atomic
def test_webhook(*, actor: Actor, webhook_id: Any) -> Delivery:
    """Send this one webhook a `webhook.test`, whatever events it asks for."""
    row = _mine(actor, webhook_id)
    notice = Notice.objects.create(
        event="webhook.test", title="This is a test", text=f"{actor.label} asked whether {row.name} answers.", data={}
    )
    delivery = Delivery.objects.create(notice=notice, webhook=row, next_try_at=now())
    outbox.put("notices.deliver", {})
    _record("notices.delivery.asked_again", actor, row, after={"event": "webhook.test"})
    return delivery


@transaction.atomic
def redeliver(*, actor: Actor, delivery_id: Any) -> Delivery:
    """Try a webhook's delivery again from the start, delivered or given up; the receiver knows it by the same `webhook-id`."""
    rules.check_may_manage(actor)
    row: Delivery = Delivery.objects.filter(webhook__isnull=False).select_related("webhook").one("delivery", id=delivery_id)  # type: ignore[attr-defined]
    if row.webhook is None or row.webhook.ended_at:
        raise Conflict("This webhook has ended. Add it again, then new events reach it.")
    Delivery.objects.filter(id=row.id).update(state=Delivery.State.WAITING, tries=0, next_try_at=now())
    outbox.put("notices.deliver", {})
    _record("notices.delivery.asked_again", actor, row.webhook, after={"delivery": str(row.id)})
    row.refresh_from_db()
    return row


def _mine(actor: Actor, webhook_id: Any) -> Webhook:
    rules.check_may_manage(actor)
    found = selectors.webhook(actor, webhook_id)
    row = Webhook.objects.select_for_update(no_key=True).get(id=found.id)
    if row.ended_at:
        raise Conflict("This webhook has ended. Add it again instead.")
    return row


def _record(action: str, actor: Actor, row: Webhook, **more: Any) -> None:
    scope = str(row.usecase_id) if row.usecase_id else None
    audit.record(action, actor=actor, obj_type="webhook", obj_id=str(row.id), obj_label=row.name, usecase_id=scope, **more)


# --- people -------------------------------------------------------------------------------------------


@transaction.atomic
def choose_mail(*, actor: Actor, wanted: bool) -> None:
    """Whether my notices come by email too; they always stand on my page."""
    if actor.user_id is None:
        raise NotAllowed("A person chooses for themselves. Sign in.")
    # The person's row is the lock: the choice may not exist yet.
    person = User.objects.select_for_update(no_key=True).get(id=actor.user_id)
    choice = MailChoice.objects.filter(person=person).first() or MailChoice(person=person)
    before = choice.wanted
    if before == wanted:
        return
    choice.wanted = wanted
    choice.save()
    audit.record(
        "notices.mail.chosen", actor=actor, obj_type="user", obj_id=actor.user_id, obj_label=actor.label,
        before={"wanted": before}, after={"wanted": wanted},
    )  # fmt: skip


@transaction.atomic
def mark_read(*, actor: Actor) -> int:
    """I have seen what I was told; returns how many were new. Looking is not an event of the trail."""
    return Delivery.objects.filter(person__id=actor.user_id, read_at=None).update(read_at=now()) if actor.user_id else 0


# --- delivering ---------------------------------------------------------------------------------------


def deliver_due(*, limit: int = 200, most_s: float = 60.0) -> int:
    """Try what is due, one after the other, outside transactions; returns how many were tried. Safe beside others and to repeat.

    Dies it between a call and its record, the call is made again: receivers tell repeats by `webhook-id`.
    """
    done, end = 0, time.monotonic() + most_s
    while done < limit and time.monotonic() < end and (row := call(_claim)) is not None:
        started = time.monotonic()
        status, answer, error = _send(row)
        call(_settle, row.id, status=status, answer=answer, error=error, took_ms=(time.monotonic() - started) * 1000)
        done += 1
    return done


@transaction.atomic
def _claim() -> Delivery | None:
    moment = now()
    free = Q(claimed_until=None) | Q(claimed_until__lt=moment)
    row = (
        Delivery.objects.select_for_update(of=("self",), skip_locked=True, no_key=True)
        .select_related("notice", "webhook", "person")
        .filter(free, state=Delivery.State.WAITING, next_try_at__lte=moment)
        .order_by("next_try_at", "id")
        .first()
    )
    if row is not None:
        Delivery.objects.filter(id=row.id).update(claimed_until=moment + CLAIM)
    return row


def _send(row: Delivery) -> tuple[int | None, str, str]:
    """(HTTP status or None, beginning of the answer, what went wrong or "")."""
    notice = row.notice
    url = f"{settings.BASE_URL}{notice.path}" if notice.path else settings.BASE_URL
    if row.webhook is None:
        return None, "", mail.send(to=row.person.email if row.person else "", title=notice.title, text=notice.text, url=url)
    scope = str(notice.usecase_id) if notice.usecase_id else None
    body = rules.payload(
        event=notice.event, notice_id=str(notice.id), at=notice.created_at, title=notice.title, text=notice.text, url=url,
        usecase_id=scope, data=notice.data,
    )  # fmt: skip
    try:
        keys = [boxes.unlock(row.webhook.key_box, purpose=PURPOSE)]
        if row.webhook.old_key_until and row.webhook.old_key_until > now():
            keys.append(boxes.unlock(row.webhook.old_key_box, purpose=PURPOSE))
    except boxes.BoxBroken:
        return None, "", "The signing key cannot be opened: the portal's secret key was changed. Rotate the webhook's key."
    given = rules.headers(keys, notice_id=str(notice.id), timestamp=int(now().timestamp()), body=body)
    return webhooks.post(row.webhook.url, body=body, headers=given, loopback_allowed=settings.WEBHOOKS_TO_LOOPBACK)


@transaction.atomic
def _settle(delivery_id: uuid.UUID, *, status: int | None, answer: str, error: str, took_ms: float) -> None:
    row = Delivery.objects.select_for_update(no_key=True).get(id=delivery_id)
    Try.objects.create(delivery=row, status=status, answer=answer, error=error[:300], took_ms=took_ms)
    row.claimed_until, row.tries = None, row.tries + 1
    if not error:
        row.state, row.delivered_at, row.next_try_at = Delivery.State.DELIVERED, now(), None
    else:
        row.next_try_at = rules.next_try(row.tries, now(), rules.PAUSES if row.webhook_id else rules.MAIL_PAUSES)
        if row.next_try_at is None:
            row.state = Delivery.State.GAVE_UP
        # 410 Gone: the receiver says that it will never want this.
        if status == 410:
            row.state, row.next_try_at = Delivery.State.GAVE_UP, None
    row.save(update_fields=["state", "tries", "next_try_at", "claimed_until", "delivered_at"])


@transaction.atomic
def sweep() -> int:
    """Delete what was told more than 90 days ago; the trail keeps what happened."""
    return Notice.objects.filter(created_at__lt=now() - KEEP).delete()[0]

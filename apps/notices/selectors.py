"""Reads of notices."""

import uuid
from typing import Any

from django.db.models import Count, Max, Prefetch, Q, QuerySet

from apps.core.actor import Actor
from apps.core.errors import NotAllowed
from apps.notices.models import Delivery, MailChoice, Try, Webhook


def webhooks(actor: Actor) -> QuerySet[Webhook]:
    """All, ended ones too, newest first, with how much waits, was delivered and was given up; administrators and auditors."""
    if not actor.sees_everything:
        raise NotAllowed("Webhooks are for administrators and auditors. Ask one.")
    return (
        Webhook.objects.visible_to(actor)
        .annotate(
            waiting=Count("deliveries", filter=Q(deliveries__state="waiting")),
            gave_up=Count("deliveries", filter=Q(deliveries__state="gave_up")),
            last_delivered_at=Max("deliveries__delivered_at"),
        )
        .order_by("-id")
    )


def webhook(actor: Actor, webhook_id: Any) -> Webhook:
    """One, or NotFound."""
    found: Webhook = webhooks(actor).one("webhook", id=webhook_id)  # type: ignore[attr-defined]
    return found


def deliveries(actor: Actor, webhook_id: Any) -> QuerySet[Delivery]:
    """What a webhook was told, newest first, each with its tries."""
    return Delivery.objects.filter(webhook=webhook(actor, webhook_id)).select_related("notice").prefetch_related(Prefetch("log", Try.objects.order_by("-id"))).order_by("-id")


def mine(actor: Actor) -> QuerySet[Delivery]:
    """What this person was told, newest first."""
    return Delivery.objects.visible_to(actor).filter(person__id=actor.user_id or None).select_related("notice").order_by("-id")


def unread(user_id: Any) -> int:
    """How many notices the person has not looked at."""
    return Delivery.objects.filter(person_id=user_id, read_at=None).count()


def wants_mail(user_id: Any) -> bool:
    """Whether notices come by email too."""
    choice = MailChoice.objects.filter(person_id=user_id).first()
    return choice is None or choice.wanted


def webhooks_for(event: str, usecase_id: uuid.UUID | str | None) -> list[Webhook]:
    """Those that are told of this event; for services, whoever acts."""
    scope = Q(usecase_id=None) | Q(usecase_id=usecase_id) if usecase_id else Q(usecase_id=None)
    return [w for w in Webhook.objects.filter(scope, ended_at=None).order_by("id") if not w.events or event in w.events]

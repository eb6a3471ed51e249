"""Deletes what nothing needs any more."""

from typing import Any

from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import QuerySet

from apps.accounts import rules
from apps.accounts.models import IdempotencyKey, SignInAttempt
from apps.core.actor import Actor
from apps.core.clock import now


@transaction.atomic
def sweep(*, actor: Actor) -> dict[str, int]:
    """Delete accepted posts, failed tries and sessions that are past their time, a bounded number at once; returns how many of each."""
    rules.check_may_administer(actor)
    moment = now()
    return {
        "idempotency_keys": _delete(IdempotencyKey.objects.filter(created_at__lt=moment - rules.KEEP_IDEMPOTENCY_KEYS)),
        "sign_in_attempts": _delete(SignInAttempt.objects.filter(at__lt=moment - rules.KEEP_ATTEMPTS)),
        "sessions": _delete(Session.objects.filter(expire_date__lt=moment)),
    }


def _delete(rows: QuerySet[Any]) -> int:
    return int(rows.model._default_manager.filter(pk__in=rows.values("pk")[: rules.SWEEP_AT_ONCE]).delete()[0])

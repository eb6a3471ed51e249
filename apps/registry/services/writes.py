"""The trail of the governed MLflow endpoint: a write is recorded before MLflow is asked."""

from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.registry import rules
from apps.registry.models import VersionIntent
from apps.registry.selectors import author_of


@transaction.atomic
def begin_write(
    *, actor: Actor, route: str, obj_type: str, obj_id: str, after: dict[str, Any], asks_for_version: bool = False
) -> VersionIntent | None:
    """Record that this write is about to be sent. Returns the intent when it asks for a model version, else None.

    `after` holds what identifies the write (never values of tags or parameters). Raises NotAllowed.
    """
    rules.check_may_write_mlflow(actor)
    audit.record(
        "registry.mlflow.written", actor=actor, obj_type=obj_type, obj_id=obj_id or "-", obj_label=obj_id, after={"route": route, **after}
    )
    if not asks_for_version:
        return None
    person = author_of(actor.user_id)
    return VersionIntent.objects.create(
        model_name=obj_id[:256], source=after.get("source", ""), run_id=after.get("run_id", "")[:64],
        actor_label=str(person or actor.label)[:300], user=person,
    )  # fmt: skip


@transaction.atomic
def fail_write(*, actor: Actor, route: str, obj_type: str, obj_id: str, reason: str) -> None:
    """Record that a write which the trail already holds was refused by MLflow, or that nobody can say what became of it."""
    audit.record(
        "registry.mlflow.failed",
        actor=actor,
        obj_type=obj_type,
        obj_id=obj_id or "-",
        obj_label=obj_id,
        after={"route": route},
        reason=reason[:500],
    )


@transaction.atomic
def deny_write(*, actor: Actor, route: str, obj_type: str, obj_id: str, reason: str) -> None:
    """Record a write that the portal did not let through."""
    audit.record(
        "registry.mlflow.denied",
        actor=actor,
        obj_type=obj_type,
        obj_id=obj_id or "-",
        obj_label=obj_id,
        after={"route": route},
        reason=reason[:500],
    )

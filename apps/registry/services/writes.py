"""The trail of the governed MLflow endpoint: a write is recorded before MLflow is asked."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.outbox import services as outbox
from apps.registry import rules
from apps.registry.models import ModelVersion, RegisteredModel, VersionIntent
from apps.registry.rules.access import RUN_ENDS, owner_of_path, plain_names
from apps.registry.selectors import author_of
from apps.registry.selectors.told import told

# How soon after a write MLflow is read again, and how long the write itself may take to land there.
LOOK_AFTER, LANDS_WITHIN = timedelta(seconds=5), timedelta(seconds=2)


@transaction.atomic
def begin_write(
    *,
    actor: Actor,
    route: str,
    obj_type: str,
    obj_id: str,
    after: dict[str, Any],
    asks_for_version: bool = False,
    key: Mapping[str, Any] | None = None,
    sent: Mapping[str, Any] | None = None,
) -> VersionIntent | None:
    """Record that this write is about to be sent. Returns the intent when it asks for a model version, else None.

    key: what names the object, sent: the parsed body; the trail keeps what they replace and ask for, of bounded length, and `after`
    beside it. With the event goes the order to look at MLflow soon, so that the portal's tables follow whatever becomes of the write.
    The caller has asked `check_access`. Raises NotAllowed.
    """
    rules.check_may_write_mlflow(actor)
    before, told_after = told(route, obj_type, key or {}, sent or {})
    audit.record(
        "registry.mlflow.written", actor=actor, obj_type=obj_type, obj_id=obj_id or "-", obj_label=obj_id,
        before=before or None, after={"route": route, **told_after, **after},
    )  # fmt: skip
    values = plain_names({**(sent or {}), **(key or {})})
    _look_soon(obj_type, values)
    if not asks_for_version:
        return None
    person = author_of(actor.user_id)
    return VersionIntent.objects.create(
        model_name=obj_id[:256], source=str(values.get("source") or after.get("source") or ""),
        run_id=str(values.get("run_id") or after.get("run_id") or "")[:64],
        actor_label=str(person or actor.label)[:300], user=person,
    )  # fmt: skip


def _look_soon(obj_type: str, values: Mapping[str, Any]) -> None:
    """Have the portal's rows of what is written to read again, soon and once for many writes."""
    name, moment = values.get("name"), now()
    if obj_type in {"registeredmodel", "modelversion"} and isinstance(name, str) and name:
        outbox.put("registry.mirror", {"name": name}, due_at=moment + LANDS_WITHIN)
        renamed = values.get("new_name")
        if isinstance(renamed, str) and renamed and renamed != name:
            RegisteredModel.objects.filter(name=name).update(renaming_to=renamed[:256])
            outbox.put("registry.mirror", {"name": renamed}, due_at=moment + LANDS_WITHIN)
    rows = ModelVersion.objects.none()
    number = str(values.get("version") or "")
    if obj_type == "modelversion" and number.isdecimal() and len(number) < 10:
        rows = ModelVersion.objects.filter(model__name=name, version=int(number))
    elif obj_type == "run" and isinstance(values.get("run_id"), str) and not RUN_ENDS.issuperset(values):
        rows = ModelVersion.objects.filter(run_id=values["run_id"])
    elif obj_type == "artifact" and (run_id := owner_of_path(str(values.get("path") or "")).get("run_id")):
        rows = ModelVersion.objects.filter(run_id=run_id)
    elif obj_type == "loggedmodel" and isinstance(values.get("model_id"), str):
        rows = ModelVersion.objects.filter(source__contains=f"/{values['model_id']}")
    quiet = Q(writing_until=None) | Q(writing_until__lt=moment + LANDS_WITHIN)
    for row in rows.exclude(status="pending").filter(quiet).select_related("model"):
        ModelVersion.objects.filter(id=row.id).update(writing_until=moment + LOOK_AFTER)
        outbox.put("registry.look", {"name": row.model.name, "version": row.version}, due_at=moment + LOOK_AFTER)


@transaction.atomic
def fail_write(*, actor: Actor, route: str, obj_type: str, obj_id: str, reason: str) -> None:
    """Record that a write which the trail already holds was refused by MLflow, or that nobody can say what became of it."""
    _tell("registry.mlflow.failed", actor, route, obj_type, obj_id, reason)


@transaction.atomic
def deny_write(*, actor: Actor, route: str, obj_type: str, obj_id: str, reason: str) -> None:
    """Record a write that the portal did not let through."""
    _tell("registry.mlflow.denied", actor, route, obj_type, obj_id, reason)


def _tell(action: str, actor: Actor, route: str, obj_type: str, obj_id: str, reason: str) -> None:
    audit.record(
        action, actor=actor, obj_type=obj_type, obj_id=obj_id or "-", obj_label=obj_id, after={"route": route}, reason=reason[:500]
    )

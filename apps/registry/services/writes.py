"""The trail of the governed MLflow endpoint: a write is recorded before MLflow is asked."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core import sql
from apps.core.actor import Actor
from apps.core.clock import now
from apps.outbox import services as outbox
from apps.registry import rules
from apps.registry.models import ModelVersion, VersionIntent
from apps.registry.rules.access import RUN_ENDS, owner_of_path, plain_names
from apps.registry.selectors import maker_of
from apps.registry.selectors.told import told

# How soon after a write MLflow is read again, and how long the write itself may take to land there.
LOOK_AFTER, LANDS_WITHIN = timedelta(seconds=5), timedelta(seconds=2)


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
    known: ModelVersion | None = None,
) -> VersionIntent | None:
    """Record that this write is about to be sent. Returns the intent when it asks for a model version, else None.

    key: what names the object, sent: the parsed body; the trail keeps what they replace and ask for, of bounded length, and `after`
    beside it. With the event goes the order to look at MLflow soon, so that the portal's tables follow whatever becomes of the write.
    The caller has asked `check_access`, and may hand on the version it returned (`known`). Raises NotAllowed.
    """
    rules.check_may_write_mlflow(actor)
    values, moment = plain_names({**(sent or {}), **(key or {})}), now()
    of_version = known if obj_type == "modelversion" else None
    before, told_after = told(route, obj_type, key or {}, sent or {}, of_version, getattr(of_version, "aliases_of_model", None))
    intent = None
    if asks_for_version:
        user_id, label = maker_of(actor)
        intent = VersionIntent(
            model_name=obj_id[:256], source=str(values.get("source") or after.get("source") or ""),
            run_id=str(values.get("run_id") or after.get("run_id") or "")[:64], actor_label=label, user_id=user_id,
        )  # fmt: skip
    with sql.at_once():
        audit.record(
            "registry.mlflow.written", actor=actor, obj_type=obj_type, obj_id=obj_id or "-", obj_label=obj_id,
            before=before or None, after={"route": route, **told_after, **after},
        )  # fmt: skip
        _look_soon(obj_type, values, moment)
        if intent is not None:
            sql.insert(intent)
    return intent


_TOUCH = """
    UPDATE registry_modelversion v SET writing_until = $1 FROM registry_registeredmodel m
     WHERE m.id = v.model_id AND v.status <> 'pending' AND (v.writing_until IS NULL OR v.writing_until < $2) AND {which}
    RETURNING m.name, v.version
"""
_TOUCHES = {
    "modelversion": _TOUCH.format(which="m.name = $3 AND v.version = $4"),
    "run": _TOUCH.format(which="v.run_id = $3"),
    "artifact": _TOUCH.format(which="v.run_id = $3"),
    "loggedmodel": _TOUCH.format(which="strpos(v.source, $3) > 0"),
}


def _touches(obj_type: str, values: Mapping[str, Any], moment: datetime) -> tuple[str, list[Any]] | None:
    """What notes in the rows of versions whose facts the write may change that it may; rows of (model, number) that nobody is about to read."""
    name, number, run_id, model_id = (values.get(n) for n in ("name", "version", "run_id", "model_id"))
    which: list[Any] = []
    if obj_type == "modelversion" and isinstance(name, str) and str(number or "").isdecimal() and len(str(number)) < 10:
        which = [name, int(str(number))]
    elif obj_type == "run" and isinstance(run_id, str) and not RUN_ENDS.issuperset(values):
        which = [run_id]
    elif obj_type == "artifact":
        owner = owner_of_path(str(values.get("path") or "")).get("run_id")
        which = [owner] if owner else []
    elif obj_type == "loggedmodel" and isinstance(model_id, str):
        which = [f"/{model_id}"]
    return (_TOUCHES[obj_type], [moment + LOOK_AFTER, moment + LANDS_WITHIN, *which]) if which else None


def _look_soon(obj_type: str, values: Mapping[str, Any], moment: datetime) -> None:
    """Have the portal's rows of what is written to read again, soon and once for many writes."""
    name = values.get("name")
    if obj_type in {"registeredmodel", "modelversion"} and isinstance(name, str) and name:
        outbox.put("registry.mirror", {"name": name}, due_at=moment + LANDS_WITHIN)
        renamed = values.get("new_name")
        if isinstance(renamed, str) and renamed and renamed != name:
            sql.change("UPDATE registry_registeredmodel SET renaming_to = $1 WHERE name = $2", [renamed[:256], name])
            outbox.put("registry.mirror", {"name": renamed}, due_at=moment + LANDS_WITHIN)
    if touches := _touches(obj_type, values, moment):
        outbox.put_each("registry.look", touches, due_at=moment + LOOK_AFTER)


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

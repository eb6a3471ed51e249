"""What aliases point at, as the portal records it."""

from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core import sql
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import NoLiveDecision, NotFound
from apps.registry import rules
from apps.registry.models import AliasRecord, ModelVersion, RegisteredModel
from apps.registry.selectors.access import live_for

_LOCK = "SELECT id FROM registry_registeredmodel WHERE name = $1 FOR NO KEY UPDATE"
_POINTS = """
    SELECT t.id, t.status, t.artifact_digest, r.id, r.version_id, p.version, r.decision_id
      FROM registry_registeredmodel m
      LEFT JOIN registry_modelversion t ON t.model_id = m.id AND t.version = $1
      LEFT JOIN registry_aliasrecord r ON r.model_id = m.id AND r.alias = $2 AND r.ended_at IS NULL
      LEFT JOIN registry_modelversion p ON p.id = r.version_id
     WHERE m.name = $3
"""


def _locked_model(name: str) -> RegisteredModel:
    found = RegisteredModel.objects.select_for_update(no_key=True).filter(name=name).first()
    if found is None:
        raise NotFound(f"There is no registered model {name}. Register it through the MLflow endpoint.")
    return found


@transaction.atomic
def record_alias(*, actor: Actor, model: str, alias: str, version: int, decision_id: Any = None) -> AliasRecord:
    """Write down that `alias` of the model named `model` points at version number `version` since now; repeating it changes nothing.

    A protected alias needs the decision it follows: the one given, or one that is live for the version. Raises NoLiveDecision,
    NotAllowed, NotFound.
    """
    rules.check_may_edit(actor)
    # In this order: who waited for the lock sees what the other has set.
    locked, found = sql.ask_in_turn((_LOCK, [model]), (_POINTS, [version, alias, model]))
    if not locked:
        raise NotFound(f"There is no registered model {model}. Register it through the MLflow endpoint.")
    owner = sql.part_of(RegisteredModel, id=locked[0][0], name=model)
    target_id, target_status, target_digest, current_id, points_at, points_number, points_decision = found[0]
    target = None
    if target_id is not None:
        target = sql.part_of(
            ModelVersion, id=target_id, model_id=owner.id, version=version, status=target_status, artifact_digest=target_digest
        )
        target.model = owner
    environment = rules.protecting_environment(alias)
    if environment and not decision_id:
        decision = live_for(target, environment) if target is not None else None
        if decision is None:
            raise NoLiveDecision(f"The alias {alias} follows a decision. Ask for a gate, and it moves when the version goes live.")
        decision_id = decision.id
    if target is None:
        raise NotFound(f"The portal knows no version {version} of {model} yet. Ask for a fresh reading of it.")
    if current_id is not None and points_at == target.id and str(points_decision or "") == str(decision_id or ""):
        return sql.part_of(
            AliasRecord, id=current_id, model_id=owner.id, alias=alias, version_id=target.id, decision_id=points_decision, ended_at=None
        )
    moment = now()
    record = AliasRecord(model=owner, alias=alias, version=target, decision_id=decision_id or None, set_by=actor.label[:300], set_at=moment)
    with sql.together():
        if current_id is not None:
            sql.change("UPDATE registry_aliasrecord SET ended_at = $1 WHERE id = $2", [moment, current_id])
        sql.insert(record)
        audit.record(
            "registry.alias.moved", actor=actor, obj_type="registeredmodel", obj_id=str(owner.id), obj_label=owner.name,
            before={"alias": alias, "version": points_number}, after={"alias": alias, "version": version},
            decision_id=str(decision_id) if decision_id else None,
        )  # fmt: skip
    return record


@transaction.atomic
def remove_alias(*, actor: Actor, model: str, alias: str) -> None:
    """Write down that an alias points at nothing any more; a protected one stays while a live decision stands behind it."""
    rules.check_may_edit(actor)
    owner = _locked_model(model)
    environment = rules.protecting_environment(alias)
    current = (
        AliasRecord.objects.select_for_update(of=("self",), no_key=True)
        .select_related("version__model")
        .filter(model=owner, alias=alias, ended_at=None)
        .first()
    )
    if environment and (current is None or live_for(current.version, environment)):
        raise NoLiveDecision(f"The alias {alias} follows a decision and cannot be removed.")
    if current is None:
        return
    current.ended_at = now()
    current.save(update_fields=["ended_at"])
    audit.record(
        "registry.alias.removed", actor=actor, obj_type="registeredmodel", obj_id=str(owner.id), obj_label=owner.name,
        before={"alias": alias, "version": current.version.version},
    )  # fmt: skip

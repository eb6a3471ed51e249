"""What aliases point at, as the portal records it."""

from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import NoLiveDecision, NotFound
from apps.registry import rules
from apps.registry.models import AliasRecord, ModelVersion, RegisteredModel
from apps.registry.selectors.access import live_for


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
    owner = _locked_model(model)
    target = ModelVersion.objects.select_related("model").filter(model=owner, version=version).first()
    environment = rules.protecting_environment(alias)
    if environment and not decision_id:
        decision = live_for(target, environment) if target is not None else None
        if decision is None:
            raise NoLiveDecision(f"The alias {alias} follows a decision. Ask for a gate, and it moves when the version goes live.")
        decision_id = decision.id
    if target is None:
        raise NotFound(f"The portal knows no version {version} of {model} yet. Ask for a fresh reading of it.")
    current = (
        AliasRecord.objects.select_for_update(of=("self",), no_key=True)
        .select_related("version")
        .filter(model=owner, alias=alias, ended_at=None)
        .first()
    )
    if current is not None and current.version_id == target.id and str(current.decision_id or "") == str(decision_id or ""):
        return current
    moment = now()
    if current is not None:
        current.ended_at = moment
        current.save(update_fields=["ended_at"])
    record = AliasRecord.objects.create(
        model=owner, alias=alias, version=target, decision_id=decision_id or None, set_by=actor.label[:300], set_at=moment
    )
    audit.record(
        "registry.alias.moved", actor=actor, obj_type="registeredmodel", obj_id=str(owner.id), obj_label=owner.name,
        before={"alias": alias, "version": current.version.version if current else None}, after={"alias": alias, "version": version},
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

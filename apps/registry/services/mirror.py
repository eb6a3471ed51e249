"""Keeps the portal's rows of registered models in step with MLflow, and protected aliases with what decisions say."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q

from apps.audit import selectors as trail
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.doors import call
from apps.core.errors import DomainError, NotFound
from apps.registry import rules
from apps.registry.gateways import mlflow
from apps.registry.models import AliasRecord, Finding, ModelVersion, RegisteredModel
from apps.registry.rules import findings as finding_rules
from apps.registry.rules.findings import ModelFacts
from apps.registry.selectors import author_of
from apps.registry.selectors.access import decided, live_for
from apps.registry.services.findings import close_open, raise_finding

log = logging.getLogger(__name__)
MIRROR = Actor.system("registry mirror")
LOOKED_AT = 50
BATCH = 200
MADE_BY = ("registered-models/create",)


@dataclass(slots=True)
class PutBack:
    """Protected aliases to set (version) or remove (None) in MLflow once the transaction is through."""

    model: str
    aliases: dict[str, int | None] = field(default_factory=dict)


def mirror_models() -> int:
    """Compare every model of MLflow with the portal's rows and settle what differs; returns how many did. Safe to repeat.

    Reads MLflow outside transactions. A difference is read again by itself first, because the endpoint may be at work.
    """
    rows = {row.name: row for row in RegisteredModel.objects.all()}
    aliases = _current_aliases()
    met: set[str] = set()
    same: list[Any] = []
    new: list[ModelFacts] = []
    settled = 0
    for facts in mlflow.all_models():
        met.add(facts.name)
        row = rows.get(facts.name)
        if row is None:
            new.append(facts)
            continue
        if row is not None and row.gone_at is None and _agrees(row, facts, aliases.get(row.id, {})):
            same.append(row.id)
            continue
        settled += _settle_again(facts.name)
    for name, row in rows.items():
        if name not in met and row.gone_at is None:
            settled += _settle_again(name)
    # After those that are gone: a new name may be the new name of one of them.
    for start in range(0, len(new), BATCH):
        again = call(_meet, new[start : start + BATCH])
        settled += len(new[start : start + BATCH]) - len(again) + sum(_settle_again(name) for name in again)
    call(_seen, same)
    return settled


@transaction.atomic
def _meet(batch: list[ModelFacts]) -> list[str]:
    """Write down models that the portal meets for the first time; returns the names of those that need a closer look."""
    again = []
    for facts in batch:
        known = RegisteredModel.objects.filter(Q(name=facts.name) | Q(renaming_to=facts.name) | Q(registered_at=facts.registered_at))
        if facts.aliases or any(map(rules.is_evidence_tag, facts.tags)) or known.exists():
            again.append(facts.name)
            continue
        row = _made(MIRROR, facts.name)
        row.description, row.tags, row.registered_at, row.synced_at = facts.description, facts.tags, facts.registered_at, now()
        row.save()
    return again


def _agrees(row: RegisteredModel, facts: ModelFacts, aliases: dict[str, int]) -> bool:
    said = (row.description, row.tags, row.registered_at, aliases) == (facts.description, facts.tags, facts.registered_at, facts.aliases)
    # A reading is due when nothing has ever been read, or when a rename was asked for.
    return said and row.synced_at is not None and not row.renaming_to


def _current_aliases() -> dict[Any, dict[str, int]]:
    found: dict[Any, dict[str, int]] = {}
    for model_id, alias, version in AliasRecord.objects.filter(ended_at=None).values_list("model_id", "alias", "version__version"):
        found.setdefault(model_id, {})[alias] = version
    return found


@transaction.atomic
def _seen(ids: Iterable[Any]) -> None:
    RegisteredModel.objects.filter(id__in=list(ids)).update(synced_at=now())


def _settle_again(name: str) -> int:
    try:
        return int(mirror_model(name))
    except DomainError as error:
        # The next round finds it again; one model must not stop the others.
        log.warning("model %s could not be settled: %s", name, error.detail)
        return 0


def mirror_model(name: str) -> bool:
    """Read one model and settle it; whether anything differed. Raises UpstreamFailed when MLflow cannot say."""
    try:
        facts = mlflow.read_model(name)
    except NotFound:
        return bool(call(_gone, name))
    put_back = call(settle_model, actor=MIRROR, facts=facts)
    for alias, version in put_back.aliases.items():
        if version is None:
            mlflow.delete_alias(name, alias)
        else:
            mlflow.set_alias(name, alias, version)
        call(_put_back_done, name, alias, version)
    return True


@transaction.atomic
def settle_model(*, actor: Actor, facts: ModelFacts) -> PutBack:
    """Record one reading of a model: name, description, tags, aliases. Returns the protected aliases to put back in MLflow."""
    rules.check_may_edit(actor)
    row = _row_for(actor, facts)
    first_met = row.synced_at is None
    before = {"description": row.description, "tags": row.tags, "gone": row.gone_at is not None, "renaming_to": row.renaming_to}
    after = {"description": facts.description, "tags": facts.tags, "gone": False, "renaming_to": ""}
    row.description, row.tags, row.registered_at = facts.description, facts.tags, facts.registered_at
    # Until its versions are known nobody can say where its aliases pointed when it was first met.
    unknown = set(facts.aliases.values()) - set(ModelVersion.objects.filter(model=row).values_list("version", flat=True))
    row.synced_at, row.gone_at, row.renaming_to = None if first_met and unknown else now(), None, ""
    row.save(update_fields=["name", "description", "tags", "registered_at", "synced_at", "gone_at", "renaming_to"])
    if before != after:
        audit.record(
            "registry.model.synced", actor=actor, obj_type="registeredmodel", obj_id=str(row.id), obj_label=row.name,
            before={k: finding_rules.bounded(v) for k, v in before.items() if v != after[k]},
            after={k: finding_rules.bounded(v) for k, v in after.items() if v != before[k]},
        )  # fmt: skip
    if row.name == _decided_name(row, row.name):
        close_open(actor=MIRROR, kind="model", model_id=row.id, key="", because="MLflow has the model under its name again.")
    _settle_tags(row)
    return _settle_aliases(actor, row, facts, first_met)


def _row_for(actor: Actor, facts: ModelFacts) -> RegisteredModel:
    """The portal's row of this model: by name, or by its moment of registration when it has got another name; else a new one."""
    locked = RegisteredModel.objects.select_for_update(no_key=True)
    row = locked.filter(name=facts.name).first()
    if row is None:
        row = locked.filter(renaming_to=facts.name).first()
        if row is None and facts.registered_at is not None:
            same_moment = list(locked.filter(registered_at=facts.registered_at).exclude(name=facts.name)[:2])
            row = next((r for r in same_moment if _is_missing(r.name)), None)
        if row is not None:
            _renamed(actor, row, facts.name)
    if row is None:
        row = _made(actor, facts.name)
    return row


def _made(actor: Actor, name: str) -> RegisteredModel:
    """A row for a model that the portal first meets in MLflow; its maker is whoever asked for it through the portal."""
    asked = next((e for e in _requests(name) if str((e.facts.get("after") or {}).get("route", "")).endswith(MADE_BY)), None)
    person = author_of(user_of(asked)) if asked else None
    author = str(person or (asked.actor_label if asked else ""))[:300]
    row = RegisteredModel.objects.create(name=name, owner=person, author=author)
    audit.record(
        "registry.model.created", actor=actor, obj_type="registeredmodel", obj_id=str(row.id), obj_label=name,
        after={"author": author or None}, reason="Met in MLflow, not made through the endpoint's answer.",
    )  # fmt: skip
    return row


def user_of(event: Any) -> str | None:
    """Id of the person behind an event of the trail, or None."""
    for known in (event.on_behalf_of, event.actor_id):
        if str(known).startswith("user:"):
            return str(known).removeprefix("user:")
    return None


def _is_missing(name: str) -> bool:
    return RegisteredModel.objects.filter(name=name, gone_at__isnull=False).exists()


def _renamed(actor: Actor, row: RegisteredModel, name: str) -> None:
    was, row.name = row.name, name
    by = _who(was, lambda after: after.get("new_name") == name)
    audit.record(
        "registry.model.renamed", actor=actor, obj_type="registeredmodel", obj_id=str(row.id), obj_label=name,
        before={"name": was}, after={"name": name}, reason=f"Asked for by {by}." if by else "Not through the portal, as far as it knows.",
    )  # fmt: skip
    RegisteredModel.objects.filter(id=row.id).update(name=name)
    ought = _decided_name(row, was)
    if name != ought and decided(ModelVersion.objects.filter(model=row)).exists():
        raise_finding(
            actor=MIRROR, kind="model", model=row, expected={"name": ought}, found={"name": name}, actor_label=by,
            detail=f"The model {ought}, which decisions name, is called {name} in MLflow.",
        )  # fmt: skip


def _decided_name(row: RegisteredModel, name: str) -> str:
    """The name under which decisions know the model, should it have been renamed since."""
    told = Finding.objects.filter(model=row, kind="model", closed_at=None).first()
    return str(told.expected["name"]) if told else name


@transaction.atomic
def _gone(name: str) -> bool:
    """MLflow has no model of this name any more."""
    row = RegisteredModel.objects.select_for_update(no_key=True).filter(name=name).first()
    if row is None:
        return False
    if row.gone_at is None:
        row.gone_at = now()
        row.save(update_fields=["gone_at"])
        by = _who(name, lambda after: "delete" in str(after.get("route", "")).lower())
        audit.record(
            "registry.model.gone", actor=MIRROR, obj_type="registeredmodel", obj_id=str(row.id), obj_label=name,
            reason=f"Asked for by {by}." if by else "Not through the portal, as far as it knows.",
        )  # fmt: skip
        AliasRecord.objects.filter(model=row, ended_at=None).exclude(alias__in=_protected(row)).update(ended_at=now())
    if decided(ModelVersion.objects.filter(model=row)).exists():
        raise_finding(
            actor=MIRROR, kind="model", model=row, expected={"name": _decided_name(row, name)}, found={},
            detail=f"MLflow has no model {name} any more, which decisions name.",
        )  # fmt: skip
    return True


def _protected(row: RegisteredModel) -> list[str]:
    names = AliasRecord.objects.filter(model=row, ended_at=None).values_list("alias", flat=True)
    return [a for a in names if rules.protecting_environment(a)]


def _settle_tags(row: RegisteredModel) -> None:
    """Evidence tags belong to versions with a live decision; on a model they say what nobody decided."""
    claimed = {k: v for k, v in row.tags.items() if rules.is_evidence_tag(k)}
    if claimed:
        raise_finding(
            actor=MIRROR, kind="tag", model=row, expected={}, found=finding_rules.bounded(claimed), hold=False,
            detail=f"{row.name} carries tags that say what only a decision says: {', '.join(sorted(claimed))}.",
        )  # fmt: skip
    else:
        close_open(actor=MIRROR, kind="tag", model_id=row.id, key="", because="The tags are gone.")


def _settle_aliases(actor: Actor, row: RegisteredModel, facts: ModelFacts, first_met: bool) -> PutBack:
    current = {r.alias: r for r in AliasRecord.objects.filter(model=row, ended_at=None).select_related("version__model")}
    back = PutBack(row.name)
    for alias in sorted({*current, *facts.aliases}):
        record, number = current.get(alias), facts.aliases.get(alias)
        environment = rules.protecting_environment(alias)
        version = ModelVersion.objects.select_related("model").filter(model=row, version=number).first() if number else None
        if not environment:
            if (record.version.version if record else None) != number and (version or number is None):
                _move(actor, row, alias, record, version, None)
            continue
        decision = live_for(version, environment) if version is not None else None
        settled = finding_rules.settle_protected(
            expected=record.version.version if record else None, found=number, found_is_decided=decision is not None, first_met=first_met
        )
        if settled.finding:
            _alias_finding(row, alias, environment, record, number)
        elif decision is not None or number is None:
            because = "A live decision says so." if decision is not None else "The alias is gone."
            close_open(actor=MIRROR, kind="alias", model_id=row.id, key=alias, because=because)
        if settled.record and version is not None:
            _move(actor, row, alias, record, version, decision.id if decision else None)
        if settled.put_back:
            back.aliases[alias] = record.version.version if record else None
    return back


def _alias_finding(row: RegisteredModel, alias: str, environment: str, record: AliasRecord | None, number: int | None) -> None:
    should = record.version.version if record else None
    where = f"points at version {number}" if number else "is gone"
    ought = f"decided for {environment} is version {should}" if should else f"no version is decided for {environment}"
    raise_finding(
        actor=MIRROR, kind="alias", key=alias, model=row, expected={"alias": alias, "version": should}, hold=False,
        found={"alias": alias, "version": number}, detail=f"In MLflow the alias {alias} of {row.name} {where}; {ought}.",
        actor_label=_who(row.name, lambda after: after.get("alias") == alias and str(after.get("version", "")) == str(number or "")),
    )  # fmt: skip


def _move(
    actor: Actor, row: RegisteredModel, alias: str, record: AliasRecord | None, version: ModelVersion | None, decision_id: Any
) -> None:
    """Write down where an alias points now, with its author where the trail knows one."""
    moment = now()
    if record is not None:
        AliasRecord.objects.filter(id=record.id).update(ended_at=moment)
    number = version.version if version else None
    by = _who(row.name, lambda after: after.get("alias") == alias and str(after.get("version", "")) == str(number or ""))
    if version is not None:
        AliasRecord.objects.create(
            model=row, alias=alias, version=version, decision_id=decision_id, set_by=(by or actor.label)[:300], set_at=moment
        )
    audit.record(
        "registry.alias.moved" if version is not None else "registry.alias.removed", actor=actor, obj_type="registeredmodel",
        obj_id=str(row.id), obj_label=row.name, before={"alias": alias, "version": record.version.version if record else None},
        after={"alias": alias, "version": number}, decision_id=str(decision_id) if decision_id else None,
        reason=f"Found in MLflow; asked for by {by}." if by else "Found in MLflow.",
    )  # fmt: skip


@transaction.atomic
def _put_back_done(name: str, alias: str, version: int | None) -> None:
    row = RegisteredModel.objects.get(name=name)
    what = f"points at version {version} again" if version is not None else "is removed again"
    close_open(actor=MIRROR, kind="alias", model_id=row.id, key=alias, because=f"Put back: the alias {alias} {what}.")


def _who(name: str, told: Any) -> str:
    """Label of the actor whose request of this model's name the trail holds, newest first; "" when none fits."""
    return next((e.actor_label for e in _requests(name) if told(e.facts.get("after") or {})), "")


def _requests(name: str) -> list[Any]:
    """What the trail holds of writes that were asked for about this name, newest first."""
    return list(trail.search(MIRROR, action="registry.mlflow.written").filter(object_id=name)[:LOOKED_AT])

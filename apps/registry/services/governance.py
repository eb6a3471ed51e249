"""One answer to "may this actor do that to this thing of MLflow's?", for every door that leads there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.audit import services as audit
from apps.core.actor import Actor, Role
from apps.core.errors import Invalid, NoLiveDecision, NotAllowed, NotFound
from apps.registry import rules
from apps.registry.gateways import locate
from apps.registry.models import AliasRecord, ModelVersion, RegisteredModel
from apps.registry.rules import access
from apps.registry.rules.access import Standing
from apps.registry.selectors import access as sights
from apps.registry.selectors import folder_holders


@transaction.atomic
def assign_owner(*, actor: Actor, name: str, owner: User) -> RegisteredModel:
    """Give a model an owner: whoever may edit it may, and for a model that is nobody's any ML engineer. The same owner changes nothing.

    Raises NotFound, NotAllowed, Invalid (`owner`) when the person is no active ML engineer.
    """
    row: RegisteredModel = RegisteredModel.objects.visible_to(actor).select_related("owner").one("registered model", name=name)
    access.check_right(actor, "edit", sights.standing_to_model(actor, name), f"model {name}")
    if not owner.is_active or not owner.role_assignments.filter(role=Role.ML_ENGINEER).exists():
        raise Invalid("owner: name an active ML engineer, who can answer for the model.", errors={"owner": ["No active ML engineer."]})
    row = RegisteredModel.objects.select_for_update(of=("self",), no_key=True).select_related("owner").get(id=row.id)
    if row.owner_id == owner.id:
        return row
    before, row.owner = row.owner.email if row.owner else None, owner
    row.save(update_fields=["owner"])
    audit.record(
        "registry.model.owned", actor=actor, obj_type="registeredmodel", obj_id=str(row.id), obj_label=row.name,
        before={"owner": before}, after={"owner": owner.email},
    )  # fmt: skip
    return row


@dataclass(slots=True)
class Subject:
    """What a request is about, as far as the portal governs it: names of models, ids of experiments, versions it would touch."""

    obj_type: str
    label: str
    models: list[str] = field(default_factory=list)
    experiments: list[str] = field(default_factory=list)
    version: ModelVersion | None = None
    run_id: str = ""
    model_id: str = ""
    path: str = ""
    # Name and number of the version, while it has not been read.
    asks: tuple[str, int] | None = None

    def is_about(self, version: ModelVersion) -> None:
        """Which version it is."""
        self.version = version
        if self.obj_type == "version":
            self.label = f"version {version.label}"


def check_access(*, actor: Actor, verb: str, obj_type: str, key: Mapping[str, Any], sent: Mapping[str, Any]) -> ModelVersion | None:
    """Whether the actor may do this; asks MLflow where a run, logged model or trace belongs, so never call it in a transaction.

    Returns the version it is about, if it names one that the portal knows (see `selectors.access.numbered` for what is read of it).

    verb: one of rules.access.VERBS; obj_type: one of rules.access.OBJ_TYPES. key: what names the object (experiment_id,
    experiment_name, run_id, name, version, alias, model_id, trace_id, path, dataset_id, source). sent: the whole parsed body.
    Raises NotFound when the thing is out of sight, NotAllowed or NoLiveDecision (with the gate to request) when it is refused.
    """
    key, sent = access.plain_names(key), access.plain_names(sent)
    subject = _subject(verb, obj_type, key)
    standings, known = sights.standings(actor, subject.models, subject.experiments, subject.asks)
    if known is not None:
        subject.is_about(known)
    # Nothing of anybody's yet: who may write at all may; what cannot be placed only those who see everything may touch.
    placed = obj_type not in {*locate.BY_ID, "artifact"}
    nowhere = Standing(sees=placed or actor.sees_everything, unclaimed=True)
    access.check_right(actor, verb, reduce(and_, standings) if standings else nowhere, subject.label)
    if verb == "read":
        return subject.version
    if verb == "register":
        _check_origin(actor, {**sent, **key}, subject)
    _check_tags(actor, subject, sent)
    GUARDS.get(obj_type, _nothing_more)(actor, verb, subject, key, sent)
    return subject.version


def _subject(verb: str, obj_type: str, key: Mapping[str, Any]) -> Subject:
    """Place the request among models and experiments. Everything it names has to be in sight."""

    def text(name: str) -> str:
        value = key.get(name)
        return str(value) if isinstance(value, str | int) else ""

    found = Subject(
        obj_type, obj_type if obj_type != "none" else "thing", run_id=text("run_id"), model_id=text("model_id"), path=text("path")
    )
    if (name := text("name")) and obj_type in {"model", "version", "artifact"}:
        found.models.append(name)
        found.label = f"model {name}"
        found.asks = _numbers(name, text("version"))
        if found.asks is None and (version := _version(name, "", text("alias") if obj_type != "model" else "")) is not None:
            found.is_about(version)
    if experiment := text("experiment_id"):
        found.experiments.append(experiment)
    elif (named := text("experiment_name")) and verb not in {"log", "register"}:
        found.experiments.append(locate.experiment_named(named))
    for its_id, place_of in locate.BY_ID.values():
        if each := text(its_id):
            found.experiments.append(place_of(each))
    inside = access.experiment_of_path(found.path) if obj_type == "artifact" else ""
    if inside and not found.models and not found.run_id and not found.model_id:
        found.experiments.append(inside)
    if dataset := text("dataset_id"):
        found.experiments.extend(locate.dataset(dataset))
    found.experiments = list(dict.fromkeys(found.experiments))
    return found


def _numbers(name: str, number: str) -> tuple[str, int] | None:
    return (name, int(number)) if number.isdecimal() and len(number) < 10 else None


def _version(name: str, number: str, alias: str) -> ModelVersion | None:
    if asks := _numbers(name, number):
        return sights.numbered(*asks)
    rows = ModelVersion.objects.select_related("model").filter(model__name=name)
    if alias:
        record = AliasRecord.objects.filter(model__name=name, alias=alias, ended_at=None).first()
        return rows.filter(id=record.version_id).first() if record else None
    return None


def _check_origin(actor: Actor, said: Mapping[str, Any], seen: Subject) -> None:
    """A version may only be made of what its maker sees: a run, a logged model, another model's version, files.

    `seen` is in their sight already: nothing of it is asked again.
    """
    places: list[dict[str, str]] = [{k: str(said[k]) for k in ("run_id", "model_id") if said.get(k)}]
    if isinstance(said.get("source"), str):
        places.append(access.named_in(said["source"]))
    sight = sights.sight(actor)
    if sight.everything:
        return
    for place in places:
        experiments = [locate.run(place["run_id"])] if place.get("run_id") else []
        experiments += [locate.logged_model(place["model_id"])] if place.get("model_id") else []
        if path := place.get("path"):
            experiments.append(access.experiment_of_path(path))
        models = [place["name"]] if place.get("name") else []
        more, others = set(experiments) - set(seen.experiments), set(models) - set(seen.models)
        if more - sight.experiments(more) or others - sight.models(others):
            raise NotFound("source: there is no such run, logged model or version, or you may not see it. Check the source.")


def _gate(actor: Actor, version: ModelVersion | None) -> str:
    known = version is not None and sights.usecases_of(actor, [version.model_id])
    first = "" if known or version is None else "Link the model to its use case, then request"
    return f"{first or 'Request'} the gate at {sights.gate_url(actor, version)}"


def _check_tags(actor: Actor, subject: Subject, sent: Mapping[str, Any]) -> None:
    claimed = next((k for k in access.tag_keys(sent) if rules.is_evidence_tag(k)), "")
    if not claimed:
        return
    if subject.obj_type == "version" and subject.version is not None and sights.live_for(subject.version):
        return
    raise NoLiveDecision(
        f"The tag {claimed!r} says what a decision says, and no live decision allows it here. {_gate(actor, subject.version)}."
    )


def _check_named(actor: Actor, version: ModelVersion | None, alias: str, environment: str, model: str) -> None:
    """Whether a live decision lets this version be named for the environment."""
    if version is None:
        raise NoLiveDecision(
            f"The alias {alias!r} of {model} follows a decision for {environment}, and the portal knows no such version yet. "
            f"Ask for a fresh reading of it, then request its gate at {sights.gate_url(actor, None)}."
        )
    if sights.live_for(version, environment) is None:
        why = sights.why_not_live_for(version, environment)
        raise NoLiveDecision(
            f"{alias!r} says that {version.label} is decided for {environment}. {why} {_gate(actor, version)}; it moves when the version goes live.",
            version=version.label,
        )


def _guard_model(actor: Actor, verb: str, subject: Subject, key: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    """Aliases, new name, deletion."""
    name = subject.models[0] if subject.models else ""
    alias = key.get("alias", sent.get("alias"))
    if verb == "alias" and isinstance(alias, str):
        _guard_alias(actor, name, alias, str(key.get("version") or sent.get("version") or ""))
    renamed = isinstance(sent.get("new_name"), str) and sent["new_name"] != name
    if renamed or (verb == "delete" and "alias" not in key and "key" not in {**key, **sent}):
        rows = ModelVersion.objects.select_related("model").filter(model__name=name)
        if (row := _frozen(rows).first()) is not None:
            must = "has to keep its name" if renamed else "cannot be deleted"
            raise NoLiveDecision(
                f"The model {name} {must}: a gate or decision names {row.label}. Register new versions under another name and request "
                f"their gate at {sights.gate_url(actor, None)}."
            )
        held = AliasRecord.objects.filter(model__name=name, ended_at=None).values_list("alias", flat=True)
        if protected := next((a for a in held if rules.protecting_environment(a)), ""):
            what = "be renamed" if renamed else "be deleted"
            raise NoLiveDecision(
                f"The model {name} cannot {what} while its alias {protected!r} is set. Request a gate at {sights.gate_url(actor, None)}."
            )
    if renamed:
        _check_name_is_free(actor, str(sent["new_name"]))


def _check_name_is_free(actor: Actor, name: str) -> None:
    if ModelVersion.objects.filter(model__name=name).exists():
        raise NotAllowed(f"new_name: the portal keeps versions of a model {name!r}. Choose another name.")


def _guard_alias(actor: Actor, name: str, alias: str, number: str) -> None:
    """A protected alias may be set where a live decision says so, and removed where none does any more."""
    environment = rules.protecting_environment(alias)
    if not environment:
        return
    if number:
        _check_named(actor, _version(name, number, ""), alias, environment, name)
        return
    version = _version(name, "", alias)
    if version is not None and sights.live_for(version, environment):
        raise NoLiveDecision(
            f"The alias {alias!r} says that {version.label} is decided for {environment}, which it is. Request the gate of the version that is "
            f"to take its place at {sights.gate_url(actor, version)}, or revoke the decision."
        )


def _guard_version(actor: Actor, verb: str, subject: Subject, key: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    """Stage, deletion and tags of a version; aliases too, where a client names them with the version."""
    name, row = (subject.models or [""])[0], subject.version
    if verb == "register":
        return
    if verb == "alias" and isinstance(key.get("alias", sent.get("alias")), str):
        _guard_alias(actor, name, str(key.get("alias", sent.get("alias"))), str(key.get("version") or sent.get("version") or ""))
    if isinstance(sent.get("stage"), str):
        _guard_stage(actor, name, row, sent)
        return
    tags = bool(list(access.tag_keys(sent))) or "key" in key
    if row is None or not (verb == "delete" or tags) or (all(rules.is_evidence_tag(k) for k in access.tag_keys(sent)) and tags):
        return
    if _frozen(ModelVersion.objects.filter(id=row.id)).exists():
        what = "keeps its tags" if tags else "cannot be deleted"
        raise NoLiveDecision(
            f"{row.label} {what}: a gate or decision names it. Register a new version and request its gate at {_page(actor, row)}."
        )
    if not tags and (protected := sights.protected_alias_of(row)):
        raise NoLiveDecision(f"{row.label} cannot be deleted while the alias {protected!r} points at it. {_gate(actor, row)}.")


def _page(actor: Actor, version: ModelVersion) -> str:
    known = sights.usecases_of(actor, [version.model_id]).get(version.model_id, [])
    address = sights.gate_url(actor, None)
    return f"{address}?usecase={known[0].slug}" if known else address


def _guard_stage(actor: Actor, name: str, row: ModelVersion | None, sent: Mapping[str, Any]) -> None:
    stage = rules.alias_key(str(sent["stage"]))
    if environment := access.STAGE_ENVIRONMENTS.get(stage):
        _check_named(actor, row, str(sent["stage"]), environment, name)
    elif row is not None and (decision := sights.live_for(row)):
        raise NoLiveDecision(
            f"{row.label} is decided for {decision.environment} and cannot leave its stage. Revoke the decision, or request the gate of the "
            f"version that is to take its place at {_page(actor, row)}."
        )
    archives = sent.get("archive_existing_versions")
    if archives is True or str(archives).lower() == "true":
        rows = ModelVersion.objects.select_related("model").filter(model__name=name).exclude(id=row.id if row else None)
        if other := next((v for v in _frozen(rows) if sights.live_for(v)), None):
            raise NoLiveDecision(
                f"archive_existing_versions: {other.label} is decided for use and cannot be archived. Leave it out, or revoke first."
            )


def _guard_run(actor: Actor, verb: str, subject: Subject, key: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    if not subject.run_id or (verb != "delete" and set(sent) <= access.RUN_ENDS and "status" in sent):
        return
    _refuse_behind(actor, verb, "run", Q(run_id=subject.run_id))


def _guard_experiment(actor: Actor, verb: str, subject: Subject, key: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    if verb == "delete" and subject.experiments:
        _refuse_behind(actor, verb, "experiment", Q(experiment_id__in=subject.experiments))


def _guard_trace(actor: Actor, verb: str, subject: Subject, key: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    """Traces are deleted by their experiment, many at once."""
    if verb == "delete" and subject.experiments:
        _refuse_behind(actor, verb, "trace of this experiment", Q(experiment_id__in=subject.experiments))


def _guard_logged_model(actor: Actor, verb: str, subject: Subject, key: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    if subject.model_id:
        _refuse_behind(actor, verb, "logged model", _stands_on(subject.model_id))


def _stands_on(model_id: str) -> Q:
    return Q(source__contains=f"/{model_id}") | Q(artifact_root__contains=f"/models/{model_id}/")


def _guard_artifact(actor: Actor, verb: str, subject: Subject, key: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    """The files of a registered version are those it was registered with; those beside it stay as a gate or decision found them."""
    path = subject.path.strip("/")
    if not path:
        return
    if (holder := folder_holders(path).first()) is not None:
        raise NoLiveDecision(
            f"The file belongs to the registered version {holder.label}, whose files are frozen. Register a new version instead and request "
            f"its gate at {_page(actor, holder)}."
        )
    owner = access.owner_of_path(path)
    if run_id := owner.get("run_id"):
        _refuse_behind(actor, verb, "folder of this run", Q(run_id=run_id))
    elif model_id := owner.get("model_id"):
        _refuse_behind(actor, verb, "folder of this logged model", _stands_on(model_id))


def _refuse_behind(actor: Actor, verb: str, what: str, behind: Q) -> None:
    """Nothing that a gate or decision was given on is changed or deleted any more."""
    row = _frozen(ModelVersion.objects.select_related("model").filter(behind)).first()
    if row is not None:
        act = "be deleted" if verb == "delete" else "be changed"
        raise NoLiveDecision(
            f"The {what} cannot {act}: {row.label}, which a gate or decision names, stands on it. Log to a new one, register a new version "
            f"and request its gate at {_page(actor, row)}."
        )


def _frozen(rows: QuerySet[ModelVersion]) -> QuerySet[ModelVersion]:
    """Those whose facts a gate has frozen or a decision names."""
    return rows.filter(Q(frozen__isnull=False) | Q(id__in=sights.decided(ModelVersion.objects.all()).values("id")))


def _nothing_more(actor: Actor, verb: str, subject: Subject, key: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    """No rule of governance beside the right itself."""


Guard = Callable[[Actor, str, Subject, Mapping[str, Any], Mapping[str, Any]], None]
GUARDS: dict[str, Guard] = {
    "model": _guard_model,
    "version": _guard_version,
    "run": _guard_run,
    "experiment": _guard_experiment,
    "loggedmodel": _guard_logged_model,
    "trace": _guard_trace,
    "artifact": _guard_artifact,
}

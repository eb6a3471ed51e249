"""What the portal records of models and versions."""

from typing import Any

from django.db import transaction
from django.db.models import Q

from apps.audit import services as audit
from apps.core import sql
from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.clock import now
from apps.outbox import services as outbox
from apps.registry import rules, selectors
from apps.registry.models import Dataset, Experiment, ModelCard, ModelVersion, RegisteredModel, RunInput, VersionIntent
from apps.registry.rules import DatasetFacts, VersionFacts
from apps.registry.rules.access import experiment_of_path
from apps.registry.rules.findings import BESIDE, FROM_FILES, FROM_MLFLOW, bounded
from apps.registry.rules.scan import TOOL_VERSION
from apps.registry.selectors.access import decided, live_for
from apps.registry.selectors.makers import contact_of
from apps.registry.services.findings import close_open, compare_beside, compare_frozen, raise_finding

_PLACE = """
    SELECT m.id, v.id, v.author FROM registry_registeredmodel m
      LEFT JOIN registry_modelversion v ON v.model_id = m.id AND v.version = $1 WHERE m.name = $2
"""
# Taken over from a reading as they are.
COPIED = (
    "run_id", "experiment_id", "run_name", "source", "detail", "artifact_root", "flavor", "signature", "requirements", "params", "metrics", "tags",
    "description", "registered_at", "beside", "beside_digest",
)  # fmt: skip


@transaction.atomic
def created_model(*, actor: Actor, name: str, description: str = "") -> RegisteredModel:
    """MLflow has made the registered model for this actor, who thereby owns it; repeating it changes nothing."""
    rules.check_may_edit(actor)
    row, made = _known(actor=actor, name=name, owner_id=actor.user_id)
    before = _kept(row)
    row.description = description
    if row.synced_at is None or row.gone_at is not None:
        # Its aliases are none yet: whatever is found there later is a change.
        row.synced_at, row.gone_at = now(), None
    if not row.author:
        person = selectors.author_of(actor.user_id)
        row.author, row.owner = str(person or actor.label)[:300], row.owner or person
    row.save(update_fields=["description", "synced_at", "gone_at", "author", "owner"])
    if not made:
        _record_model_difference(row, actor, before)
    return row


@transaction.atomic
def created_experiment(*, actor: Actor, experiment_id: str, name: str) -> Experiment:
    """MLflow has made the experiment for this actor, who thereby owns it; repeating it changes nothing but the name."""
    rules.check_may_edit(actor)
    row, made = Experiment.objects.get_or_create(
        mlflow_id=experiment_id[:64], defaults={"name": name[:500], "owner": selectors.author_of(actor.user_id), "synced_at": now()}
    )
    if made:
        audit.record("registry.experiment.created", actor=actor, obj_type="experiment", obj_id=row.mlflow_id, obj_label=row.name)
    elif row.name != name[:500]:
        was, row.name, row.synced_at = row.name, name[:500], now()
        row.save(update_fields=["name", "synced_at"])
        audit.record(
            "registry.experiment.renamed", actor=actor, obj_type="experiment", obj_id=row.mlflow_id, obj_label=row.name,
            before={"name": was}, after={"name": row.name},
        )  # fmt: skip
    return row


def created_version(
    *,
    actor: Actor,
    intent_id: Any,
    name: str,
    version: int,
    run_id: str = "",
    source: str = "",
    artifact_root: str = "",
    experiment_id: str = "",
) -> ModelVersion:
    """MLflow has numbered a version for this actor: note the author, freeze its folder, and ask for a reading.

    Raises IntegrityError when a reading meets the version in the same moment: then ask again.
    """
    rules.check_may_edit(actor)
    model_id, met_id, said = next(iter(sql.ask(_PLACE, [version, name])), (None, None, ""))
    known = RegisteredModel(id=model_id, name=name) if model_id else None
    owner = known or transaction.atomic(_known)(actor=actor, name=name, owner_id=actor.user_id)[0]
    user_id, maker = selectors.maker_of(actor)
    row = ModelVersion(
        model=owner, version=version, run_id=run_id[:64], source=source, artifact_root=artifact_root[:1000],
        experiment_id=(experiment_id or experiment_of_path(artifact_root))[:64], author=maker, author_user_id=user_id,
    )  # fmt: skip
    if met_id:
        row = ModelVersion.objects.select_related("model").get(id=met_id)
    with sql.at_once():
        if not met_id:
            sql.insert(row)
        elif not said:
            row.author, row.author_user_id = maker, user_id
            sql.change("UPDATE registry_modelversion SET author = $1, author_user_id = $2 WHERE id = $3", [maker, user_id, met_id])
        if not said:
            audit.record(
                "registry.version.created", actor=actor, obj_type="modelversion", obj_id=str(row.id), obj_label=row.label,
                after={"run_id": run_id, "source": source},
            )  # fmt: skip
        sql.change("UPDATE registry_versionintent SET version_id = $1 WHERE id = $2 AND version_id IS NULL", [row.id, intent_id])
        outbox.put("registry.sync", {"name": name, "version": version})
    return row


@transaction.atomic
def record_version(*, actor: Actor, facts: VersionFacts) -> ModelVersion:
    """Record a reading; the same reading again changes nothing but `synced_at`.

    A digest is recorded once: when the files differ from it, the version becomes `changed`, the trail says so, and the decisions
    that name the digest are held until the files are again what they were.
    """
    rules.check_may_edit(actor)
    owner, new = _known(actor=actor, name=facts.name)
    if (owner.description, owner.tags) != (facts.model_description, facts.model_tags):
        model_before = _kept(owner)
        owner.description, owner.tags = facts.model_description, facts.model_tags
        owner.save(update_fields=["description", "tags"])
        if not new:
            _record_model_difference(owner, actor, model_before)
    _, created = ModelVersion.objects.get_or_create(
        model=owner, version=facts.version, defaults={"run_id": facts.run_id, "source": facts.source}
    )
    row = ModelVersion.objects.select_for_update(no_key=True).get(model=owner, version=facts.version)
    if created:
        _adopt_intent(actor, row, facts)
    row.model = owner
    if facts.state == "pending" and row.artifact_digest:
        return row
    same_files = bool(row.artifact_digest) and facts.digest == row.artifact_digest
    ours = actor if actor.is_system else Actor.system("artifact check", on_behalf_of=actor.id)
    compare_frozen(actor=ours, row=row, facts=facts, fields=(*FROM_MLFLOW, *(FROM_FILES if same_files else ())))
    compare_beside(actor=ours, row=row, facts=facts)
    if row.artifact_digest and facts.digest != row.artifact_digest:
        return _mark(
            row, actor=actor, observed=facts.digest, detail=facts.detail or "Its files differ from those whose digest was recorded."
        )
    before = _summary(row)
    restored = row.status == "changed"
    # What was read beside a frozen version stays until it can be read again.
    unread = BESIDE if facts.beside_unread and row.frozen_digest else ()
    for name in COPIED:
        if name not in unread:
            setattr(row, name, getattr(facts, name))
    row.status, row.flavors, row.observed_digest, row.synced_at = facts.state, list(facts.flavors), facts.digest, now()
    if facts.state == "ready" and not row.artifact_digest:
        row.artifact_digest, row.artifact_manifest = facts.digest, facts.manifest
        row.artifact_sizes, row.size_bytes = facts.sizes, sum(facts.sizes.values())
    _settle_writing(row, facts)
    row.save()
    _record_inputs(row, facts.datasets)
    _check_claims(row, ours)
    if facts.state == "ready":
        if not ModelCard.objects.filter(version=row).exists():
            written = rules.prefilled_card(facts, contact=contact_of(row, facts.tags))
            ModelCard.objects.get_or_create(version=row, defaults=written)
        if not row.scans.filter(tool_version=TOOL_VERSION).exists():
            outbox.put("registry.scan", {"name": owner.name, "version": row.version})
    if restored:
        audit.record(
            "registry.version.restored", actor=actor, obj_type="modelversion", obj_id=str(row.id), obj_label=row.label, after=_summary(row)
        )
        because = f"The files of {row.label} are again what was decided on."
        close_open(actor=ours, kind="files", model_id=row.model_id, key=str(row.version), because=because)
    else:
        _record_difference(row, actor, before)
    return row


@transaction.atomic
def mark_changed(*, actor: Actor, version_id: Any, observed: str, detail: str) -> ModelVersion:
    """The files of a version were found to differ from its recorded digest, outside a full reading."""
    row = ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("model").get(id=version_id)
    return _mark(row, actor=actor, observed=observed, detail=detail)


@transaction.atomic
def mark_gone(*, actor: Actor, version_id: Any) -> ModelVersion:
    """MLflow has the version no more. That is a finding only where a gate or decision stands on it: others may be deleted."""
    row = ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("model").get(id=version_id)
    stands = row.frozen_digest or decided(ModelVersion.objects.filter(id=row.id)).exists()
    return _mark(row, actor=actor, observed="", detail="MLflow has this version no more.", finding=bool(stands))


@transaction.atomic
def compare_figures(*, actor: Actor, version_id: Any, facts: VersionFacts) -> None:
    """Take in what MLflow says of a version without its files: findings where it differs from what was frozen, and the portal's row."""
    rules.check_may_edit(actor)
    row = ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("model").get(id=version_id)
    compare_frozen(actor=actor, row=row, facts=facts, fields=FROM_MLFLOW)
    before = _summary(row)
    for name in ("params", "metrics", "tags", "run_name", "description"):
        setattr(row, name, getattr(facts, name))
    _settle_writing(row, facts)
    row.save(update_fields=["params", "metrics", "tags", "run_name", "description", "writing_until"])
    _record_inputs(row, facts.datasets)
    _check_claims(row, actor)
    _record_difference(row, actor, before)


def _check_claims(row: ModelVersion, actor: Actor) -> None:
    """Tags that say what a decision says are a finding while no live decision names the version's files."""
    claimed = {k: v for k, v in row.tags.items() if rules.is_evidence_tag(k)}
    if claimed and live_for(row) is None:
        raise_finding(
            actor=actor, kind="tag", key=str(row.version), model=row.model, version=row, expected={}, found=bounded(claimed), hold=False,
            detail=f"{row.label} carries tags that say what only a decision says, and none is live: {', '.join(sorted(claimed))}.",
        )  # fmt: skip
    else:
        because = "A live decision says so." if claimed else "The tags are gone."
        close_open(actor=actor, kind="tag", model_id=row.model_id, key=str(row.version), because=because)


def _settle_writing(row: ModelVersion, facts: VersionFacts) -> None:
    if row.writing_until is not None and facts.read_at is not None and facts.read_at >= row.writing_until:
        row.writing_until = None


def _record_difference(row: ModelVersion, actor: Actor, before: dict[str, Any]) -> None:
    after = _summary(row)
    if before != after:
        audit.record(
            "registry.version.synced", actor=actor, obj_type="modelversion", obj_id=str(row.id), obj_label=row.label,
            before={k: v for k, v in before.items() if v != after[k]}, after={k: v for k, v in after.items() if v != before[k]},
        )  # fmt: skip


@transaction.atomic
def note_download(*, actor: Actor, version: ModelVersion) -> None:
    """A serving host is about to receive the files."""
    audit.record(
        "registry.artifact.downloaded", actor=actor, obj_type="modelversion", obj_id=str(version.id), obj_label=version.label,
        after={"digest": version.artifact_digest, "size_bytes": version.size_bytes},
    )  # fmt: skip


def _mark(row: ModelVersion, *, actor: Actor, observed: str, detail: str, finding: bool = True) -> ModelVersion:
    if not row.artifact_digest:
        return row
    if row.status == "changed" and row.observed_digest == observed:
        if finding:
            _find_changed(row, actor=actor)
        return row
    row.status, row.observed_digest, row.detail, row.synced_at = "changed", observed, detail, now()
    row.save(update_fields=["status", "observed_digest", "detail", "synced_at"])
    audit.record(
        "registry.version.changed", actor=actor, obj_type="modelversion", obj_id=str(row.id), obj_label=row.label,
        before={"digest": row.artifact_digest}, after={"digest": observed}, reason=detail,
    )  # fmt: skip
    if finding:
        _find_changed(row, actor=actor)
    return row


def _find_changed(row: ModelVersion, *, actor: Actor) -> None:
    raise_finding(
        actor=actor if actor.is_system else Actor.system("artifact check", on_behalf_of=actor.id), kind="files", key=str(row.version), model=row.model, version=row,
        expected={"digest": row.artifact_digest}, found={"digest": row.observed_digest, "detail": row.detail},
        detail=f"The files of {row.label} are not those that were decided on.",
    )  # fmt: skip


def _known(*, actor: Actor, name: str, owner_id: str | None = None) -> tuple[RegisteredModel, bool]:
    """The portal's row of the model, and whether it was made just now."""
    # Looked up only for a model that is new: most writes meet one that is there.
    fresh: dict[str, Any] = {"owner": lambda: selectors.author_of(owner_id)}
    row, created = RegisteredModel.objects.get_or_create(name=name, defaults=fresh)
    if created:
        audit.record("registry.model.created", actor=actor, obj_type="registeredmodel", obj_id=str(row.id), obj_label=name)
    return row, created


def _kept(row: RegisteredModel) -> dict[str, Any]:
    """What the trail keeps of a model."""
    owner = row.owner.email if row.owner else ""
    return {"description": row.description, "tags": row.tags, "gone": row.gone_at is not None, "author": row.author, "owner": owner}


def _record_model_difference(row: RegisteredModel, actor: Actor, before: dict[str, Any]) -> None:
    after = _kept(row)
    if before != after:
        audit.record(
            "registry.model.synced", actor=actor, obj_type="registeredmodel", obj_id=str(row.id), obj_label=row.name,
            before={k: bounded(v) for k, v in before.items() if v != after[k]}, after={k: bounded(v) for k, v in after.items() if v != before[k]},
        )  # fmt: skip


def _adopt_intent(actor: Actor, row: ModelVersion, facts: VersionFacts) -> None:
    """Find who asked for a version that the portal first meets in MLflow itself; without a trace there is no author."""
    wanted = VersionIntent.objects.filter(model_name=facts.name, version=None)
    same = wanted.filter(Q(source=facts.source) | (Q(run_id=facts.run_id) & ~Q(run_id="")))
    intent = same.order_by("-id").first()
    if intent is not None:
        row.author, row.author_user = intent.actor_label, intent.user
        row.save(update_fields=["author", "author_user"])
        VersionIntent.objects.filter(id=intent.id).update(version=row)
    audit.record(
        "registry.version.created", actor=actor, obj_type="modelversion", obj_id=str(row.id), obj_label=row.label,
        after={"run_id": facts.run_id, "source": facts.source, "author": row.author or None},
        reason="Met in MLflow, not made through the endpoint's answer.",
    )  # fmt: skip


def _record_inputs(row: ModelVersion, datasets: tuple[DatasetFacts, ...]) -> None:
    kept = []
    for facts in datasets:
        dataset, _ = Dataset.objects.get_or_create(
            name=facts.name, digest=facts.digest,
            defaults={"source_type": facts.source_type, "source": facts.source, "schema": facts.schema, "profile": facts.profile},
        )  # fmt: skip
        kept.append(RunInput.objects.get_or_create(version=row, dataset=dataset, context=facts.context)[0].id)
    RunInput.objects.filter(version=row).exclude(id__in=kept).delete()


def _summary(row: ModelVersion) -> dict[str, Any]:
    """What the trail keeps of a version: figures are digested, because names of parameters and tags are the author's own words."""
    return {
        "status": row.status,
        "digest": row.artifact_digest,
        "detail": row.detail,
        "run_id": row.run_id,
        "source": row.source,
        "flavor": row.flavor,
        "params": digest_of(row.params),
        "metrics": digest_of(row.metrics),
        "signature": digest_of(row.signature),
        "requirements": digest_of(row.requirements),
        "datasets": sorted(f"{i.context}: {i.dataset}" for i in row.inputs.select_related("dataset")),
    }

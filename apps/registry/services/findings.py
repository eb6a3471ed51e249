"""Findings: what is not as it was frozen or decided. Raised and closed by our own processes; each holds the decisions it concerns."""

from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.clock import now
from apps.core.errors import Conflict, NotAllowed, NotFound
from apps.decisions import selectors as decisions
from apps.decisions import services as decision_services
from apps.registry.models import Finding, FrozenVersion, ModelVersion, RegisteredModel
from apps.registry.rules import VersionFacts
from apps.registry.rules import findings as rules

HOLD_SOURCE = "finding"


def _check_ours(actor: Actor) -> None:
    if not actor.is_system:
        raise NotAllowed("Findings come from the reconciler. Ask for a fresh reading of the version instead.")


@transaction.atomic
def raise_finding(
    *,
    actor: Actor,
    kind: str,
    model: RegisteredModel,
    detail: str,
    expected: dict[str, Any],
    found: dict[str, Any],
    version: ModelVersion | None = None,
    key: str = "",
    actor_label: str = "",
    hold: bool = True,
) -> Finding:
    """Write down that something is not what it should be, and hold the live decisions about it; the same again changes nothing.

    hold: decisions, held by something else or not, that name the version's files (or, without a version, those of any version of the model) are held until it closes.
    """
    _check_ours(actor)
    RegisteredModel.objects.select_for_update(no_key=True).get(id=model.id)
    row = Finding.objects.filter(model=model, kind=kind, key=key[:300], closed_at=None).first()
    if row is not None and (row.expected, row.found) != (expected, found):
        close_finding(actor=actor, finding=row, because="It differs in another way now.")
        row = None
    if row is None:
        row = Finding.objects.create(
            kind=kind, key=key[:300], model=model, version=version, detail=detail, expected=expected, found=found,
            actor_label=actor_label[:300],
        )  # fmt: skip
        audit.record(
            "registry.finding.raised", actor=actor, obj_type="finding", obj_id=str(row.id), obj_label=str(version or model),
            before=expected, after=found, reason=f"{detail}{f' By {actor_label}.' if actor_label else ''}",
        )  # fmt: skip
    if hold:
        about = ModelVersion.objects.filter(id=version.id) if version is not None else ModelVersion.objects.filter(model=model)
        digests = about.exclude(artifact_digest="").values("artifact_digest")
        for decision in decisions.standing().filter(artifact_digest__in=digests):
            decision_services.place_hold(
                actor=actor, decision_id=decision.id, source_type=HOLD_SOURCE, source_id=str(row.id), reason=row.detail
            )
    return row


@transaction.atomic
def close_finding(*, actor: Actor, finding: Finding, because: str) -> Finding:
    """What it spoke of is mended: close it, and let the decisions go that it held. Closing it twice changes nothing."""
    _check_ours(actor)
    row = Finding.objects.select_for_update(of=("self",), no_key=True).select_related("model", "version__model").get(id=finding.id)
    if row.closed_at is not None:
        return row
    row.closed_at, row.closed_because = now(), because
    row.save(update_fields=["closed_at", "closed_because"])
    audit.record(
        "registry.finding.closed",
        actor=actor,
        obj_type="finding",
        obj_id=str(row.id),
        obj_label=str(row.version or row.model),
        reason=because,
    )
    placed = [(HOLD_SOURCE, str(row.id))]
    if row.kind == "files" and row.version is not None:
        # Holds that name the version itself, placed before there were findings.
        placed.append(("modelversion", str(row.version.id)))
    for hold in (h for source_type, source_id in placed for h in decisions.open_holds(source_type=source_type, source_id=source_id)):
        decision_services.lift_hold(actor=actor, hold_id=hold.id, reason=because)
    return row


def close_open(*, actor: Actor, kind: str, model_id: Any, key: str, because: str) -> None:
    """Close the open finding of this kind about this key, if there is one."""
    for row in Finding.objects.filter(model_id=model_id, kind=kind, key=key[:300], closed_at=None):
        close_finding(actor=actor, finding=row, because=because)


def facts_of_row(row: ModelVersion) -> dict[str, Any]:
    """The canonical facts of a version as the portal last read them."""
    return rules.frozen_facts(
        artifact_digest=row.artifact_digest, params=row.params, metrics=row.metrics, tags=row.tags,
        datasets=[(i.context, i.dataset.name, i.dataset.digest) for i in row.inputs.select_related("dataset")],
        requirements=row.requirements, signature=row.signature, beside=row.beside, beside_digest=row.beside_digest,
    )  # fmt: skip


def facts_of_reading(facts: VersionFacts) -> dict[str, Any]:
    """The same of a fresh reading."""
    return rules.frozen_facts(
        artifact_digest=facts.digest, params=facts.params, metrics=facts.metrics, tags=facts.tags,
        datasets=[(d.context, d.name, d.digest) for d in facts.datasets], requirements=facts.requirements, signature=facts.signature,
        beside=facts.beside, beside_digest=facts.beside_digest,
    )  # fmt: skip


@transaction.atomic
def freeze_version(*, actor: Actor, version_id: Any) -> FrozenVersion:
    """Keep for ever what is known of a version now, with its digest, because a gate is about to be requested for it.

    Freezing it again gives what was kept the first time. The caller has checked that the actor may request the gate.
    Raises NotFound; Conflict when the version is not settled, or no longer what was frozen.
    """
    row = ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("model").filter(id=version_id).first()
    if row is None:
        raise NotFound("model_version: there is no such version. Choose another.")
    if (kept := FrozenVersion.objects.filter(version=row).first()) is not None:
        if (gap := Finding.objects.filter(version=row, closed_at=None).order_by("id").first()) is not None:
            raise Conflict(f"model_version: {row.label} is not what was frozen. {gap.detail} Mend it, or register a new version.")
        return kept
    if row.status != "ready" or not row.artifact_digest:
        raise Conflict(
            f"model_version: {row.label} is {row.status}; its files have no settled digest. Ask for a fresh reading, then try again."
        )
    if row.writing_until is not None:
        raise Conflict(
            f"model_version: somebody has just written to the run of {row.label}. The portal reads it again; try in a few seconds."
        )
    facts = facts_of_row(row)
    kept = FrozenVersion.objects.create(version=row, facts=facts, digest=digest_of(facts), frozen_by=actor.label[:300])
    audit.record(
        "registry.version.frozen", actor=actor, obj_type="modelversion", obj_id=str(row.id), obj_label=row.label,
        after={"digest": kept.digest, "artifact_digest": row.artifact_digest, **{k: len(facts[k]) for k in rules.FROM_MLFLOW}},
    )  # fmt: skip
    return kept


def compare_frozen(*, actor: Actor, row: ModelVersion, facts: VersionFacts, fields: tuple[str, ...]) -> None:
    """Whether a reading still says what was frozen, in these fields: raise or close the finding. In the caller's transaction."""
    kept = FrozenVersion.objects.filter(version=row).first()
    if kept is None:
        return
    expected, found = rules.differences(kept.facts, facts_of_reading(facts), fields)
    if expected or found:
        raise_finding(
            actor=actor, kind="facts", key=str(row.version), model=row.model, version=row, expected=expected, found=found,
            detail=f"What MLflow says of {row.label} is not what was frozen for its gate: {rules.words_of(expected, found)}.",
        )  # fmt: skip
    elif set(fields) >= set(rules.FROM_MLFLOW):
        because = f"What MLflow says of {row.label} is again what was frozen."
        open_ones = Finding.objects.filter(model=row.model, kind="facts", key=str(row.version), closed_at=None)
        for each in open_ones:
            if set(each.expected) | set(each.found) <= set(fields):
                close_finding(actor=actor, finding=each, because=because)


def compare_beside(*, actor: Actor, row: ModelVersion, facts: VersionFacts) -> None:
    """The same of the files beside the version in the folder of its run. In the caller's transaction."""
    kept = FrozenVersion.objects.filter(version=row).first()
    if kept is None or not kept.facts.get("beside_digest"):
        # Frozen before they were read.
        return
    if facts.beside_unread:
        raise_finding(
            actor=actor, kind="beside", key=str(row.version), model=row.model, version=row,
            expected={"beside_digest": kept.facts["beside_digest"]}, found={"beside_unread": facts.beside_unread},
            detail=f"Files beside {row.label}, in the folder of its run, cannot be compared with those that were frozen for its gate: "
            f"{facts.beside_unread}.",
        )  # fmt: skip
        return
    if not facts.beside_digest:
        return
    expected, found = rules.differences(kept.facts, facts_of_reading(facts), rules.BESIDE)
    if not expected and not found:
        because = f"The files beside {row.label} are again those that were frozen."
        close_open(actor=actor, kind="beside", model_id=row.model_id, key=str(row.version), because=because)
        return
    names = sorted({*expected.get("beside", {}), *found.get("beside", {})})
    which = f": {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "; their sizes are the same"
    raise_finding(
        actor=actor, kind="beside", key=str(row.version), model=row.model, version=row, expected=expected, found=found,
        detail=f"Files beside {row.label}, in the folder of its run, are not those that were frozen for its gate{which}.",
    )  # fmt: skip

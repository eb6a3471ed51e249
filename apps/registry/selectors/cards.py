"""Reads of cards, their revisions and their documents for export, and of known failure modes."""

from typing import Any

from django.db.models import Q, QuerySet

from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.clock import iso
from apps.core.errors import NotFound
from apps.registry import rules
from apps.registry.models import CardRevision, Evaluation, FailureMode, GovernedDataset, ModelCard, ModelVersion, RegisteredModel
from apps.registry.rules import failures
from apps.registry.rules.cards import CardDocument


def figures(version: ModelVersion) -> list[dict[str, Any]]:
    """Metrics of a version with intervals, each with the data it was measured on: of evaluations in force, else as the run logged them."""
    out: list[dict[str, Any]] = []
    rows = Evaluation.objects.filter(version=version, superseded_by=None).select_related("dataset").order_by("id")
    for evaluation in rows:
        where = str(evaluation.dataset.name) if evaluation.dataset else evaluation.name
        for figure in evaluation.figures["metrics"]:
            out.append({**figure, "dataset": where, "task": evaluation.document.get("task", ""), "evaluation": evaluation.name})
    if not out:
        data = [
            i.dataset.name
            for i in version.inputs.select_related("dataset").order_by("context")
            if i.context not in {"", "train", "training"}
        ]
        for name, value in sorted(version.metrics.items()):
            if value is not None:
                out.append(
                    {"name": name, "value": value, "low": None, "high": None, "n": None, "method": "", "better": "",
                     "dataset": data[0] if len(data) == 1 else "", "task": "", "evaluation": ""}
                )  # fmt: skip
    return out


def card_of(version: ModelVersion) -> ModelCard:
    """The card as it is now; an empty one that is not stored when there is none yet."""
    return ModelCard.objects.filter(version=version).first() or ModelCard(version=version)


def revisions(version: ModelVersion) -> QuerySet[CardRevision]:
    """Kept revisions of a version's card, newest first."""
    return CardRevision.objects.filter(version=version).order_by("-revision")


def revision(version: ModelVersion, number: Any) -> CardRevision:
    """One kept revision, or NotFound."""
    found = revisions(version).filter(revision=number).first() if str(number).isdigit() else None
    if found is None:
        raise NotFound(f"The card of {version.label} has no revision {number}. Its history lists those there are.")
    return found


def document(version: ModelVersion, number: int | None = None) -> CardDocument:
    """The card (or a kept revision of it) with all that an export says. NotFound for a revision that was never saved."""
    card = card_of(version)
    texts, shown, saved_by, saved_at, at = rules.card_texts(card), figures(version), card.updated_by, card.updated_at, card.revision
    if number is not None and (number != card.revision or revisions(version).filter(revision=number).exists()):
        kept = revision(version, number)
        texts, shown, saved_by, saved_at, at = rules.card_texts(kept.fields), kept.figures, kept.saved_by, kept.saved_at, kept.revision
    inputs = list(version.inputs.select_related("dataset").order_by("context", "dataset__name"))
    licences = set(
        GovernedDataset.objects.filter(name__in=[i.dataset.name for i in inputs]).exclude(licence="").values_list("licence", flat=True)
    )
    return CardDocument(
        model=version.model.name, version=version.version, revision=at, digest=digest_of(texts), artifact_digest=version.artifact_digest,
        texts=texts, figures=tuple(shown), datasets=tuple((i.dataset.name, i.dataset.digest, i.context) for i in inputs),
        flavor=version.flavor, licence=str(version.tags.get("license") or version.tags.get("licence") or ""),
        tags=tuple(sorted({str(f) for f in version.flavors} | {f"data-licence:{each}" for each in licences})), saved_by=saved_by,
        saved_at=iso(saved_at) if saved_at else "",
    )  # fmt: skip


def failure_modes(model: RegisteredModel, *, version: int | None = None) -> QuerySet[FailureMode]:
    """Known failure modes of a model, gravest and open ones first; with `version` only those that hold for it."""
    rows = FailureMode.objects.filter(model=model).select_related("owner")
    if version is not None:
        rows = rows.filter(Q(since_version=None) | Q(since_version__lte=version), Q(until_version=None) | Q(until_version__gte=version))
    return rows.order_by("-id")


def in_order(rows: Any) -> list[FailureMode]:
    """Open before handled, grave before light, new before old."""
    return sorted(rows, key=lambda r: (failures.STATES.index(r.state), -failures.SEVERITIES.index(r.severity)))


def failure_mode(actor: Actor, failure_id: Any) -> FailureMode:
    """One entry by id, or NotFound."""
    return FailureMode.objects.visible_to(actor).select_related("model", "owner").one("failure mode", id=failure_id)

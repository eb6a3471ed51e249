"""Reads of evaluations and bias audits, and which version they are held against."""

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from apps.core.actor import Actor
from apps.decisions import selectors as decisions
from apps.registry.models import AliasRecord, Evaluation, ModelVersion


def of_version(version: ModelVersion) -> QuerySet[Evaluation]:
    """All that were ever attached to a version, those in force first, newest first."""
    return Evaluation.objects.filter(version=version).select_related("dataset", "superseded_by").order_by("superseded_by_id", "-id")


def in_force(version: ModelVersion, kind: str = "") -> list[Evaluation]:
    """Those that no later one has replaced, newest first."""
    rows = Evaluation.objects.filter(version=version, superseded_by=None).select_related("dataset").order_by("-id")
    return list(rows.filter(kind=kind) if kind else rows)


def evaluation(actor: Actor, evaluation_id: Any) -> Evaluation:
    """One by id, or NotFound."""
    rows = Evaluation.objects.visible_to(actor).select_related("version__model", "dataset", "superseded_by")
    return rows.one("evaluation", id=evaluation_id)


def in_production(version: ModelVersion, *, usecase_id: Any = None, at: datetime | None = None) -> ModelVersion | None:
    """The other version of the same model that production runs by: what its protected alias points at, else the newest live decision.

    Not filtered by person: checks ask. `at`: as of then (now).
    """
    aliases = AliasRecord.objects.filter(model_id=version.model_id, alias__in=("production", "champion")).exclude(version=version)
    aliases = aliases.filter(Q(set_at__lte=at), Q(ended_at=None) | Q(ended_at__gt=at)) if at else aliases.filter(ended_at=None)
    if record := aliases.select_related("version__model").order_by("-set_at").first():
        return record.version
    siblings = ModelVersion.objects.filter(model_id=version.model_id).exclude(id=version.id).exclude(artifact_digest="")
    live = decisions.live(at=at).filter(environment="production", artifact_digest__in=siblings.values("artifact_digest"))
    if usecase_id:
        live = live.filter(usecase_id=usecase_id)
    newest = live.order_by("-issued_at", "-id").first()
    if newest is None or newest.artifact_digest == version.artifact_digest:
        return None
    return siblings.select_related("model").filter(artifact_digest=newest.artifact_digest).order_by("-version").first()

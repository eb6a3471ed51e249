"""Evaluations and bias audits attached to a version."""

from django.db import models

from apps.core.models import BaseModel
from apps.registry.models import Dataset, ModelVersion
from apps.registry.models.cards import OfVersionQuerySet

EVALUATION_KINDS = ("evaluation", "bias_audit")
EVALUATION_SOURCES = ("run", "upload")


class Evaluation(BaseModel):
    """A document of figures about one version, attached once. A trigger allows nothing but superseding it, once.

    document: as it was given, in the published schema; digest: of that. figures: what the portal computed from it (intervals,
    ratios), see rules.evaluations.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="evaluations")
    artifact_digest = models.CharField(max_length=71, blank=True, default="")
    kind = models.CharField(max_length=12, choices=[(k, k) for k in EVALUATION_KINDS])
    name = models.CharField(max_length=200)
    source = models.CharField(max_length=10, choices=[(s, s) for s in EVALUATION_SOURCES])
    dataset = models.ForeignKey(Dataset, null=True, on_delete=models.PROTECT, related_name="evaluations")
    document = models.JSONField()
    digest = models.CharField(max_length=71)
    figures = models.JSONField()
    attached_by = models.CharField(max_length=300)
    attached_at = models.DateTimeField()
    superseded_by = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="supersedes")

    objects = OfVersionQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["version", "-id"], name="registry_evaluation_newest")]
        constraints = [
            models.UniqueConstraint(fields=["version", "digest"], name="registry_evaluation_once"),
            models.UniqueConstraint(
                fields=["version", "kind", "name"], condition=models.Q(superseded_by=None), name="registry_one_evaluation_in_force"
            ),
        ]

    def __str__(self) -> str:
        return self.name

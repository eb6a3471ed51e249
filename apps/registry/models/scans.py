"""What a scan found in a version's files, and when MLflow last answered."""

from django.db import models

from apps.core.models import BaseModel
from apps.registry.models import ModelVersion
from apps.registry.models.cards import OfVersionQuerySet
from apps.registry.rules import MLFLOW_VERSION

VERDICTS = ("clean", "warnings", "unsafe", "failed")


class ArtifactScan(BaseModel):
    """One scan of exactly these files with one version of the scanner. A database trigger refuses change and deletion.

    files: [{path, size, kind, safe}]. findings: [{path, level, what}], level `unsafe`, `warning` or `note`.
    signature: {"state": "none" | "unreadable" | "present", ...}, see rules.signatures; what it is worth is asked of the keys trusted now.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="scans")
    artifact_digest = models.CharField(max_length=71)
    tool = models.CharField(max_length=60)
    tool_version = models.CharField(max_length=20)
    verdict = models.CharField(max_length=10, choices=[(v, v) for v in VERDICTS])
    detail = models.TextField(blank=True, default="")
    files = models.JSONField(default=list)
    findings = models.JSONField(default=list)
    loose_requirements = models.JSONField(default=list)
    signature = models.JSONField(default=dict)
    scanned_at = models.DateTimeField()

    objects = OfVersionQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["version", "-id"], name="registry_scan_newest")]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "artifact_digest", "tool", "tool_version"],
                condition=~models.Q(verdict="failed"),
                name="registry_scan_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.tool} {self.tool_version}: {self.verdict}"


class MlflowContact(BaseModel):
    """The one row that says when the portal last compared its tables with MLflow, since when it cannot, and which version of MLflow answered."""

    only = models.BooleanField(default=True, unique=True)
    reached_at = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True)
    detail = models.TextField(blank=True, default="")
    server_version = models.CharField(max_length=60, blank=True, default="")

    @property
    def other_version(self) -> str:
        """The server's version where it is not the one that the endpoint's list of addresses was written for; else ""."""
        return self.server_version if self.server_version != MLFLOW_VERSION else ""

    @property
    def known_version(self) -> str:
        """The version that the endpoint's list of addresses was written for."""
        return MLFLOW_VERSION

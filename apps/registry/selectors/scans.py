"""Reads of scans, and of how old the portal's own data is."""

from django.db.models import QuerySet

from apps.registry.models import ArtifactScan, MlflowContact, ModelVersion


def of_version(version: ModelVersion) -> QuerySet[ArtifactScan]:
    """All scans of a version, newest first."""
    return ArtifactScan.objects.filter(version=version).order_by("-id")


def newest(version: ModelVersion) -> ArtifactScan | None:
    """The newest scan, or None."""
    return of_version(version).first()


def contact() -> MlflowContact:
    """When the portal last compared its tables with MLflow, and since when it cannot; empty before the first time."""
    return MlflowContact.objects.first() or MlflowContact()

"""Reads of trusted keys, and what a version's signature is worth with them now."""

from django.db.models import QuerySet

from apps.core.actor import Actor
from apps.registry.models import ArtifactScan, ModelVersion, SigningKey
from apps.registry.rules import signatures
from apps.registry.rules.signing_keys import Judged, Trusted
from apps.registry.selectors import scans


def signing_keys(actor: Actor) -> QuerySet[SigningKey]:
    """All keys, those that are trusted first, then the newest."""
    return SigningKey.objects.visible_to(actor).select_related("added_by").order_by("-retired_at", "-id")


def trusted() -> list[Trusted]:
    """The keys whose signatures count now."""
    rows = SigningKey.objects.filter(retired_at=None).order_by("id")
    return [Trusted(row.name, row.pem) for row in rows]


def judged(scan: ArtifactScan | None) -> Judged | None:
    """What the signature that a scan has read is worth now; None without a scan that has looked."""
    if scan is None or scan.verdict == "failed":
        return None
    return signatures.judge(scan.signature, trusted() if scan.signature.get("state") == "present" else [])


def of_version(version: ModelVersion) -> Judged | None:
    """The same for the newest scan of the version's files."""
    return judged(scans.newest(version))

"""REST door of scans."""

from dataclasses import asdict
from typing import Any

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.api.idempotency import idempotent
from apps.core.api import actor_of
from apps.core.rest import View, listed, operation
from apps.registry import services
from apps.registry.api.serializers import VersionSerializer
from apps.registry.api.shared import version_of, whole
from apps.registry.models import ArtifactScan
from apps.registry.selectors import scans as reads
from apps.registry.selectors import signing_keys


class ScanSerializer(serializers.ModelSerializer):
    """What a scan found."""

    verdict = serializers.CharField()
    signature = serializers.SerializerMethodField(help_text="What a signature among the files says, and `judged`: what it is worth now.")

    def get_signature(self, row: ArtifactScan) -> dict[str, Any]:
        """As it was read, and what it is worth with the keys that are trusted now."""
        judged = signing_keys.judged(row)
        return {**row.signature, "judged": asdict(judged) if judged else None}

    class Meta:
        model = ArtifactScan
        fields = [
            "id", "artifact_digest", "tool", "tool_version", "verdict", "detail", "files", "findings", "loose_requirements", "signature", "scanned_at",
        ]  # fmt: skip


class ScansView(View):
    """Scans of a version's files."""

    @operation(responses=listed(ScanSerializer))
    def get(self, request: Request, name: str, number: int) -> Response:
        """List the scans of a model version's files, newest first."""
        return whole(ScanSerializer(reads.of_version(version_of(request, name, number)), many=True).data)

    @operation(responses={202: VersionSerializer})
    @idempotent
    def post(self, request: Request, name: str, number: int) -> Response:
        """Ask for a scan of a model version's files; control makes it soon."""
        row = services.request_scan(actor=actor_of(request), version_id=version_of(request, name, number).id)
        return Response(VersionSerializer(row).data, status=status.HTTP_202_ACCEPTED)

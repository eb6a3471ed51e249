"""Scans of a version's files. `scan_version` reads the artifact store outside transactions, then makes one recording call."""

import tempfile
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.doors import call
from apps.core.errors import Conflict, UpstreamFailed
from apps.outbox import services as outbox
from apps.registry import rules, selectors
from apps.registry.gateways import artifacts
from apps.registry.models import ArtifactScan, ModelVersion
from apps.registry.rules import scan, signatures
from apps.registry.services.may import check_may_edit_model

SCANNER = "artifact scan"
MEMORY_BYTES = 8 * 1024 * 1024


def scan_version(*, name: str, version: int) -> ArtifactScan | None:
    """Scan the files of a version as it was digested. None when there is nothing to scan or this scanner has looked already.

    A file that cannot be read makes the scan `failed`; it is tried again when somebody asks. Safe to repeat.
    """
    row = ModelVersion.objects.select_related("model").filter(model__name=name, version=version).exclude(artifact_digest="").first()
    if row is None or row.status != "ready":
        return None
    done = ArtifactScan.objects.filter(version=row, artifact_digest=row.artifact_digest, tool_version=scan.TOOL_VERSION)
    if done.exclude(verdict="failed").exists():
        return None
    files, findings, signature, detail = [], [], {"state": "none"}, ""
    try:
        for path, size in sorted(row.artifact_sizes.items()):
            kind, safe = scan.kind_of(path)
            files.append({"path": path, "size": size, "kind": kind, "safe": safe})
            if scan.may_hold_pickle(path):
                findings += _look_into(row.artifact_root, path, size)
        if path := signatures.signature_file(row.artifact_sizes):
            text = artifacts.read_text(row.artifact_root, path, most_bytes=signatures.MOST_BYTES)
            signature = signatures.read(text, path, row.artifact_manifest.get("files", {}))
    except UpstreamFailed as error:
        detail = error.detail
    return call(
        record_scan, actor=Actor.system(SCANNER), version_id=row.id, digest=row.artifact_digest, files=files, findings=findings,
        signature=signature, detail=detail,
    )  # fmt: skip


def _look_into(root: str, path: str, size: int) -> list[dict[str, str]]:
    if size > scan.MOST_PICKLE_BYTES:
        return [{"path": path, "level": "warning", "what": f"Larger than {scan.MOST_PICKLE_BYTES // 1024**2} MiB: not read."}]
    with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as file:
        for piece in artifacts.stream(root, path):
            file.write(piece)
        file.seek(0)
        return scan.findings_in(path, file)  # type: ignore[arg-type]


@transaction.atomic
def record_scan(
    *, actor: Actor, version_id: Any, digest: str, files: list[dict[str, Any]], findings: list[dict[str, str]],
    signature: dict[str, Any], detail: str = "",
) -> ArtifactScan:  # fmt: skip
    """Write down what a scan found; the same scanner's scan of the same files is written once. `detail`: why it failed."""
    rules.check_may_edit(actor)
    row = ModelVersion.objects.select_for_update(no_key=True, of=("self",)).select_related("model").get(id=version_id)
    if row.artifact_digest != digest:
        raise Conflict("The files were digested anew meanwhile: scan those.")
    same = ArtifactScan.objects.filter(version=row, artifact_digest=digest, tool=scan.TOOL, tool_version=scan.TOOL_VERSION)
    if (known := same.exclude(verdict="failed").first()) is not None:
        return known
    made = ArtifactScan.objects.create(
        version=row, artifact_digest=digest, tool=scan.TOOL, tool_version=scan.TOOL_VERSION, detail=detail[:2000], files=files,
        verdict="failed" if detail else scan.verdict_of(findings), findings=findings[: scan.MOST_FINDINGS],
        loose_requirements=rules.unpinned(row.requirements), signature=signature, scanned_at=now(),
    )  # fmt: skip
    audit.record(
        "registry.artifact.scanned", actor=actor, obj_type="modelversion", obj_id=str(row.id), obj_label=row.label,
        after={"digest": digest, "verdict": made.verdict, "tool": str(made), "findings": len(findings), "signature": signature.get("state")},
        reason=detail[:500],
    )  # fmt: skip
    return made


@transaction.atomic
def request_scan(*, actor: Actor, version_id: Any) -> ModelVersion:
    """A person asks for a scan; control makes it soon. One that is there already stays."""
    row = selectors.version_by_id(actor, version_id)
    check_may_edit_model(actor, row.model)
    outbox.put("registry.scan", {"name": row.model.name, "version": row.version})
    audit.record("registry.scan.requested", actor=actor, obj_type="modelversion", obj_id=str(row.id), obj_label=row.label)
    return row

"""`/artifacts/v1/<version id>/archive`: the files of a version as a tar stream, for the host whose work order carries the token."""

import hashlib
import logging
import tarfile
from collections.abc import Iterator

from django.conf import settings
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.doors import call
from apps.core.errors import Conflict, DomainError, NotFound, SignInNeeded
from apps.registry import services
from apps.registry.gateways import artifacts
from apps.registry.models import ModelVersion
from celery_worker import orders

log = logging.getLogger(__name__)
BLOCK = tarfile.BLOCKSIZE


def _order_keys() -> dict[str, object]:
    """Public order keys by id that are accepted now; read each time, because one that was rotated out ends by the clock."""
    return dict(orders.load_public_keys(settings.ORDER_PUBLIC_KEYS, purpose="order", at=now()))


@require_GET
def archive(request: HttpRequest, version_id: str) -> HttpResponseBase:
    """Verify the token against the version, write the trail, stream. Refusals are problem details."""
    try:
        version, host = _admitted(request, str(version_id))
        call(services.note_download, actor=Actor.agent(host), version=version)
    except DomainError as error:
        refusal = JsonResponse(error.problem(), status=error.status, content_type="application/problem+json")
        if error.status == 401:
            refusal["WWW-Authenticate"] = 'Bearer realm="gatehouse artifacts"'
        return refusal
    response = StreamingHttpResponse(_tar(version), content_type="application/x-tar")
    response["Content-Length"] = str(_length(version))
    response["Content-Disposition"] = f'attachment; filename="{version.id}.tar"'
    response["X-Artifact-Digest"] = version.artifact_digest
    response["Cache-Control"] = "private, no-store"
    return response


def _admitted(request: HttpRequest, version_id: str) -> tuple[ModelVersion, str]:
    """The version and the host the token was made for. Raises SignInNeeded, NotFound or Conflict."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise SignInNeeded("Send the artifact token of the work order as `Authorization: Bearer ...`.")
    try:
        payload = orders.read_artifact_token(token.strip(), _order_keys(), now())  # type: ignore[arg-type]
    except orders.OrderRefused as error:
        raise SignInNeeded(
            f"The artifact token was not accepted. {error.detail}", code=f"token-{error.reason.replace('_', '-')}"
        ) from error
    version = ModelVersion.objects.select_related("model").filter(id=version_id).first()
    if version is None or payload["version_id"] != str(version.id):
        raise NotFound("The artifact token is not for this version.")
    if version.status != "ready" or payload["digest"] != version.artifact_digest:
        raise Conflict(f"The version is {version.status}, or its digest is not the one that was decided on. Ask for a new work order.")
    return version, str(payload["audience"])


def _header(path: str, size: int) -> bytes:
    """The same bytes for the same file: no times, owners or modes of ours."""
    info = tarfile.TarInfo(path)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(tarfile.GNU_FORMAT)


def _files(version: ModelVersion) -> list[tuple[str, int, str]]:
    """(path, size, sha256) as recorded, in order."""
    return [(path, int(version.artifact_sizes[path]), digest) for path, digest in sorted(version.artifact_manifest["files"].items())]


def _length(version: ModelVersion) -> int:
    return sum(len(_header(path, size)) + -(-size // BLOCK) * BLOCK for path, size, _ in _files(version)) + 2 * BLOCK


def _tar(version: ModelVersion) -> Iterator[bytes]:
    """The archive in pieces. A file that is not what was recorded ends the stream, so that what arrives is never complete."""
    for path, size, recorded in _files(version):
        yield _header(path, size)
        digest, seen = hashlib.sha256(), 0
        for piece in artifacts.stream(version.artifact_root, path):
            digest.update(piece)
            seen += len(piece)
            if seen > size:
                break
            yield piece
        if seen != size or digest.hexdigest() != recorded:
            log.error("an artifact differs from its recorded digest", extra={"event": {"version": version.label, "path": path}})
            call(
                services.mark_changed, actor=Actor.system("artifact archive"), version_id=version.id, observed="",
                detail=f"{path} differs from what was recorded; found while a host downloaded it.",
            )  # fmt: skip
            raise ConnectionAbortedError(f"{path} differs from its recorded digest")
        yield b"\0" * (-size % BLOCK)
    yield b"\0" * (2 * BLOCK)

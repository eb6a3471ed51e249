"""Reads MLflow's artifact store through its HTTP API: lists, streams, digests. Nothing is ever held whole in memory."""

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx

from apps.core.errors import UpstreamFailed
from apps.registry.gateways.forward import CHUNK_BYTES
from apps.registry.gateways.http import call, client, ourselves

STORE = "/api/2.0/mlflow-artifacts/artifacts"
MOST_FILES = 10_000
MOST_DEPTH = 30


def list_files(root: str) -> dict[str, int]:
    """Path relative to `root` -> size in bytes, of every file below it, sorted by path. {} when there is nothing."""
    found: dict[str, int] = {}
    _walk(root, "", found, 0)
    return dict(sorted(found.items()))


def _walk(root: str, below: str, found: dict[str, int], depth: int) -> None:
    if depth > MOST_DEPTH or len(found) > MOST_FILES:
        raise UpstreamFailed(f"The model folder is deeper than {MOST_DEPTH} levels or holds more than {MOST_FILES:,} files.")
    for entry in call("GET", STORE, params={"path": f"{root}/{below}".rstrip("/")}).get("files", []):
        name = str(entry.get("path", ""))
        if name in {"", ".", ".."} or "/" in name or "\\" in name:
            raise UpstreamFailed("The artifact store lists a file with an impossible name.")
        path = f"{below}/{name}" if below else name
        if entry.get("is_dir"):
            _walk(root, path, found, depth + 1)
        else:
            found[path] = int(entry.get("file_size") or 0)


def stream(root: str, path: str) -> Iterator[bytes]:
    """The bytes of one file, in pieces of at most 256 KiB. Raises UpstreamFailed when it cannot be read to its end."""
    try:
        with client().stream("GET", f"{STORE}/{quote(f'{root}/{path}')}", headers=ourselves()) as response:
            if response.status_code != 200:
                raise UpstreamFailed(f"The artifact store answered {response.status_code} for {path}.")
            yield from response.iter_raw(CHUNK_BYTES)
    except httpx.HTTPError as error:
        raise UpstreamFailed(f"Reading {path} from the artifact store failed ({type(error).__name__}).") from error


def read_text(root: str, path: str, *, most_bytes: int) -> str:
    """A small text file as UTF-8; raises UpstreamFailed when it is larger than `most_bytes` or no UTF-8."""
    data = bytearray()
    for piece in stream(root, path):
        data += piece
        if len(data) > most_bytes:
            raise UpstreamFailed(f"{path} is larger than {most_bytes:,} bytes.")
    try:
        return data.decode().replace("\x00", "")
    except UnicodeDecodeError as error:
        raise UpstreamFailed(f"{path} is not UTF-8 text.") from error


def digest(root: str, path: str) -> str:
    """SHA-256 in hex of one file, read to its end."""
    found = hashlib.sha256()
    for piece in stream(root, path):
        found.update(piece)
    return found.hexdigest()


def manifest(root: str) -> tuple[dict[str, Any], dict[str, int]]:
    """(manifest, sizes) of the folder: every file is read to its end and hashed with SHA-256."""
    files: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for path in list_files(root):
        digest, size = hashlib.sha256(), 0
        for piece in stream(root, path):
            digest.update(piece)
            size += len(piece)
        files[path], sizes[path] = digest.hexdigest(), size
    return {"files": files}, sizes

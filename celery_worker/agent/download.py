"""Get a model's files from web with the order's token, and let nothing be used whose digest was not checked."""

from __future__ import annotations

import io
import ipaddress
import logging
import os
import shutil
import ssl
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from celery_worker import orders
from celery_worker.agent.files import private_folder, sync_folder

log = logging.getLogger(__name__)

MAX_FILES: Final = 20_000
CHUNK_BYTES: Final = 1024 * 1024
TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
RETRY_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
KEPT_UNUSED: Final = 5


class DownloadFailed(Exception):
    """The artifact could not be had; the message says why, without the token."""


class DigestMismatch(DownloadFailed):
    """What arrived is not what the decision allows. Nothing of it was kept."""


class _Interrupted(Exception):
    """The transfer broke; another try may succeed."""


@dataclass(frozen=True)
class Fetched:
    """A verified, read-only model folder and how long it took to get and to check."""

    folder: Path
    download_ms: float
    verify_ms: float


class ArtifactCache:
    """Verified model folders of this host, named by their digest."""

    def __init__(self, root: Path, *, allow_http: bool = False, max_bytes: int = 20 * 1024**3) -> None:
        self.folder = private_folder(root / "artifacts")
        self._incoming = private_folder(root / "incoming")
        self._allow_http = allow_http
        self._max_bytes = max_bytes

    def clean(self) -> None:
        """Remove what a killed agent left half downloaded. Only while nothing is being fetched."""
        for leftover in self._incoming.iterdir():
            _remove(leftover)

    def fetch(
        self,
        *,
        url: str,
        token: str,
        digest: str,
        on_verify: Callable[[], None],
        still_wanted: Callable[[], None],
        patience_s: float = 60.0,
    ) -> Fetched:
        """The folder with exactly `digest`, from the cache if it still verifies, else from `url`.

        `on_verify` is called when bytes are there and checking begins, `still_wanted` all the time; it may raise to give
        up. Broken transfers are tried again for `patience_s`. Raises DownloadFailed or DigestMismatch.
        """
        final = self.folder / digest.removeprefix("sha256:")
        if final.is_dir():
            on_verify()
            started = time.perf_counter()
            if _digest_or_none(final) == digest:
                os.utime(final)  # used now: `prune` lets it stay
                return Fetched(final, 0.0, _ms_since(started))
            log.error("cached artifact %s no longer verifies; it is fetched again", final.name)
            self._discard(final)
        started = time.perf_counter()
        arrived = self._download(url, token, still_wanted, patience_s)
        download_ms = _ms_since(started)
        try:
            on_verify()
            started = time.perf_counter()
            found = _digest_or_none(arrived)
            if found != digest:
                raise DigestMismatch(f"The artifact that arrived has digest {found}, the order allows {digest}.")
            _make_read_only(arrived)
            _move_into_place(arrived, final)
            return Fetched(final, download_ms, _ms_since(started))
        finally:
            _remove(arrived)

    def prune(self, keep: set[str]) -> None:
        """Remove folders of digests not in `keep`, except the few last used."""
        names = {digest.removeprefix("sha256:") for digest in keep}
        unused = [path for path in self.folder.iterdir() if path.name not in names]
        unused.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in unused[KEPT_UNUSED:]:
            self._discard(path)

    def _discard(self, folder: Path) -> None:
        aside = self._incoming / f"discarded-{uuid4()}"
        folder.rename(aside)
        _remove(aside)

    def _download(self, url: str, token: str, still_wanted: Callable[[], None], patience_s: float) -> Path:
        self._check_url(url)
        deadline = time.monotonic() + patience_s
        pause = 0.5
        while True:
            still_wanted()
            target = self._incoming / str(uuid4())
            target.mkdir(mode=0o700)
            try:
                self._download_once(url, token, target, still_wanted)
                return target
            except _Interrupted as error:
                _remove(target)
                if time.monotonic() + pause > deadline:
                    raise DownloadFailed(f"The artifact could not be fetched: {error}") from error
                log.warning("fetching the artifact broke (%s), trying again", error)
                time.sleep(pause)
                pause = min(pause * 2, 5.0)
            except BaseException:
                _remove(target)
                raise

    def _download_once(self, url: str, token: str, target: Path, still_wanted: Callable[[], None]) -> None:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/x-tar", "Accept-Encoding": "identity"}
        # No proxy, no netrc, no redirect: the token goes to the host named in the signed order and nowhere else.
        client = httpx.Client(trust_env=False, follow_redirects=False, timeout=TIMEOUT, verify=_tls_context())
        try:
            with client, client.stream("GET", url, headers=headers) as response:
                if response.status_code in RETRY_STATUS:
                    raise _Interrupted(f"web answered {response.status_code}")
                if response.status_code != 200:
                    raise DownloadFailed(f"Web refused the artifact with status {response.status_code}.")
                self._unpack(_while(still_wanted, response.iter_raw(CHUNK_BYTES)), target)
        except httpx.TransportError as error:
            raise _Interrupted(type(error).__name__) from error
        except tarfile.ReadError as error:
            raise _Interrupted("the archive ended early") from error
        except tarfile.TarError as error:
            raise DownloadFailed(f"The archive is damaged: {error}") from error
        except OSError as error:
            raise DownloadFailed(f"The artifact could not be written: {error.strerror}.") from error

    def _unpack(self, chunks: Iterator[bytes], target: Path) -> None:
        budget = self._max_bytes
        count = 0
        stream: IO[bytes] = io.BufferedReader(_ChunkStream(chunks), CHUNK_BYTES)  # type: ignore[type-var, assignment]
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isdir():
                    continue
                count += 1
                budget -= member.size
                if not member.isreg() or count > MAX_FILES or budget < 0:
                    raise DownloadFailed("The archive holds something else than files, or too many or too large ones.")
                path = _safe_path(target, member.name)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                source = archive.extractfile(member)
                if source is None or path.exists():
                    raise DownloadFailed(f"The archive names {member.name[:200]!r} twice.")
                with path.open("xb") as sink:
                    shutil.copyfileobj(source, sink, CHUNK_BYTES)
        if count == 0:
            raise DownloadFailed("The archive is empty.")

    def _check_url(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "https" or (parts.scheme == "http" and (self._allow_http or _is_loopback(parts.hostname))):
            return
        raise DownloadFailed("Artifacts travel over https (http only to this very host); correct GATEHOUSE_BASE_URL.")


def _while(still_wanted: Callable[[], None], chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        still_wanted()
        yield chunk


class _ChunkStream(io.RawIOBase):
    """A readable file over an iterator of chunks, as tarfile wants one."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return 0
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _safe_path(target: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\x00" in name or len(name) > 1024:
        raise DownloadFailed(f"The archive names a file outside the model: {name[:200]!r}.")
    return target.joinpath(*parts)


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _digest_or_none(folder: Path) -> str | None:
    try:
        return orders.digest_of_folder(folder)
    except (ValueError, OSError):
        return None


def _make_read_only(folder: Path) -> None:
    # Folders stay writable, or nobody but root could remove the data folder; each start verifies the digest anyway.
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o400)


def _move_into_place(arrived: Path, final: Path) -> None:
    try:
        arrived.rename(final)
    except OSError:
        # Another deployment of the same model was faster; its folder was verified in the same way.
        if not final.is_dir():
            raise
        return
    sync_folder(final.parent)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)

"""Keeps the routing snapshot current: long poll, signature, order of versions, a copy on disk."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import time
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway import logs, snapshot
from gateway.config import Settings
from gateway.envelope import EnvelopeRefused, load_public_keys, verify
from gateway.metrics import Metrics
from gateway.snapshot import Snapshot, SnapshotRefused

log = logging.getLogger("gateway.routing")

WAIT_S = 20
_ANSWER_LIMIT_BYTES = 20 * 1024 * 1024
_BACK_OFF_FIRST_S = 0.2
_BACK_OFF_MOST_S = 5.0


class Routing:
    """The snapshot in use and the task that replaces it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._keys: dict[str, Ed25519PublicKey] = {}
        self.current: Snapshot | None = None
        self._contact_at: float | None = None

    @property
    def contact_age_s(self) -> float | None:
        """Seconds since the portal last confirmed the snapshot; None when it has not since the start."""
        return None if self._contact_at is None else time.monotonic() - self._contact_at

    @property
    def stale(self) -> bool:
        """Whether the portal has been out of reach for too long. The last good snapshot serves on."""
        age = self.contact_age_s
        return age is None or age > self._settings.snapshot_stale_after_s

    def load(self) -> None:
        """Read the trusted keys (ValueError, KeyError, OSError if unusable) and the copy on disk, if any."""
        self._keys = load_public_keys(self._settings.public_keys_path, purpose="order")
        path = self._settings.snapshot_path
        try:
            self.current = snapshot.parse(self._verify(json.loads(path.read_bytes())))
        except FileNotFoundError:
            return
        except (OSError, ValueError, EnvelopeRefused, SnapshotRefused) as error:
            # A damaged copy must not keep the gateway down: the portal sends a whole one.
            logs.event(log, logging.ERROR, "the routing snapshot on disk was not accepted", why=str(error))
            return
        self._metrics.snapshot_version.set(self.current.version)
        logs.event(log, logging.INFO, "routing snapshot read from disk", version=self.current.version)

    async def run(self) -> None:
        """Poll for ever. Failures are waited out with growing, jittered pauses."""
        timeout = aiohttp.ClientTimeout(total=WAIT_S + 10, sock_connect=5)
        headers = {"Authorization": f"Bearer {self._settings.token}", "Accept": "application/json"}
        failures = 0
        async with aiohttp.ClientSession(
            timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            while True:
                started_at = time.monotonic()
                try:
                    fresh = await self._poll(session)
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                    failures += 1
                    self._report(failures, type(error).__name__)
                except (EnvelopeRefused, SnapshotRefused) as error:
                    failures += 1
                    reason = getattr(error, "reason", "malformed")
                    self._metrics.snapshots_refused.add(reason)
                    self._report(failures, str(error))
                else:
                    failures = 0
                    # A portal that does not wait as asked must not be polled in a tight loop.
                    if not fresh and time.monotonic() - started_at < 0.2:
                        await asyncio.sleep(0.2)
                    continue
                await asyncio.sleep(_pause_s(failures))

    async def _poll(self, session: aiohttp.ClientSession) -> bool:
        since = self.current.version if self.current else 0
        url = f"{self._settings.base_url}/internal/routing/"
        params = {"since": str(since), "wait": str(WAIT_S)}
        # Redirects are not followed: the token goes to the portal and nowhere else.
        async with session.get(url, params=params, allow_redirects=False) as response:
            if response.status == 204:
                self._contact_at = time.monotonic()
                return False
            if response.status != 200:
                raise ValueError(f"the portal answered {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _ANSWER_LIMIT_BYTES:
                    raise ValueError("the portal's answer is too large")
        envelope = json.loads(body)["envelope"] if body else None
        return await self.accept(envelope)

    async def accept(self, envelope: Any) -> bool:
        """Use the snapshot if it is signed and newer; True when it replaced the one before.

        Raises EnvelopeRefused or SnapshotRefused; one that is older than the current counts as refused.
        """
        fresh = snapshot.parse(self._verify(envelope))
        held = self.current.version if self.current else -1
        if fresh.version < held:
            raise EnvelopeRefused("older", f"Version {fresh.version} is older than {held}, which is in use.")
        self._contact_at = time.monotonic()
        if fresh.version == held:
            return False
        try:
            await asyncio.to_thread(write_whole, self._settings.snapshot_path, json.dumps(envelope).encode())
        except OSError as error:
            # A revoked key must stop working now, whether or not the disk takes the copy.
            logs.event(log, logging.ERROR, "the routing snapshot could not be kept on disk", why=str(error))
        self.current = fresh
        self._metrics.snapshot_version.set(fresh.version)
        logs.event(
            log,
            logging.INFO,
            "routing snapshot in use",
            version=fresh.version,
            endpoints=len(fresh.endpoints),
        )
        return True

    def _verify(self, envelope: Any) -> dict[str, Any]:
        # The order key may have been rotated since, and what was accepted may be over: the file is small and read each time.
        try:
            self._keys = load_public_keys(self._settings.public_keys_path, purpose="order")
        except (OSError, ValueError, KeyError) as error:
            logs.event(log, logging.ERROR, "the trusted keys could not be read again", why=str(error))
        return verify(envelope, keys=self._keys)

    def _report(self, failures: int, why: str) -> None:
        # The first failure of a row and then ever fewer: an outage is one story, not thousands of lines.
        if failures & (failures - 1) == 0:
            logs.event(log, logging.WARNING, "no routing snapshot", failures=failures, why=why)


def _pause_s(failures: int) -> float:
    """Full jitter: somewhere up to the doubled pause, so that many gateways do not come back as one."""
    most = min(_BACK_OFF_MOST_S, _BACK_OFF_FIRST_S * 2 ** min(failures, 10))
    return random.uniform(_BACK_OFF_FIRST_S / 2, most)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 so that it is there whole or as before, also after a power cut."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames inside a folder last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

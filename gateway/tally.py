"""Counts requests let in and turned away by rollout phases, and sends the counts to the portal, whole, until it has them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from gateway import logs
from gateway.config import Settings
from gateway.metrics import Metrics

log = logging.getLogger("gateway.tally")

EVERY_S = 3.0
MOST_ROWS = 2_000
# Finished hours that the portal does not take (it is away for days) are not kept for ever.
KEEP_HOURS = 72

Key = tuple[str, int, str, str]
_HOUR_S = 3600


class Tally:
    """Per endpoint, hour, key and phase: how many were let in, how many turned away. In memory; a kill loses the last seconds."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._run = str(uuid.uuid4())
        self._counts: dict[Key, list[int]] = {}
        self._changed: set[Key] = set()
        # The hour in which the portal last heard that every endpoint is counted: without requests it has to hear it too.
        self._told_hour = 0
        self._lost_before: int | None = None

    def admit(self, endpoint_id: str, key_id: str, now: float) -> None:
        """One request was let in; `now` is Unix time."""
        self._add((endpoint_id, int(now) // _HOUR_S, key_id, ""), 0)

    def refuse(self, endpoint_id: str, slug: str, key_id: str, phase: str, now: float) -> None:
        """One was turned away; `phase` would include it, or is empty when none does."""
        self._add((endpoint_id, int(now) // _HOUR_S, key_id, phase or "(none)"), 1)
        self._metrics.not_open.add(slug, phase)

    def _add(self, key: Key, place: int) -> None:
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = [0, 0]
        counts[place] += 1
        self._changed.add(key)

    async def run(self) -> None:
        """Send what changed, for ever. What could not be sent is sent with the next."""
        timeout = aiohttp.ClientTimeout(total=10, sock_connect=5)
        headers = {"Authorization": f"Bearer {self._settings.token}"}
        failures = 0
        async with aiohttp.ClientSession(timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar()) as session:
            try:
                while True:
                    await asyncio.sleep(EVERY_S)
                    failures = await self._try(session, failures)
            finally:
                # A graceful stop sends the rest; the portal may be gone already, which is no reason to wait.
                if self._changed:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(2):
                            await self._try(session, failures)

    async def _try(self, session: aiohttp.ClientSession, failures: int) -> int:
        hour = _this_hour()
        try:
            while self._changed or self._told_hour != hour:
                await self._send(session, list(self._changed)[:MOST_ROWS])
                self._told_hour = hour
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if failures & (failures + 1) == 0:
                logs.event(log, logging.WARNING, "the phase tally was not sent", failures=failures + 1, why=type(error).__name__)
            self._forget()
            return failures + 1
        self._forget()
        return 0

    async def _send(self, session: aiohttp.ClientSession, keys: list[Key]) -> None:
        sent = {key: tuple(self._counts[key]) for key in keys}
        lost = _moment(self._lost_before).isoformat() if self._lost_before is not None else None
        body = {"run": self._run, "rows": [_row(key, counts) for key, counts in sent.items()], "counts": "all", "lost_before": lost}
        url = f"{self._settings.base_url}/internal/phase-tallies/"
        async with session.post(url, json=body, allow_redirects=False) as response:
            if response.status != 204:
                raise ValueError(f"the portal answered {response.status}")
        self._changed -= {key for key, counts in sent.items() if tuple(self._counts[key]) == counts}

    def _forget(self) -> None:
        """Hours that are over and sent, or too old to be of use: the portal is told that those are missing."""
        hour = _this_hour()
        for key in [k for k in self._counts if (k[1] < hour - 1 and k not in self._changed) or k[1] < hour - KEEP_HOURS]:
            del self._counts[key]
            if key in self._changed:
                self._changed.discard(key)
                self._lost_before = max(self._lost_before or 0, key[1] + 1)


def _this_hour() -> int:
    return int(datetime.now(UTC).timestamp()) // _HOUR_S


def _moment(hour: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(hours=hour)


def _row(key: Key, counts: tuple[int, ...]) -> dict[str, Any]:
    endpoint_id, hour, key_id, phase = key
    return {
        "endpoint": endpoint_id, "hour": _moment(hour).isoformat(), "key": key_id, "phase": phase, "admitted": counts[0], "refused": counts[1],
    }  # fmt: skip

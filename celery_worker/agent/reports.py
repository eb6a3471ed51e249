"""Signed reports: kept on disk until control says that it has stored them, sent again until then."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from celery_worker import orders
from celery_worker.agent.files import private_folder, sync_folder, write_atomically

log = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 2.0
LAST_RETRY_S: Final = 60.0
SEQUENCE_BLOCK: Final = 1000
MAX_SPOOLED_REFUSALS: Final = 1000

Send = Callable[[dict[str, Any], float | None], None]
Sign = Callable[[Mapping[str, Any]], dict[str, Any]]


class Reporter:
    """Signs, keeps, sends and resends. `sign(payload)` makes the envelope; `send(envelope, expires_s)` raises when the broker cannot be reached."""

    def __init__(self, folder: Path, *, host: str, sign: Sign, send: Send) -> None:
        self.folder = private_folder(folder / "spool")
        self._sequence_file = folder / "sequence.json"
        self._host = host
        self._sign = sign
        self._send = send
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._next_try: dict[str, tuple[float, float]] = {}
        self._sequence = self._reserved = self._read_reserved()

    def report(self, kind: str, body: Mapping[str, Any]) -> str:
        """Sign a report and put it on disk; the sender thread delivers it. Returns its id. Raises OSError."""
        if kind == "order_refused" and self._spooled_refusals() >= MAX_SPOOLED_REFUSALS:
            # Whoever can write to the broker could otherwise fill this disk with refusals.
            log.error("refusal not reported, %d are waiting: %s", MAX_SPOOLED_REFUSALS, body.get("reason"))
            return ""
        payload = self._payload(kind, body)
        name = f"{payload['seq']:016d}.{kind}.{payload['report_id']}.json"
        envelope = self._sign(payload)
        write_atomically(self.folder / name, json.dumps(envelope).encode("utf-8"))
        self._wake.set()
        return str(payload["report_id"])

    def heartbeat(self, body: Mapping[str, Any]) -> None:
        """Sign and send one heartbeat; a lost one is followed by the next, so none is kept."""
        envelope = self._sign(self._payload("heartbeat", body))
        self._send(envelope, 15.0)

    def acknowledge(self, report_ids: Iterable[str]) -> int:
        """Forget reports that control has stored. Unknown ids are ignored. Returns how many were forgotten."""
        wanted = set(report_ids)
        forgotten = 0
        for path in self.waiting():
            if path.name.split(".")[2] in wanted:
                path.unlink(missing_ok=True)
                self._next_try.pop(path.name, None)
                forgotten += 1
        if forgotten:
            sync_folder(self.folder)
        return forgotten

    def waiting(self) -> list[Path]:
        """The spooled reports, oldest first."""
        return sorted(path for path in self.folder.iterdir() if path.suffix == ".json" and path.name[0] != ".")

    def send_due(self, now: float) -> float:
        """Send every report whose time has come; returns the seconds until the next is due (60 at most)."""
        soonest = LAST_RETRY_S
        for path in self.waiting():
            due, pause = self._next_try.get(path.name, (0.0, FIRST_RETRY_S))
            if due <= now:
                try:
                    envelope = json.loads(path.read_text("utf-8"))
                except FileNotFoundError:
                    continue
                try:
                    self._send(envelope, None)
                except Exception as error:  # noqa: BLE001 - the broker is away, in whatever way; the report stays
                    log.warning("report not sent, will be tried again: %s", type(error).__name__)
                    return FIRST_RETRY_S
                due, pause = now + pause, min(pause * 2, LAST_RETRY_S)
                self._next_try[path.name] = (due, pause)
            soonest = min(soonest, due - now)
        return max(soonest, 0.05)

    def run(self, stop: threading.Event) -> None:
        """The sender thread: until `stop`, deliver what waits."""
        while not stop.is_set():
            self._wake.clear()
            try:
                pause = self.send_due(time.monotonic())
            except OSError as error:
                log.error("the report spool cannot be read: %s", error)
                pause = FIRST_RETRY_S
            self._wake.wait(min(pause, 1.0))

    def _payload(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "v": orders.VERSION,
            "report_id": str(uuid4()),
            "host": self._host,
            "seq": self._next_sequence(),
            "reported_at": orders.time_to_text(datetime.now(UTC)),
            "kind": kind,
            "body": dict(body),
        }

    def _spooled_refusals(self) -> int:
        return sum(1 for path in self.waiting() if path.name.split(".")[1] == "order_refused")

    def _read_reserved(self) -> int:
        try:
            return int(json.loads(self._sequence_file.read_text("utf-8"))["reserved"])
        except FileNotFoundError:
            return 0

    def _next_sequence(self) -> int:
        """Growing for ever, also over a crash: numbers are reserved on disk in blocks before one is used."""
        with self._guard:
            if self._sequence >= self._reserved:
                self._reserved = self._sequence + SEQUENCE_BLOCK
                write_atomically(self._sequence_file, json.dumps({"reserved": self._reserved}).encode("ascii"))
            self._sequence += 1
            return self._sequence

"""Kept connections towards MLflow, on the standard library alone: what stands between a caller and MLflow has to cost little."""

import http.client
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

CONNECT_S = 5.0
# Less than the two minutes after which mlflow's client gives up: it then gets a sentence.
READ_S = 100.0
# Below the server's own keep-alive (5 s), so that a request never meets a connection that is just being closed.
KEEP_S = 2.0
MOST_KEPT = 32


class InOnePiece:
    """Sends what belongs together at once: the library sends headers and body in two packets, and the server wakes for each."""

    _held: list[bytes] | None = None

    def send(self, data: Any) -> None:
        """Send it, or keep it for `send_together`."""
        if self._held is None:
            super().send(data)  # type: ignore[misc]
        else:
            self._held.append(data)

    def send_together(self, body: bytes) -> None:
        """The end of the headers, and the body."""
        self._held = []
        try:
            self.endheaders(body)  # type: ignore[attr-defined]
            data = b"".join(self._held)
        finally:
            self._held = None
        self.send(data)


class Plain(InOnePiece, http.client.HTTPConnection):
    """A connection in the clear."""


class Encrypted(InOnePiece, http.client.HTTPSConnection):
    """One over TLS."""


Connection = Plain | Encrypted


@dataclass
class Pool:
    """Connections to one server. Take one, then either `put` it back (its answer read to the end) or close it."""

    url: SplitResult
    _idle: list[tuple[float, Connection]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def base(self) -> str:
        """Path below which the server serves, without a slash at its end."""
        return self.url.path.rstrip("/")

    def take(self) -> Connection:
        """A connection that is open. Raises OSError when there is no server, TimeoutError when it does not answer."""
        oldest = time.monotonic() - KEEP_S
        with self._lock:
            while self._idle:
                since, kept = self._idle.pop()
                if since >= oldest:
                    return kept
                kept.close()
        kind = Encrypted if self.url.scheme == "https" else Plain
        made = kind(self.url.hostname or "127.0.0.1", self.url.port, timeout=CONNECT_S)
        made.connect()
        made.sock.settimeout(READ_S)
        return made

    def put(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        with self._lock:
            if len(self._idle) < MOST_KEPT:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()


_pools: dict[tuple[int, str], Pool] = {}


def to(url: str) -> Pool:
    """This process's pool for a server."""
    key = (os.getpid(), url)
    if key not in _pools:
        _pools[key] = Pool(urlsplit(url))
    return _pools[key]

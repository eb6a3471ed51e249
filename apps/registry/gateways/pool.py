"""Kept connections towards MLflow, on the standard library alone: what stands between a caller and MLflow has to cost little."""

import http.client
import os
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

CONNECT_S = 5.0
# Less than the two minutes after which mlflow's client gives up: it then gets a sentence.
READ_S = 100.0
# Below the server's own keep-alive (5 s), so that a request never meets a connection that is just being closed.
KEEP_S = 2.0
MOST_KEPT = 32


@dataclass
class Pool:
    """Connections to one server. Take one, then either `put` it back (its answer read to the end) or close it."""

    url: SplitResult
    _idle: list[tuple[float, http.client.HTTPConnection]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def base(self) -> str:
        """Path below which the server serves, without a slash at its end."""
        return self.url.path.rstrip("/")

    def take(self) -> http.client.HTTPConnection:
        """A connection that is open. Raises OSError when there is no server, TimeoutError when it does not answer."""
        oldest = time.monotonic() - KEEP_S
        with self._lock:
            while self._idle:
                since, kept = self._idle.pop()
                if since >= oldest:
                    return kept
                kept.close()
        kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        made = kind(self.url.hostname or "127.0.0.1", self.url.port, timeout=CONNECT_S)
        made.connect()
        made.sock.settimeout(READ_S)
        return made

    def put(self, connection: http.client.HTTPConnection) -> None:
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

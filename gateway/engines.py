"""The HTTP client towards engines: kept connections, and errors sorted by what may have been sent.

Small on purpose. Every prediction passes here, and a general client spends several times as long on features
that no engine needs (cookies, redirects, compression, authentication). Parsing is left to llhttp (httptools).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from functools import cache, lru_cache
from urllib.parse import urlsplit

import httptools

from gateway.config import Settings

_ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
# Shorter than uvicorn's 5 s, so that the engine is never the one to close a connection we are about to use.
_KEEP_ALIVE_S = 4.0
_INFORMATIONAL = range(100, 200)


class NotSent(Exception):
    """No connection came about: the engine has seen nothing, another one may be asked."""


class EngineTimeout(Exception):
    """The engine did not answer in time; it may have done the work."""


class EngineFailed(Exception):
    """The connection broke or the answer is unusable; the engine may have done the work."""


@dataclass(frozen=True, slots=True)
class _Address:
    host: str
    port: int
    tls: bool


@cache
def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


@lru_cache(maxsize=4096)
def _target(url: str) -> tuple[_Address, bytes, bytes]:
    """Where to connect, the request target, and the Host header's value."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    address = _Address(parts.hostname or "", parts.port or (443 if tls else 80), tls)
    return address, (parts.path or "/").encode("ascii"), parts.netloc.encode("ascii")


class _Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, pool: list[_Connection]) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parts: list[bytes] = []
        self._received = 0
        self._idle_since = 0.0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._answer is None:
            # Nothing was asked: whatever this is, it must not become the answer to the next request.
            self.close()
            return
        self._received += len(data)
        if self._received > _ANSWER_LIMIT_BYTES:
            self.fail(EngineFailed("the answer is too large"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.fail(EngineFailed("the answer is not HTTP"))

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._pool:
            self._pool.remove(self)
        self.fail(EngineFailed("the connection was closed"))

    # What the parser calls.

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        parser, answer = self._parser, self._answer
        if parser is None or answer is None or parser.get_status_code() in _INFORMATIONAL:
            self._parts = []
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        keep = parser.should_keep_alive()
        self._parser, self._answer, self._parts = None, None, []
        if keep:
            self._idle_since = self._loop.time()
            self._pool.append(self)
        else:
            self.close()
        if not answer.done():
            answer.set_result((parser.get_status_code(), body))

    # What Engines calls.

    def usable(self) -> bool:
        """Whether a request may be sent on this idle connection."""
        fresh = self._loop.time() - self._idle_since < _KEEP_ALIVE_S
        return fresh and self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Send one request; status and body. Raises EngineTimeout, EngineFailed."""
        assert self._transport is not None
        self._answer = answer = self._loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._parts, self._received = [], 0
        timer = self._loop.call_later(timeout_s, self.fail, EngineTimeout(f"no answer in {timeout_s:g} s"))
        self._transport.write(request)
        try:
            return await answer
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            timer.cancel()

    def fail(self, error: Exception) -> None:
        """End the request under way, if any, and the connection."""
        answer, self._answer, self._parser = self._answer, None, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
        self.close()

    def close(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()


class Engines:
    """Sends requests to engines. Nothing of the caller's headers travels on: only what is built here."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.engine_timeout_s
        self._connect_timeout_s = settings.engine_connect_timeout_s
        self._pools: dict[_Address, list[_Connection]] = {}

    def close(self) -> None:
        """Close the idle connections."""
        for pool in self._pools.values():
            for connection in list(pool):
                connection.close()

    async def post(self, url: str, body: bytes, *, request_id: str) -> tuple[int, bytes, float]:
        """POST a JSON body; status, answer and seconds. Raises NotSent, EngineTimeout, EngineFailed."""
        address, path, host = _target(url)
        request = (
            b"POST %b HTTP/1.1\r\nHost: %b\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
            b"X-Gatehouse-Request-Id: %b\r\nContent-Length: %d\r\n\r\n%b"
        ) % (path, host, request_id.encode("ascii"), len(body), body)
        return await self._send(address, request)

    async def get(self, url: str) -> tuple[int, bytes, float]:
        """GET; status, answer and seconds. Raises NotSent, EngineTimeout, EngineFailed."""
        address, path, host = _target(url)
        request = b"GET %b HTTP/1.1\r\nHost: %b\r\nAccept: application/json\r\n\r\n" % (path, host)
        return await self._send(address, request)

    async def _send(self, address: _Address, request: bytes) -> tuple[int, bytes, float]:
        started_at = time.perf_counter()
        connection = self._idle(address) or await self._connect(address)
        status, body = await connection.ask(request, self._timeout_s)
        return status, body, time.perf_counter() - started_at

    def _idle(self, address: _Address) -> _Connection | None:
        pool = self._pools.get(address)
        # The last one used first, so that connections beyond the need grow old and go.
        while pool:
            connection = pool.pop()
            if connection.usable():
                return connection
            connection.close()
        return None

    async def _connect(self, address: _Address) -> _Connection:
        pool = self._pools.setdefault(address, [])
        context = _tls_context() if address.tls else None
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(pool), address.host, address.port, ssl=context
                )
        except (OSError, TimeoutError) as error:
            raise NotSent(type(error).__name__) from error
        return connection

"""A keep-alive HTTP/1.1 connection to an engine on this host, as thin as a load generator needs it.

The generator shares the host with the engine it measures: every microsecond it spends on itself is taken from it.
"""

from __future__ import annotations

import asyncio
from typing import Final

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024


class WireError(Exception):
    """The connection broke, or the answer is not the HTTP an engine speaks."""


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiter: asyncio.Future[int] | None = None
        self.closed = False

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Connect. Raises OSError."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.closed = True
        self._fail("the engine closed the connection")

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self._fail("the answer's head is too long")
            return
        head = bytes(self._buffer[:end]).lower()
        length = _content_length(head)
        if length is None or not head.startswith(b"http/1.1 ") or length > MAX_BODY_BYTES:
            self._fail("the answer is not plain HTTP/1.1 with a content length")
            return
        if len(self._buffer) >= end + 4 + length:
            status = int(head[9:12])
            self._buffer.clear()
            if b"\r\nconnection: close" in head:
                self.close()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(status)

    async def send(self, request: bytes) -> int:
        """Send one whole request and return the status of its answer. Raises WireError."""
        if self.closed or self._transport is None:
            raise WireError("the connection is closed")
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def _fail(self, reason: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(WireError(reason))
        self.close()


def post_request(path: str, host: str, body: bytes) -> bytes:
    """The bytes of one POST with a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


def _content_length(head: bytes) -> int | None:
    start = head.find(b"\r\ncontent-length:")
    if start < 0:
        return None
    value = head[start + 17 :].split(b"\r\n", 1)[0].strip()
    return int(value) if value.isdigit() else None

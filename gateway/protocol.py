"""uvicorn's HTTP protocol with the two bounds it lacks: a time and a size for the head of a request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT_BYTES = 64 * 1024


def bounded_protocol(head_timeout_s: float) -> type[HttpToolsProtocol]:
    """A protocol class that closes connections whose request head is slow or endless.

    Without it a client that sends a byte a minute holds a connection for ever.
    """

    class BoundedProtocol(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _head_bytes = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._deadline is not None:
                self._head_bytes += len(data)
                if self._head_bytes > HEAD_LIMIT_BYTES:
                    self._give_up()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._watch()

        def on_headers_complete(self) -> None:
            self._unwatch()
            super().on_headers_complete()

        def _watch(self) -> None:
            if self._deadline is None:
                self._head_bytes = 0
                self._deadline = self.loop.call_later(head_timeout_s, self._give_up)

        def _unwatch(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _give_up(self) -> None:
            self._unwatch()
            if not self.transport.is_closing():
                self.transport.close()

    return BoundedProtocol

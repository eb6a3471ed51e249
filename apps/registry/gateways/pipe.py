"""Moves bytes from one connection to another inside the kernel: a file of gigabytes then costs this process next to nothing.

Only between plain sockets: what is encrypted has to be read here.
"""

import contextlib
import fcntl
import os
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

# Below this much a pipe is not worth its making.
LEAST_BYTES = 1024 * 1024
PIPE_BYTES = 512 * 1024


def is_plain(*socks: Any) -> bool:
    """Whether the kernel can move bytes between them."""
    return hasattr(os, "splice") and all(type(sock) is socket.socket for sock in socks)


class Incoming(Protocol):
    """A request's body as the web server holds it; `length`: bytes that are still to come."""

    length: int


@dataclass
class Body:
    """A body that is still on the caller's connection, but for what was read `ahead`. Iterated, it is copied piece by piece: each is to
    be used before the next. Either way ConnectionResetError says that the caller ended before the length it announced.
    """

    sock: socket.socket
    ahead: bytes
    incoming: Incoming

    def __iter__(self) -> Iterator[bytes | memoryview]:
        if self.ahead:
            yield self.ahead
        buffer = memoryview(bytearray(PIPE_BYTES))
        while self.incoming.length:
            count = self.came(self.sock.recv_into(buffer, min(self.incoming.length, PIPE_BYTES)))
            yield buffer[:count]

    def came(self, count: int) -> int:
        """So many bytes were taken from the connection: the web server drains what it believes is left before the next request."""
        if not count:
            self.incoming.length = 0
            raise ConnectionResetError("the caller ended the connection")
        self.incoming.length -= count
        return count


class Pipe:
    """One way between two sockets: `pull` from the one, then `push` to the other, in turn."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self._source, self._target = source, target
        self._out, self._in = os.pipe()
        # More than some users are allowed: then it moves in smaller pieces.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def __enter__(self) -> "Pipe":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._in)
        os.close(self._out)

    def pull(self, most: int) -> int:
        """Bytes that the source gave, at most so many; 0 when it has ended. Raises OSError, TimeoutError."""
        return _when_ready(self._source, select.POLLIN, lambda: os.splice(self._source.fileno(), self._in, min(most, PIPE_BYTES)))

    def push(self, count: int) -> None:
        """Hand the bytes that were pulled to the target. Raises OSError, TimeoutError."""
        while count:
            count -= _when_ready(self._target, select.POLLOUT, lambda left=count: os.splice(self._out, self._target.fileno(), left))  # type: ignore[misc]


def _when_ready(sock: socket.socket, event: int, act: Callable[[], int]) -> int:
    """What the call says; a socket with a time limit is waited for as long as that."""
    while True:
        try:
            return act()
        except BlockingIOError:
            limit = sock.gettimeout()
            poll = select.poll()
            poll.register(sock, event)
            if not poll.poll(None if limit is None else limit * 1000):
                raise TimeoutError("timed out") from None

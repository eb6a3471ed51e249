"""Sends one admitted request on to MLflow and streams the answer back."""

import http.client
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from django.conf import settings

from apps.registry.gateways import pipe, pool

CHUNK_BYTES = 256 * 1024


class MlflowUnreachable(Exception):
    """MLflow did not answer. `sent`: whether it may nevertheless have got the request; `late`: it was too slow."""

    def __init__(self, reason: str, *, sent: bool, late: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.late = late


class Answer:
    """An answer of MLflow whose body has not been read. Iterate it once, or `read()` it; then, or when given up, close it."""

    def __init__(self, connection: pool.Connection, response: http.client.HTTPResponse, home: pool.Pool) -> None:
        self._connection: pool.Connection | None = connection
        self._response = response
        self._home = home
        self._to: socket.socket | None = None
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers  # type: ignore[assignment]

    def straight_to(self, sock: Any) -> None:
        """Let a large body go to this connection without being read here: iterating gives what comes first, and moves the rest."""
        if pipe.is_plain(sock, getattr(self._connection, "sock", None)) and (self._response.length or 0) >= pipe.LEAST_BYTES:
            self._to = sock

    def __iter__(self) -> Iterator[bytes]:
        try:
            if self._to is not None:
                yield from self._moved(self._to)
            while piece := self._response.read(CHUNK_BYTES):
                yield piece
            # A body shorter than announced must not look complete to the caller.
            if self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)
        finally:
            self.close()

    def _moved(self, sock: socket.socket) -> Iterator[bytes]:
        """What has been read ahead of the body; once that has gone out, behind the headers, the rest goes past us."""
        response, connection = self._response, self._connection
        if connection is None or response.fp is None:
            return
        ahead = response.fp.read1(min(CHUNK_BYTES, response.length))
        response.length -= len(ahead)
        yield ahead
        with pipe.Pipe(connection.sock, sock) as way:
            while response.length and (count := way.pull(response.length)):
                response.length -= count
                way.push(count)
        if not response.length:
            # As the library does when a body has come to its end.
            response.close()

    def read(self, most_bytes: int) -> bytes:
        """The whole body; raises MlflowUnreachable when it is longer or breaks off."""
        try:
            data = self._response.read(most_bytes + 1)
            if len(data) > most_bytes:
                raise MlflowUnreachable(f"MLflow's answer is longer than {most_bytes:,} bytes.", sent=True)
            if self._response.length:
                raise http.client.IncompleteRead(data, self._response.length)
            return data
        except TimeoutError as error:
            raise MlflowUnreachable("MLflow did not answer in time.", sent=True, late=True) from error
        except (OSError, http.client.HTTPException) as error:
            raise MlflowUnreachable(f"MLflow's answer broke off ({type(error).__name__}).", sent=True) from error
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back, or end it when something is left to read."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # A body that never came also counts as closed; what is left of its length tells.
        whole = not self._response.length and (self._response.isclosed() or self._response.length == 0)
        if whole and not self._response.will_close:
            self._response.close()
            self._home.put(connection)
        else:
            connection.close()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def send(
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Mapping[str, str],
    content: bytes | Iterable[bytes] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Answer:
    """Send a request with exactly these headers (and Host). `path` and `query` are already encoded. Raises MlflowUnreachable.

    `meanwhile` is called while MLflow works, before anything of its answer is read; what it raises ends the connection and passes
    through. So does an OSError that `content` raises while it is read: that is the caller's own.
    """
    home = pool.to(settings.MLFLOW_URL)
    try:
        connection = home.take()
    except OSError as error:
        raise MlflowUnreachable(f"MLflow cannot be reached ({type(error).__name__}).", sent=False) from error
    done = False
    try:
        connection.putrequest(method, f"{home.base}{path}{'?' + query if query else ''}", skip_accept_encoding=True)
        connection.putheader("Accept-Encoding", "identity")
        connection.putheader("User-Agent", "gatehouse")
        if settings.MLFLOW_TOKEN:
            connection.putheader("Authorization", f"Bearer {settings.MLFLOW_TOKEN}")
        for name, value in headers.items():
            connection.putheader(name, value)
        if isinstance(content, bytes):
            connection.putheader("Content-Length", str(len(content)))
        _send(connection, content, chunked=headers.get("Transfer-Encoding") == "chunked")
        if meanwhile is not None:
            _own(meanwhile)
        response = connection.getresponse()
        if response.length is None and not response.chunked:
            # MLflow always says where its answer ends; the library takes headers that broke off for whole ones.
            raise http.client.IncompleteRead(b"")
        done = True
        return Answer(connection, response, home)
    except TimeoutError as error:
        raise MlflowUnreachable("MLflow did not answer in time.", sent=True, late=True) from error
    except _Ours as error:
        raise error.cause from error
    except (OSError, http.client.HTTPException) as error:
        raise MlflowUnreachable(f"The connection to MLflow broke ({type(error).__name__}).", sent=True) from error
    finally:
        if not done:
            connection.close()


class _Ours(Exception):
    """What went wrong is not MLflow's doing: the body could not be read to its end, or the caller may not see the answer."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _own(meanwhile: Callable[[], None]) -> None:
    try:
        meanwhile()
    except Exception as error:
        raise _Ours(error) from error


def _send(connection: pool.Connection, content: bytes | Iterable[bytes] | None, *, chunked: bool) -> None:
    if isinstance(content, bytes):
        connection.send_together(content)
        return
    connection.endheaders()
    if content is None:
        return
    if isinstance(content, pipe.Body) and content.incoming.length >= pipe.LEAST_BYTES and pipe.is_plain(content.sock, connection.sock):
        _send_straight(connection, content)
        return
    for piece in _read(content):
        try:
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        except (BrokenPipeError, ConnectionResetError):
            # MLflow may have refused already; its answer says why.
            return
    if chunked:
        connection.send(b"0\r\n\r\n")


def _send_straight(connection: pool.Connection, body: pipe.Body) -> None:
    """A body that goes from the caller's socket to MLflow's without being read here."""
    try:
        connection.send(body.ahead)
        with pipe.Pipe(body.sock, connection.sock) as way:
            while body.incoming.length:
                try:
                    count = body.came(way.pull(body.incoming.length))
                except OSError as error:
                    raise _Ours(error) from error
                way.push(count)
    except (BrokenPipeError, ConnectionResetError):
        # As below.
        return


def _read(content: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from content
    except OSError as error:
        raise _Ours(error) from error

"""Sends one admitted request on to MLflow and streams the answer back."""

import http.client
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType

from django.conf import settings

from apps.registry.gateways import pool

CHUNK_BYTES = 256 * 1024
# The most of an answer that is handed on at once.
PIECE_BYTES = 1024 * 1024


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
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers  # type: ignore[assignment]

    def __iter__(self) -> Iterator[bytes]:
        try:
            while piece := self._next():
                yield piece
            # A body shorter than announced must not look complete to the caller.
            if self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)
        finally:
            self.close()

    def _next(self) -> bytes:
        """What has come: waiting until a piece is full would leave the caller idle meanwhile."""
        response = self._response
        if response.chunked or not response.length or response.fp is None:
            return response.read(CHUNK_BYTES)
        piece: bytes = response.fp.read1(min(PIECE_BYTES, response.length))
        response.length -= len(piece)
        return piece

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
    for piece in _read(content):
        try:
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        except (BrokenPipeError, ConnectionResetError):
            # MLflow may have refused already; its answer says why.
            return
    if chunked:
        connection.send(b"0\r\n\r\n")


def _read(content: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from content
    except OSError as error:
        raise _Ours(error) from error

"""Sends one admitted request on to MLflow and streams the answer back."""

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType

import httpx

from apps.registry.gateways.artifacts import CHUNK_BYTES
from apps.registry.gateways.http import client


class MlflowUnreachable(Exception):
    """MLflow did not answer. `sent`: whether it may nevertheless have got the request; `late`: it was too slow."""

    def __init__(self, reason: str, *, sent: bool, late: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.late = late


class Answer:
    """An answer of MLflow whose body has not been read. Iterate it once, or `read()` it; then, or when given up, close it."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_raw(CHUNK_BYTES)
        finally:
            self.close()

    def read(self, most_bytes: int) -> bytes:
        """The whole body; raises MlflowUnreachable when it is longer or breaks off."""
        data = bytearray()
        try:
            for piece in self:
                data += piece
                if len(data) > most_bytes:
                    raise MlflowUnreachable(f"MLflow's answer is longer than {most_bytes:,} bytes.", sent=True)
        except httpx.HTTPError as error:
            raise MlflowUnreachable(f"MLflow's answer broke off ({type(error).__name__}).", sent=True) from error
        return bytes(data)

    def close(self) -> None:
        """Give the connection back."""
        self._response.close()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def send(method: str, path: str, *, query: str = "", headers: Mapping[str, str], content: bytes | Iterable[bytes] | None = None) -> Answer:
    """Send a request with exactly these headers (and Host). `path` and `query` are already encoded. Raises MlflowUnreachable."""
    http = client()
    url = http.base_url.copy_with(raw_path=f"{http.base_url.path.rstrip('/')}{path}{'?' + query if query else ''}".encode("ascii"))
    request = http.build_request(method, url, headers=dict(headers), content=content)
    try:
        return Answer(http.send(request, stream=True))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise MlflowUnreachable(f"MLflow cannot be reached ({type(error).__name__}).", sent=False) from error
    except httpx.TimeoutException as error:
        raise MlflowUnreachable("MLflow did not answer in time.", sent=True, late=True) from error
    except httpx.HTTPError as error:
        raise MlflowUnreachable(f"The connection to MLflow broke ({type(error).__name__}).", sent=True) from error

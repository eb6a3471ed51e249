"""A small REST client of an MLflow server, for the import. Standard library only; one kept connection a thread."""

import base64
import http.client
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CHUNK_BYTES = 256 * 1024
ATTEMPTS = 5
API = "/api/2.0/mlflow"


class ServerError(Exception):
    """The server refused (`status`, MLflow's `code`), or could not be heard (`status` 0)."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Server:
    """An MLflow server below `url`. `token`, or `user` with `password`, goes along with every request."""

    def __init__(self, url: str, *, token: str = "", user: str = "", password: str = "", timeout_s: float = 120.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is no address of an MLflow server; give http(s)://HOST[:PORT].")
        self.url = url.rstrip("/")
        self._parts, self._timeout_s = urllib.parse.urlsplit(self.url), timeout_s
        self._headers = {"Accept": "application/json", "User-Agent": "gatehouse-import"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        elif user:
            self._headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._kept = threading.local()

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._kept, "connection", None)
        if found is None:
            host = str(self._parts.hostname)
            if self._parts.scheme == "https":
                found = http.client.HTTPSConnection(host, self._parts.port, timeout=self._timeout_s, context=ssl.create_default_context())
            else:
                found = http.client.HTTPConnection(host, self._parts.port, timeout=self._timeout_s)
            self._kept.connection = found
        return found

    def drop(self) -> None:
        """Close this thread's connection; the next request opens another."""
        found = getattr(self._kept, "connection", None)
        self._kept.connection = None
        if found is not None:
            found.close()

    @contextmanager
    def _asked(
        self, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        whole = False
        try:
            connection = self._connection()
            connection.request(method, self._parts.path + path, body=body, headers=self._headers | (headers or {}))
            answer = connection.getresponse()
            if answer.status >= 300:
                raise _refusal(answer.status, answer.read(65536))
            yield answer
            whole = answer.isclosed() or not answer.read(1)
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(0, "", f"{self.url} cannot be heard: {error or type(error).__name__}") from error
        finally:
            if not whole:
                self.drop()

    def _again(self, work: Callable[[], Any]) -> Any:
        """A request that may be repeated, while the server is away or overloaded."""
        for attempt in range(ATTEMPTS):
            try:
                return work()
            except ServerError as error:
                if error.status not in {0, 429, 502, 503, 504} or attempt == ATTEMPTS - 1:
                    raise
                time.sleep(0.3 * 2**attempt)
        raise AssertionError("unreachable")

    def get(self, path: str, /, **params: Any) -> dict[str, Any]:
        """A JSON answer; tried again while the server cannot be heard."""
        query = urllib.parse.urlencode({k: v for k, v in params.items() if v is not None}, doseq=True)

        def work() -> dict[str, Any]:
            with self._asked("GET", f"{path}?{query}" if query else path) as answer:
                return dict(json.loads(answer.read() or b"{}"))

        return dict(self._again(work))

    def send(self, path: str, body: dict[str, Any], *, method: str = "POST", repeatable: bool = True) -> dict[str, Any]:
        """Post JSON. `repeatable=False`: what creates something is sent once, since nobody knows whether a lost one was done."""
        data = json.dumps(body).encode()

        def work() -> dict[str, Any]:
            # Servers close kept connections after seconds: a fresh one cannot have been closed unnoticed.
            if not repeatable:
                self.drop()
            with self._asked(method, path, body=data, headers={"Content-Type": "application/json"}) as answer:
                return dict(json.loads(answer.read() or b"{}"))

        return dict(self._again(work)) if repeatable else work()

    def pages(self, path: str, key: str, /, **params: Any) -> Iterator[dict[str, Any]]:
        """Rows of a paged search."""
        token = None
        while True:
            page = self.get(path, **params, page_token=token)
            yield from page.get(key, [])
            token = page.get("next_page_token") or None
            if not token:
                return

    def copy_to(self, path: str, target: "Server", target_path: str, size: int | None) -> int:
        """Stream a file of this server to the other's address, at constant memory. Returns its bytes.

        Raises ServerError when either refuses, or fewer bytes came than were announced. Tried again as a whole.
        """

        def work() -> int:
            with self._asked("GET", path) as answer:
                announced = answer.headers.get("Content-Length")
                length = int(announced) if announced and answer.headers.get("Content-Encoding") in {None, "identity"} else size
                if length is None:
                    raise ServerError(422, "", f"{self.url} does not tell the size of {path}")
                sent = 0

                def pieces() -> Iterator[bytes]:
                    nonlocal sent
                    while piece := answer.read(CHUNK_BYTES):
                        sent += len(piece)
                        yield piece
                    if sent != length:
                        raise http.client.HTTPException(f"{sent:,} of {length:,} bytes came")

                headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
                with target._asked("PUT", target_path, body=pieces(), headers=headers) as done:
                    done.read()
                return sent

        return int(self._again(work))


def _refusal(status: int, body: bytes) -> ServerError:
    try:
        said = json.loads(body)
    except ValueError:
        said = {}
    if not isinstance(said, dict):
        said = {}
    return ServerError(status, str(said.get("error_code", "")), str(said.get("message") or f"HTTP {status}"))

"""The portal as a pipeline sees it: REST with a token, problems in words, waiting with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
TIMEOUT_S = 30.0


class JourneyError(Exception):
    """A step did not do what it should; the text says what was seen."""


class Portal:
    """One person's view of the REST API under `/api/v1/`."""

    def __init__(self, base_url: str, token: str, who: str) -> None:
        self.who, self.base_url, self.token = who, base_url.rstrip("/"), token
        self._client = httpx.Client(
            base_url=f"{self.base_url}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S, trust_env=False
        )

    def call(self, method: str, path: str, *, expect: int | tuple[int, ...] = (200, 201, 202, 204), key: str = "", **kwargs: Any) -> Any:
        """Parsed JSON of the answer (bytes of a download); raises JourneyError with the problem's own words otherwise."""
        headers = {"Idempotency-Key": key} if key else {}
        for attempt in range(6):
            try:
                answer = self._client.request(method, path, headers=headers, **kwargs)
                break
            except httpx.TransportError as error:
                # A web process that is being replaced: a read may be tried again, and so may a post that carries a key.
                if attempt == 5 or not (method == "GET" or key):
                    raise JourneyError(f"{self.who}: {method} {path}: {type(error).__name__}") from error
                time.sleep(0.5 * 2**attempt)
        wanted = expect if isinstance(expect, tuple) else (expect,)
        if answer.status_code not in wanted:
            raise JourneyError(f"{self.who}: {method} {path} -> {answer.status_code}: {answer.text[:700]}")
        if "json" in answer.headers.get("Content-Type", ""):
            return answer.json()
        return answer.content

    def get(self, path: str, **params: Any) -> Any:
        """Read."""
        return self.call("GET", path, params=params)

    def post(
        self, path: str, body: dict[str, Any] | None = None, *, key: str = "", expect: int | tuple[int, ...] = (200, 201, 202, 204)
    ) -> Any:
        """Write; `key` makes a repeat harmless."""
        return self.call("POST", path, json=body or {}, key=key, expect=expect)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """Replace."""
        return self.call("PUT", path, json=body)

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every row of a list, page after page."""
        answer = self.get(path, page_size=200, **params)
        while True:
            yield from answer["results"]
            if not answer["next"]:
                return
            url = httpx.URL(answer["next"])
            answer = self.call("GET", path, params=dict(url.params))


def wait_for(what: str, look: Callable[[], T | None], *, limit_s: float = 60.0, every_s: float = 0.25) -> T:
    """The first answer that is not None or False; raises JourneyError after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise JourneyError(f"waited {limit_s:.0f} s for {what}")
        time.sleep(every_s)


def check(truth: object, what: str) -> None:
    """Raise JourneyError with `what` was expected, unless it is so."""
    if not truth:
        raise JourneyError(f"expected: {what}")

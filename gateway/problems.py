"""Refusals as RFC 9457 problem details, in the same words and types as the portal's."""

from __future__ import annotations

import json
from typing import Any

Headers = list[tuple[bytes, bytes]]

_TITLES = {
    "sign-in-needed": "A key is needed",
    "not-found": "There is nothing here",
    "phase-not-open": "Not open to them",
    "method-not-allowed": "This address takes another method",
    "request-timeout": "The request did not arrive in time",
    "too-large": "The request is too large",
    "unsupported-media-type": "The request is in a form that is not read here",
    "invalid": "Something in the request is not right",
    "too-many": "Too many requests",
    "no-route": "No model is serving here now",
    "overloaded": "The gateway is full",
    "engine-failed": "The model could not answer",
    "engine-timeout": "The model did not answer in time",
    "not-captured": "The prediction could not be recorded",
    "not-ready": "Not ready",
    "fault": "A fault on our side",
}


class Problem(Exception):
    """Ends a request with a problem document. `detail` says what to do next and holds no secret."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Headers | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or []
        self.extra = extra

    def body(self, request_id: str) -> bytes:
        """The document as UTF-8 JSON."""
        document = {
            "type": f"urn:gatehouse:problem:{self.code}",
            "title": _TITLES[self.code],
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        return json.dumps(document | self.extra, separators=(",", ":")).encode()


def too_many(retry_after_s: float) -> Problem:
    """429 with Retry-After in whole seconds, never 0."""
    wait = max(1, int(-(-retry_after_s // 1)))
    return Problem(
        429,
        "too-many",
        f"The endpoint's rate limit is reached. Try again in {wait} s.",
        headers=[(b"retry-after", str(wait).encode())],
        retry_after_s=wait,
    )


def unavailable(code: str, detail: str, *, retry_after_s: int = 1) -> Problem:
    """503 with Retry-After."""
    return Problem(503, code, detail, headers=[(b"retry-after", str(retry_after_s).encode())])

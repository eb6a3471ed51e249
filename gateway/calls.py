"""One HTTP call: its id, what it may carry, and the one answer it gets."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from typing import Any

from gateway.problems import Headers, Problem
from gateway.snapshot import Caller, Endpoint, Route

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON_HEADERS: Headers = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
PROBLEM_HEADERS: Headers = [(b"content-type", b"application/problem+json"), *JSON_HEADERS[1:]]
TEXT_HEADERS: Headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), *JSON_HEADERS[1:]]
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"})


def new_request_id() -> str:
    """A UUIDv7: 48 bits of Unix milliseconds, then random; captures sort by time."""
    milliseconds = time.time_ns() // 1_000_000
    bits = int.from_bytes(os.urandom(10))
    value = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | (bits >> 68) << 64 | 0b10 << 62
    text = f"{value | bits & (2**62 - 1):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Call:
    """One HTTP request and the one answer it gets."""

    __slots__ = (
        "_send",
        "answered",
        "caller",
        "endpoint",
        "receive",
        "received_at",
        "request_id",
        "route",
        "scope",
        "started_at",
        "status",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_id: str,
        received_at: datetime,
        started_at: float,
    ) -> None:
        self.scope, self.receive, self._send = scope, receive, send
        self.request_id, self.received_at, self.started_at = request_id, received_at, started_at
        self.endpoint: Endpoint | None = None
        self.caller: Caller | None = None
        self.route: Route | None = None
        self.status = 0
        self.answered = False

    @property
    def deployment_id(self) -> str:
        """Of the route that was asked, or empty."""
        return self.route.deployment_id if self.route is not None else ""

    def allow(self, *methods: str) -> None:
        """Raise Problem 405 for any other method."""
        if self.scope["method"] not in methods:
            names = ", ".join(methods)
            raise Problem(405, "method-not-allowed", f"Use {names}.", headers=[(b"allow", names.encode())])

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the whole answer with the headers every answer has."""
        self.status, self.answered = status, True
        sent = [
            *headers,
            (b"content-length", str(len(body)).encode()),
            (b"x-gatehouse-request-id", self.request_id.encode()),
        ]
        if self.route is not None:
            sent.append((b"x-gatehouse-deployment", self.route.deployment_id.encode()))
            sent.append((b"x-gatehouse-model-version", self.route.model_version.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": sent})
        await self._send({"type": "http.response.body", "body": body})


def check_head(headers: Headers, limit: int) -> None:
    """Raise Problem for a body that is declared too large (bytes) or comes in a form not read here."""
    for name, value in headers:
        if name == b"content-length":
            if int(value) > limit:
                raise too_large(limit)
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise Problem(415, "unsupported-media-type", "Send the body uncompressed.")
        elif name == b"inference-header-content-length":
            raise Problem(415, "unsupported-media-type", "Send tensors as JSON, not in binary.")
        elif name == b"content-type" and value.partition(b";")[0].strip().lower() != b"application/json":
            raise Problem(415, "unsupported-media-type", "Send Content-Type: application/json.")


def too_large(limit: int) -> Problem:
    """413 for a body beyond `limit` bytes."""
    # The rest of the body is not worth reading, so the connection ends here.
    return Problem(
        413,
        "too-large",
        f"The body is larger than {limit} bytes; send fewer rows in a request.",
        headers=[(b"connection", b"close")],
    )


def is_local(scope: Scope) -> bool:
    """Whether the peer is this machine and no proxy says it speaks for another."""
    client = scope.get("client")
    if not client or any(name in _FORWARDED for name, _ in scope["headers"]):
        return False
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False

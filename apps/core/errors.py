"""Refusals in words: each says what was refused, which field, and what to do next. One handler maps them to HTTP."""

import math
from typing import Any


class DomainError(Exception):
    """A rule said no. `detail` is one or two plain sentences with the remedy; `errors` maps field names to sentences."""

    status = 400
    code = "refused"
    title = "This cannot be done"

    def __init__(self, detail: str, *, errors: dict[str, list[str]] | None = None, code: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or {}
        if code:
            self.code = code
        self.extra = extra

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer: when to come back, for refusals that know it."""
        wait = self.extra.get("retry_after_s")
        return {"Retry-After": str(max(1, math.ceil(wait)))} if wait is not None else {}

    def problem(self) -> dict[str, Any]:
        """RFC 9457 problem details."""
        body: dict[str, Any] = {
            "type": f"urn:gatehouse:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            body["errors"] = self.errors
        return body | self.extra


class Invalid(DomainError):
    """Input that cannot be stored; `errors` names each field."""

    status, code, title = 400, "invalid", "Something in the request is not right"


class SignInNeeded(DomainError):
    """Nobody is signed in, or the token is not valid."""

    status, code, title = 401, "sign-in-needed", "Sign in first"


class CredentialsRefused(DomainError):
    """The password given with a signature or a sign-in is wrong."""

    status, code, title = 403, "credentials-refused", "The credentials were not accepted"


class NotAllowed(DomainError):
    """The actor may see the thing but not do this to it."""

    status, code, title = 403, "not-allowed", "You may not do this"


class FourEyesRequired(NotAllowed):
    """The requester or an author tried to approve."""

    code, title = "four-eyes-required", "Somebody else has to sign this"


class NotFound(DomainError):
    """It is not there, or not for this actor to see: the same answer for both."""

    status, code, title = 404, "not-found", "There is nothing here"


class Conflict(DomainError):
    """The state does not admit it (any more)."""

    status, code, title = 409, "conflict", "The state has changed or does not allow this"


class StaleEvidence(Conflict):
    """What is being signed is no longer what was read."""

    code, title = "stale-evidence", "The evidence has changed"


class NoLiveDecision(Conflict):
    """A protected act without a decision that allows it now."""

    code, title = "no-live-decision", "No live decision allows this"


class Expired(DomainError):
    """It was kept for a while, and the while is over."""

    status, code, title = 410, "expired", "This has expired"


class TooMany(DomainError):
    """A limit on tries or rate."""

    status, code, title = 429, "too-many", "Too many tries"


class UpstreamFailed(DomainError):
    """A service behind the portal did not answer as it should."""

    status, code, title = 502, "upstream-failed", "A service behind the portal failed"

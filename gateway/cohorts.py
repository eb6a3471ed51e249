"""Rollout phases: whether an endpoint is open to the users behind a caller, from the signed plan. Pure; resolved once a snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.problems import Headers, Problem

USER_HEADER = b"x-gatehouse-user"
MOST_USER_BYTES = 256
EVERYBODY = 100
_SCALE = 2**64 / 100


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of the plan: who it covers (no departments: all; `percent` of their users), and whether it is open to them."""

    name: str
    departments: frozenset[str]
    percent: int
    open: bool
    closed: bool
    planned_on: str

    def covers(self, groups: frozenset[str]) -> bool:
        """Whether callers of these groups (department, team) belong to it."""
        return not self.departments or not self.departments.isdisjoint(groups)


def same(name: str) -> str:
    """A department's or team's name as it is compared: case and blanks do not matter."""
    return " ".join(name.split()).casefold()


def reach(phases: Sequence[Phase], groups: frozenset[str]) -> int:
    """Percent of the users behind a caller of these groups to whom it is open."""
    return max((phase.percent for phase in phases if phase.open and phase.covers(groups)), default=0)


def mark(salt: str, user: str) -> float:
    """Where a user stands in [0, 100), the same for ever: below a phase's percent they are in it, so a growing one loses nobody.

    `salt` (the use case) makes it another order in every use case, so that it is not always the same people who come first.
    """
    digest = hashlib.blake2b(f"{salt}\0{user}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / _SCALE


def coming(phases: Sequence[Phase], groups: frozenset[str], at: float) -> Phase | None:
    """The first phase that is not open and would include a user who stands at `at`."""
    return next((p for p in phases if not p.open and p.covers(groups) and at < p.percent), None)


def user_of(headers: Headers) -> str | None:
    """Whom the caller names in `X-Gatehouse-User`, or None. Raises Problem 400 for two of them or one that is no name."""
    found: str | None = None
    for name, value in headers:
        if name == USER_HEADER:
            text = value.decode("utf-8", "replace").strip()
            if found is not None or not text or len(value) > MOST_USER_BYTES or not text.isprintable():
                raise Problem(400, "invalid", f"Send X-Gatehouse-User once, with a stable id of at most {MOST_USER_BYTES} bytes.")
            found = text
    return found


def refusal(phase: Phase | None, *, by_user: bool) -> Problem:
    """403 in a sentence that names the phase which would include them."""
    who = "this user" if by_user else "this caller"
    if phase is None:
        detail = f"This endpoint is not open to {who}, and no rollout phase of its plan includes them. Ask the owner of the use case."
    elif phase.closed:
        detail = f"This endpoint is not open to {who} now: rollout phase “{phase.name}”, which includes them, was closed."
    else:
        detail = (
            f"This endpoint is not open to {who} yet: rollout phase “{phase.name}” will include them; it is planned for "
            f"{phase.planned_on} and opens when it is decided."
        )
    return Problem(403, "phase-not-open", detail, phase=phase.name if phase else None)

"""Is there a live decision? Everyone above may ask.

These reads are not filtered by person: services of upper apps ask them on behalf of a rule. Pages and REST list decisions
through apps.approvals, which knows whose use case it is.
"""

from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.core.clock import now
from apps.decisions import rules
from apps.decisions.models import Decision, Hold, Revocation


def live(*, at: datetime | None = None) -> QuerySet[Decision]:
    """All decisions that hold at `at` (now): issued, not expired, not revoked, no open hold."""
    at = at or now()
    revoked = Revocation.objects.filter(decision=OuterRef("pk"), revoked_at__lte=at)
    held = Hold.objects.filter(decision=OuterRef("pk"), placed_at__lte=at).filter(Q(lifted_at=None) | Q(lifted_at__gt=at))
    return Decision.objects.filter(~Exists(revoked), ~Exists(held), issued_at__lte=at, expires_at__gt=at)


def standing(*, at: datetime | None = None) -> QuerySet[Decision]:
    """Those neither revoked nor expired at `at` (now), held ones included: they live again once the hold is lifted."""
    at = at or now()
    revoked = Revocation.objects.filter(decision=OuterRef("pk"), revoked_at__lte=at)
    return Decision.objects.filter(~Exists(revoked), expires_at__gt=at)


def live_decision(*, artifact_digest: str, environment: str, usecase_id: Any = None, at: datetime | None = None) -> Decision | None:
    """The newest decision that lets this artifact run in this environment at `at` (now), or None.

    `usecase_id` limits it to one use case; always give it when you know it: an approval for one use is none for another.
    """
    if not artifact_digest or not environment:
        return None
    found = live(at=at).filter(artifact_digest=artifact_digest, environment=environment)
    if usecase_id is not None:
        found = found.filter(usecase_id=usecase_id)
    return found.order_by("-issued_at", "-id").first()


def is_live(decision_id: Any, *, at: datetime | None = None) -> bool:
    """Whether this very decision holds at `at` (now)."""
    return live(at=at).filter(id=decision_id).exists()


def state_of(decision: Decision, *, at: datetime | None = None) -> str:
    """Why the decision does not hold, or an empty text. Reads its revocation and holds (prefetch them in lists)."""
    revocation = getattr(decision, "revocation", None)
    at = at or now()
    holds = [h.reason for h in decision.holds.all() if h.placed_at <= at and (h.lifted_at is None or h.lifted_at > at)]
    return rules.why_not_live(
        at=at, issued_at=decision.issued_at, expires_at=decision.expires_at,
        revoked_at=revocation.revoked_at if revocation else None, revoked_why=revocation.reason if revocation else "", open_holds=holds,
    )  # fmt: skip


def why_not_live(*, artifact_digest: str, environment: str, usecase_id: Any = None, at: datetime | None = None) -> str:
    """One sentence for a person: why nothing allows this artifact there. Empty when something does."""
    if live_decision(artifact_digest=artifact_digest, environment=environment, usecase_id=usecase_id, at=at):
        return ""
    past = with_state(Decision.objects.filter(artifact_digest=artifact_digest, environment=environment))
    if usecase_id is not None:
        past = past.filter(usecase_id=usecase_id)
    newest = past.order_by("-issued_at", "-id").first()
    if newest is None:
        return f"No gate has been passed for this artifact in {environment}. Request one for this model version."
    return state_of(newest, at=at)


def with_state(decisions: QuerySet[Decision]) -> QuerySet[Decision]:
    """The same with what `state_of` reads, in a constant number of queries."""
    return decisions.select_related("revocation").prefetch_related("holds")


def for_usecase(usecase_id: Any) -> QuerySet[Decision]:
    """All decisions about one use case, newest first, with their state."""
    return with_state(Decision.objects.filter(usecase_id=usecase_id)).order_by("-issued_at", "-id")


def for_usecases(usecase_ids: Any) -> QuerySet[Decision]:
    """All decisions about these use cases (ids or a subquery), newest first, with their state."""
    return with_state(Decision.objects.filter(usecase_id__in=usecase_ids)).order_by("-id")


def decision(decision_id: Any) -> Decision:
    """One decision by id; NotFound when there is none."""
    return with_state(Decision.objects.all()).one("decision", id=decision_id)  # type: ignore[attr-defined]


def open_holds(*, source_type: str, source_id: str) -> QuerySet[Hold]:
    """What this source still suspends."""
    return Hold.objects.filter(source_type=source_type, source_id=source_id, lifted_at=None)

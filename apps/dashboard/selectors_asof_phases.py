"""To whom production was open at a moment: the rollout phases of use cases as the trail told them, with their decisions as they stood."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.audit import past
from apps.dashboard.selectors_asof_decisions import Decided, decided
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.usecases.models import RolloutPhase

TOLD = tuple(f"usecases.phase.{verb}" for verb in ("planned", "changed", "opened", "renewed"))
MOVED = tuple(f"usecases.phase.{verb}" for verb in ("opened", "renewed", "closed", "dropped"))
STATES = {"opened": "open", "renewed": "open", "closed": "closed", "dropped": "dropped"}


@dataclass(frozen=True, slots=True)
class PhaseThen:
    """A rollout phase at the moment. state: planned, open, closed, or `ended` when the decision it was open by had run out.

    covers: who it was for, in words. since: when it came to be open or closed; event_id: the event that says so.
    """

    id: str
    name: str
    covers: str
    departments: list[str]
    percent: int | None
    planned_on: str
    state: str
    since: str | None
    event_id: str | None
    decision: Decided | None


def phases(usecase_ids: Collection[Any], at: datetime) -> dict[Any, list[PhaseThen]]:
    """Use case id -> its plan at the moment, in order; those without one then are left out. A bounded number of queries."""
    known = RolloutPhase.objects.filter(usecase_id__in=usecase_ids, created_at__lte=at)
    rows = list(known.order_by("usecase_id", "position", "created_at"))
    if not rows:
        return {}
    ids = [str(row.id) for row in rows]
    told, moved = past.last_of_each(TOLD, ids, at=at), past.last_of_each(MOVED, ids, at=at)
    named = {key: event["decision_id"] for key, event in moved.items() if event["decision_id"]}
    then = decided(named.values(), at)
    over = {str(d.id) for d in decisions.with_state(Decision.objects.filter(id__in=set(named.values()))) if _over(d, at)}
    found: dict[Any, list[tuple[int, PhaseThen]]] = {}
    for row in rows:
        key, told_of = str(row.id), told.get(str(row.id))
        move = moved.get(key)
        state = STATES[move["action"].rpartition(".")[2]] if move else "planned"
        if told_of is None or state == "dropped":
            continue
        if state == "open" and named.get(key) in over:
            state = "ended"
        facts = told_of["after"]
        plan = found.setdefault(row.usecase_id, [])
        plan.append(
            (
                facts.get("position") or row.position or len(plan) + 1,
                PhaseThen(
                    id=key, name=facts["name"], covers=facts["covers"], departments=facts["departments"], percent=facts["percent"],
                    planned_on=facts["planned_on"], state=state, since=move["occurred_at"] if move else None,
                    event_id=move["id"] if move else None, decision=then.get(named.get(key, "")),
                ),
            )
        )  # fmt: skip
    return {usecase: [phase for _, phase in sorted(plan, key=lambda pair: pair[0])] for usecase, plan in found.items()}


def _over(decision: Decision, at: datetime) -> bool:
    revocation = getattr(decision, "revocation", None)
    return decision.expires_at <= at or (revocation is not None and revocation.revoked_at <= at)


def open_to(plan: list[PhaseThen]) -> str:
    """To whom production was open, in words: `nobody`, or what the open phases covered."""
    return "; ".join(f"{p.name} ({p.covers})" for p in plan if p.state == "open") or "nobody"


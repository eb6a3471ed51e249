"""Reads of rollout phases: the plan of a use case as it stands now, with the decisions that opened its phases."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.usecases.models import RolloutPhase, UseCase
from apps.usecases.phase_rules import Cohort, check_words, covers


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """A phase and its decision. serving: callers it covers are served. why_not: why an opened phase's decision does not hold.

    state: planned, open or closed; `ended` when the decision of an open phase has run out or was revoked.
    """

    phase: RolloutPhase
    number: int
    decision: Decision | None
    serving: bool
    state: str
    why_not: str

    @property
    def cohort(self) -> Cohort:
        """Who it covers."""
        return cohort(self.phase)


def cohort(phase: RolloutPhase) -> Cohort:
    """Who a phase covers."""
    return Cohort(tuple(phase.departments), phase.percent)


def facts(phase: RolloutPhase) -> dict[str, Any]:
    """What is signed when a phase is opened, as plain JSON."""
    return {
        "id": str(phase.id), "name": phase.name, "covers": cohort(phase).words, "departments": list(phase.departments), "percent": phase.percent,
        "planned_on": phase.planned_on.isoformat(), "entry_criteria": phase.entry_criteria, "owner": phase.owner.email,
        "checks": "; ".join(check_words(c) for c in phase.checks),
    }  # fmt: skip


def rows(usecase_ids: Any) -> QuerySet[RolloutPhase]:
    """Phases of these use cases (ids or a subquery) that were not dropped, in order. Not filtered by person."""
    found = RolloutPhase.objects.filter(usecase_id__in=usecase_ids).exclude(state=RolloutPhase.State.DROPPED)
    return found.select_related("owner").order_by("usecase_id", "position")


def plans(usecase_ids: Iterable[Any]) -> dict[Any, list[PhaseRow]]:
    """Use case id -> its plan in order; those without one are left out. Four queries, however many."""
    phases = list(rows(list(usecase_ids)))
    known = {d.id: d for d in decisions.with_state(Decision.objects.filter(id__in=[p.decision_id for p in phases if p.decision_id]))}
    found: dict[Any, list[PhaseRow]] = {}
    for phase in phases:
        plan = found.setdefault(phase.usecase_id, [])
        plan.append(_row(phase, len(plan) + 1, known.get(phase.decision_id) if phase.decision_id else None))
    return found


def plan(usecase_id: Any) -> list[PhaseRow]:
    """The plan of one use case; empty without one. For a process, a check, or a page that has found the use case visible."""
    return plans([usecase_id]).get(usecase_id, [])


def _row(phase: RolloutPhase, number: int, decision: Decision | None) -> PhaseRow:
    opened = phase.state == RolloutPhase.State.OPEN and decision is not None
    ended = decision is not None and (hasattr(decision, "revocation") or decision.expires_at <= now())
    serving = opened and not ended
    state = "ended" if opened and ended else phase.state
    return PhaseRow(phase, number, decision, serving, state, decisions.state_of(decision) if opened and decision else "")


def phase(actor: Actor, phase_id: Any) -> RolloutPhase:
    """One phase of a use case that the actor may see, or NotFound."""
    visible = UseCase.objects.visible_to(actor).order_by().values("id")
    return RolloutPhase.objects.filter(usecase_id__in=visible).select_related("usecase", "owner").one("rollout phase", id=phase_id)  # type: ignore[attr-defined,no-any-return]


def row(actor: Actor, phase_id: Any) -> PhaseRow:
    """One phase of a visible plan with its decision, or NotFound; a dropped one is no longer there."""
    found = phase(actor, phase_id)
    here = next((r for r in plan(found.usecase_id) if r.phase.id == found.id), None)
    if here is None:
        raise NotFound("This rollout phase was dropped from the plan.")
    return here


def reached(plan: Iterable[PhaseRow], groups: Iterable[str]) -> int:
    """Percent of the users behind a caller of these groups who are served now: 0 nobody, 100 all."""
    known = list(groups)
    return max((r.phase.percent or 100 for r in plan if r.serving and covers(r.phase.departments, known)), default=0)


def coming(plan: Iterable[PhaseRow], groups: Iterable[str]) -> PhaseRow | None:
    """The first phase that is not open and would serve more of this caller's users."""
    known, listed = list(groups), list(plan)
    has = reached(listed, known)
    return next((r for r in listed if not r.serving and covers(r.phase.departments, known) and (r.phase.percent or 100) > has), None)

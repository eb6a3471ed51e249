"""Rollout phases as pages draw them: the line of phases, and the gates under way for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from apps.approvals.models import Gate
from apps.usecases.phase_selectors import PhaseRow
from apps.usecases.stage_line import Step

GATE_WORDS = {"draft": "gate begun", "open": "waits for signatures"}


def gates_of(usecase_id: Any) -> dict[Any, Gate]:
    """Phase id -> its gate under way, of a use case found visible."""
    rows = Gate.objects.filter(usecase_id=usecase_id, kind="phase", state__in=[Gate.State.DRAFT, Gate.State.OPEN]).defer("evidence_text")
    return {g.phase_id: g for g in rows}


def steps(plan: Sequence[PhaseRow], under_way: Mapping[Any, str]) -> list[Step]:
    """The plan as a line: what is open since when, what waits for what."""
    return [Step(row.phase.name, _note(row, under_way.get(row.phase.id, "")), _state(row)) for row in plan]


def _state(row: PhaseRow) -> str:
    return "done" if row.serving else ""


def _note(row: PhaseRow, gate: str) -> str:
    phase = row.phase
    who = row.cohort.words
    if row.serving and phase.opened_at:
        return f"{who}, open since {phase.opened_at:%-d %b %Y}"
    if gate:
        return f"{who}, {GATE_WORDS[gate]}"
    if row.state == "closed" and phase.closed_at:
        return f"{who}, closed {phase.closed_at:%-d %b %Y}"
    if row.state == "ended":
        return f"{who}, its decision has ended"
    return f"{who}, planned for {phase.planned_on:%-d %b %Y}"

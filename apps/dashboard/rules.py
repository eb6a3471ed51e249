"""Which of the things that may be done on a use case's page is the main one for this person now. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from apps.core.templatetags.gatehouse import words

ENDED = ("stopped", "retired")
SEVERITIES = ("critical", "high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Action:
    """A button: what it says and where it leads."""

    label: str
    path: str


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """An incident that is open, and where it is dealt with."""

    severity: str
    path: str


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A gate that is begun or waits for signatures. about: of one that moves no stage, its model version or rollout phase."""

    state: Literal["draft", "open"]
    to_stage: str
    path: str
    about: str = ""
    mine_to_sign: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """What suspends a decision of the use case: `finding`, `waiver` or `tier`; path: where it is mended."""

    cause: str
    environment: str
    path: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What the page knows of the use case and the reader. runs: monitoring page of where it answers, `empty`: of an endpoint without."""

    slug: str
    stage: str
    next_stage: str
    may_change: bool
    may_operate: bool
    incidents: Sequence[OpenIncident] = ()
    held: Held | None = None
    gates: Sequence[UnderWay] = ()
    runs: str = ""
    empty: str = ""


def actions(now: Situation) -> tuple[Action | None, list[Action]]:
    """(main, others): what the person needs first, and what is offered beside it.

    What is wrong comes before what is under way, and that before what could be begun. Ending a use case is never the main thing.
    """
    if now.stage in ENDED:
        return None, []
    begin = _begin(now)
    main = _wrong(now) or _under_way(now) or _deploy(now)
    if main is None and now.stage == "production":
        main = Action("See how it runs", now.runs) if now.runs else None
    elif main is None:
        return begin, []
    return main, [begin] if begin else []


def _begin(now: Situation) -> Action | None:
    """Beginning the next stage's gate, while none of it is begun."""
    if not (now.next_stage and now.may_change) or any(not g.about for g in now.gates):
        return None
    return Action(f"Begin the gate to {stage_words(now.next_stage)}", f"/gates/new/?usecase={now.slug}&to={now.next_stage}")


def _wrong(now: Situation) -> Action | None:
    """An open incident, a pause, a suspended decision: in this order."""
    mine = next((g for g in now.gates if g.mine_to_sign), None)
    if now.incidents and not (mine and not now.may_change):
        first = min(now.incidents, key=lambda i: SEVERITIES.index(i.severity))
        verb = "Deal with" if now.may_operate else "Read"
        return Action(f"{verb} the incident{'' if len(now.incidents) == 1 else 's'}", first.path)
    if now.stage == "on_hold":
        return Action("Take it off hold", f"/usecases/{now.slug}/edit/#resume") if now.may_change else None
    if now.held is None or (now.held.cause == "tier" and (now.gates or not now.may_change)):
        return None
    if now.held.cause == "tier":
        return Action(f"Pass the gate into {now.held.environment} again", now.held.path)
    return Action("Read why a decision is on hold", now.held.path)


def _under_way(now: Situation) -> Action | None:
    """The gate that asks something of this person, else the one nearest to a decision."""
    if not now.gates:
        return None
    gate = min(now.gates, key=lambda g: (not g.mine_to_sign, g.state != "open", bool(g.about)))
    about = f"for {gate.about}" if gate.about else f"to {stage_words(gate.to_stage)}"
    verb = "Read and sign" if gate.mine_to_sign else "Go on with" if gate.state == "draft" and now.may_change else "Read"
    return Action(f"{verb} the gate {about}", gate.path)


def _deploy(now: Situation) -> Action | None:
    """Where the stage lets a model run and nothing answers, an engineer's next step is to deploy."""
    if now.stage not in ("pilot", "production") or now.runs or not now.may_operate:
        return None
    if now.empty:
        return Action("Deploy the approved version", now.empty)
    return Action("Make an endpoint", f"/endpoints/new/?usecase={now.slug}")


def stage_words(stage: str) -> str:
    """A stage as a button says it."""
    return "retirement" if stage == "retired" else words(stage)

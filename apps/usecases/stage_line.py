"""The line of stages as pages draw it: what is done and how long it took, where it stands, what opens the rest. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core.templatetags.gatehouse import spoken

NAMES = {
    "proposal": "Proposal",
    "poc": "Proof of concept",
    "pilot": "Pilot",
    "production": "Production",
    "retired": "Retired",
    "on_hold": "On hold",
    "stopped": "Stopped",
}
LINE = ("proposal", "poc", "pilot", "production")


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the line, as templates/components/stages.html draws it. state: `done`, `here` or empty."""

    name: str
    note: str
    state: str


def steps(stage: str, stage_since: datetime, stays: Sequence[Mapping[str, Any]], notes: Mapping[str, str]) -> list[Step]:
    """The line for a use case at `stage`; `stays` from selectors.time_in_stages, `notes` words for stages not yet reached."""
    spent: dict[str, float] = {}
    for stay in stays:
        spent[stay["stage"]] = spent.get(stay["stage"], 0.0) + stay["seconds"]
    aside = stage in ("on_hold", "stopped")
    at = next((s["stage"] for s in reversed(stays) if s["stage"] in LINE), "proposal") if aside else stage
    reached = len(LINE) if at == "retired" else LINE.index(at)
    found = []
    for index, name in enumerate(LINE):
        if index < reached:
            found.append(Step(NAMES[name], spoken(spent.get(name, 0.0)), "done"))
        elif index == reached:
            found.append(Step(NAMES[name], f"{NAMES[stage].lower()} here" if aside else f"{spoken(stays[-1]['seconds'])} so far", "here"))
        else:
            found.append(Step(NAMES[name], notes.get(name, "opens with its gate" if index == reached + 1 else ""), ""))
    if at == "retired":
        found.append(Step(NAMES["retired"], f"since {stage_since:%-d %b %Y}", "here"))
    return found

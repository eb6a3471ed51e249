"""What the page of findings reads: what differs, line by line, and which decisions each finding holds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core.actor import Actor
from apps.decisions.models import Hold
from apps.registry import selectors
from apps.registry.models import Finding
from apps.usecases.models import UseCase

SHOWN, CLOSED_SHOWN = 100, 50


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that differs. `was` and `now` are words; empty: it is not there."""

    name: str
    was: str
    now: str


@dataclass(frozen=True, slots=True)
class Held:
    """A decision that waits for the finding to be mended. usecase: None where the reader may not see it."""

    label: str
    environment: str
    usecase: UseCase | None


@dataclass(slots=True)
class Row:
    """A finding as the page shows it."""

    finding: Finding
    lines: list[Line]
    held: list[Held] = field(default_factory=list)


def lines(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[Line]:
    """What differs, a line a value: mappings are opened, what is the same on both sides is left out."""
    out = []
    for name in sorted({*expected, *found}):
        was, now = expected.get(name), found.get(name)
        if isinstance(was, Mapping) or isinstance(now, Mapping):
            before, after = _mapping(was), _mapping(now)
            out += [
                Line(f"{_plain(name)}: {key}", _measured(name, before.get(key)), _measured(name, after.get(key)))
                for key in sorted({*before, *after})
                if before.get(key) != after.get(key) or (key in before) != (key in after)
            ]
        elif was != now:
            out.append(Line(_plain(name), _words(was), _words(now)))
    return out


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {} if value is None else {"": value}


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _measured(name: str, value: Any) -> str:
    """Sizes of files have a unit."""
    return f"{value:,} bytes" if name == "beside" and isinstance(value, int) else _words(value)


def _words(value: Any) -> str:
    if value is None:
        return ""
    return value or "empty" if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def open_findings(actor: Actor) -> list[Row]:
    """Those about models the actor may see, the newest first, with the decisions they hold."""
    rows = [_row(f) for f in selectors.findings(actor, open_only=True)[:SHOWN]]
    sources = {str(row.finding.id): row for row in rows}
    holds = list(
        Hold.objects.filter(source_type="finding", source_id__in=sources, lifted_at=None).select_related("decision").order_by("id")
    )
    seen = {u.id: u for u in UseCase.objects.visible_to(actor).filter(id__in={h.decision.usecase_id for h in holds})}
    for hold in holds:
        decision = hold.decision
        held = Held(decision.model_version_label, decision.environment, seen.get(decision.usecase_id))
        sources[hold.source_id].held.append(held)
    return rows


def closed_findings(actor: Actor) -> list[Row]:
    """The last that were closed."""
    rows = selectors.findings(actor).exclude(closed_at=None).order_by("-closed_at")
    return [_row(f) for f in rows[:CLOSED_SHOWN]]


def count_open(actor: Actor) -> int:
    """How many wait, for the rail."""
    return selectors.findings(actor, open_only=True).order_by().count()


def _row(finding: Finding) -> Row:
    return Row(finding, lines(finding.expected, finding.found))

"""Rollout phases: what a plan must say, who a phase covers, and when one may be changed. Pure."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from apps.core.errors import Conflict, Invalid

MOST_PHASES = 30
MOST_DEPARTMENTS = 50
MOST_CHECKS = 20
NAME_LIMIT, WORDS_LIMIT = 100, 5_000
# Stages in which there is nobody yet for whom dropping the plan would open the endpoint.
BEFORE_PRODUCTION = ("proposal", "poc", "pilot")
ENDED = ("retired", "stopped")


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who a phase covers: `departments` (none: all) and, of their users, `percent` (None: all)."""

    departments: tuple[str, ...] = ()
    percent: int | None = None

    @property
    def words(self) -> str:
        """For people: `30% of the users in claims, billing`."""
        where = f" in {', '.join(self.departments)}" if self.departments else ""
        if self.percent is None or self.percent == 100:
            return f"everybody{where}"
        return f"{self.percent}% of the users{where}"


def same(name: str) -> str:
    """A department's or team's name as it is compared: case and blanks do not matter."""
    return " ".join(name.split()).casefold()


def covers(departments: Iterable[str], groups: Collection[str]) -> bool:
    """Whether a caller of these groups (department, team) belongs to these departments; no departments: everybody does."""
    wanted = {same(d) for d in departments}
    return not wanted or bool(wanted & {same(g) for g in groups})


def adds_nobody(cohort: Cohort, earlier: Cohort) -> bool:
    """Whether the earlier phase covers all of this one: the same hash picks users, so a smaller share lies in a larger one."""
    within = not earlier.departments or (
        bool(cohort.departments) and {same(d) for d in cohort.departments} <= {same(d) for d in earlier.departments}
    )
    return within and (earlier.percent or 100) >= (cohort.percent or 100)


def check_phase(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a phase that are given, cleaned; raises Invalid naming each one that is wrong."""
    clean: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, value in given.items():
        try:
            clean[name] = _READ[name](value)
        except ValueError as error:
            errors[name] = [str(error)]
    if errors:
        first = next(iter(errors))
        raise Invalid(f"{first}: {errors[first][0]}", errors=errors)
    return clean


def _text(limit: int) -> Any:
    def read(value: Any) -> str:
        text = " ".join(str(value or "").split()) if limit == NAME_LIMIT else str(value or "").strip()
        if not text:
            raise ValueError("Needed.")
        if len(text) > limit:
            raise ValueError(f"At most {limit} characters.")
        # The name goes to the gateways, which take printable text alone.
        if limit == NAME_LIMIT and not text.isprintable():
            raise ValueError("Use letters, digits and signs that can be seen.")
        return text

    return read


def _departments(value: Any) -> list[str]:
    names = [" ".join(str(v).split()) for v in value or ()]
    if any(not n or len(n) > NAME_LIMIT or not n.isprintable() for n in names):
        raise ValueError(f"Give names of at most {NAME_LIMIT} characters.")
    if len(names) > MOST_DEPARTMENTS:
        raise ValueError(f"At most {MOST_DEPARTMENTS}.")
    return list({same(n): n for n in reversed(names)}.values())[::-1]


def _percent(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100:
        raise ValueError("Give a whole number from 1 to 100, or nothing for everybody.")
    return value


def _day(value: Any) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("Give the planned day, such as 2026-12-01.")
    return value


def _checks(value: Any) -> list[dict[str, Any]]:
    rows = list(value or ())
    if len(rows) > MOST_CHECKS:
        raise ValueError(f"At most {MOST_CHECKS} checks.")
    found: list[dict[str, Any]] = []
    for row in rows:
        if not isinstance(row, Mapping) or not isinstance(row.get("check"), str) or not isinstance(row.get("with", {}), Mapping):
            raise ValueError('Give each as {"check": "monitoring.no_open_incident", "with": {}}.')
        clean = {"check": row["check"], "with": dict(row.get("with") or {})}
        if clean["check"] in {f["check"] for f in found}:
            raise ValueError(f"{clean['check']} is there twice.")
        found.append(clean)
    return found


_READ: Mapping[str, Any] = {
    "name": _text(NAME_LIMIT),
    "entry_criteria": _text(WORDS_LIMIT),
    "departments": _departments,
    "percent": _percent,
    "planned_on": _day,
    "checks": _checks,
}


def check_order(plan: Sequence[tuple[str, Cohort]]) -> None:
    """Every phase adds somebody to the ones before it; raises Invalid naming the one that does not."""
    for index, (name, cohort) in enumerate(plan):
        for earlier_name, earlier in plan[:index]:
            if adds_nobody(cohort, earlier):
                raise Invalid(
                    f"percent: “{name}” would add nobody: “{earlier_name}” before it covers {earlier.words}. Cover more, or put it before.",
                    errors={"percent": [f"“{earlier_name}” covers them already."]},
                )


def check_may_plan(*, stage: str, phases: int, closes_now: bool) -> None:
    """A plan can be made; the first phase of a use case in production turns its callers away, so it has to be meant."""
    if stage in ENDED:
        raise Conflict(f"The use case is {stage}; there is nothing to roll out any more.")
    if phases >= MOST_PHASES:
        raise Conflict(f"A plan has at most {MOST_PHASES} phases. Drop one first.")
    if not phases and stage not in BEFORE_PRODUCTION and not closes_now:
        raise Conflict(
            "closes_now: the use case is past pilot without a plan, so everybody is served. From its first phase on nobody is, until a phase "
            "is opened. Say that this is meant.",
            errors={"closes_now": ["Say that every caller may be turned away until a phase is opened."]},
        )


def check_may_change(state: str, cohort_changes: bool) -> None:
    """Who an open phase covers is what was signed."""
    if state == "dropped":
        raise Conflict("This phase was dropped. Plan a new one.")
    if state == "open" and cohort_changes:
        raise Conflict(
            "This phase is open to exactly those people who were signed for. Plan another phase for more, or close this one first."
        )


def check_place(position: int, *, opened: bool, taken: int, phases: int) -> int:
    """A place among the phases that were never opened: behind the `taken` ones that were."""
    if opened:
        raise Conflict("This phase was opened, so it keeps its place. Move the ones behind it.")
    if not taken < position <= phases:
        raise Invalid(
            f"position: give {taken + 1} to {phases}; phases that were opened stay in front.", errors={"position": ["Not a free place."]}
        )
    return position


def check_may_drop(*, state: str, opened: bool, stage: str, phases: int) -> None:
    """Only what was never opened; and in production never the last one, because without a plan everybody is served."""
    if state != "planned" or opened:
        raise Conflict("A phase that was opened stays in the plan. Close it instead.")
    if phases <= 1 and stage not in BEFORE_PRODUCTION:
        raise Conflict(
            "This is the last phase. Without a plan everybody would be served, which nobody signed. Change it and have it opened."
        )


def check_may_begin(*, stage: str, state: str) -> None:
    """Whether a gate may be begun for a phase: to open it, or to renew the approval of an open one before or after it ends."""
    if stage != "production":
        raise Conflict(f"A phase is opened in production; the use case is at {stage}. Pass its gates first.")
    if state not in ("planned", "open", "closed"):
        raise Conflict(f"This phase is {state}. Choose one of the plan.")


def check_reason(reason: str) -> str:
    """A reason in words, trimmed."""
    if not reason.strip():
        raise Invalid("reason: say why, for whoever reads the trail.", errors={"reason": ["Needed."]})
    return reason.strip()


def check_words(row: Mapping[str, Any]) -> str:
    """One check on a line: `kpis.effect floor=true minimum_pct=5`."""
    # An empty text asks for nothing, and could not be read again.
    said = [f"{name}={_quoted(value)}" for name, value in sorted(row["with"].items()) if value != ""]
    return " ".join([row["check"], *said])


def _quoted(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return shlex.quote(text) if any(c.isspace() or c in "'\"\\" for c in text) else text


def read_checks(text: str) -> list[dict[str, Any]]:
    """Checks from lines such as `kpis.effect minimum_pct=5 during='Claims desk'`; raises Invalid naming the line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise Invalid(
                f"checks: line {number}: a quotation mark is not closed.", errors={"checks": [f"Line {number}: close the quotation mark."]}
            ) from error
        if not words:
            continue
        settings: dict[str, Any] = {}
        for word in words[1:]:
            name, sign, value = word.partition("=")
            if not sign or not name or not value:
                raise Invalid(
                    f"checks: line {number}: write NAME PARAMETER=VALUE, such as kpis.effect minimum_pct=5.",
                    errors={"checks": [f"Line {number}: not NAME PARAMETER=VALUE."]},
                )
            settings[name] = _value(value)
        found.append({"check": words[0], "with": settings})
    return found


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def check_may_close(state: str) -> None:
    """Only an open phase is closed."""
    if state != "open":
        raise Conflict(f"This phase is {state}, so it serves nobody. There is nothing to close.")

"""Checks that KPIs offer to gates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core.canonical import digest_of
from apps.core.evidence import Check, CheckResult, EvidenceSubject, Parameter, failed, missing, passed
from apps.core.templatetags.gatehouse import measured
from apps.kpis import selectors
from apps.kpis.models import Baseline, Kpi, Measurement
from apps.kpis.rules.origins import MEASURED, ORIGINS, told
from apps.kpis.rules.value import at_least_as_good
from apps.usecases import phase_selectors
from apps.usecases import selectors as usecases

PREVIOUS, ANY_EARLIER = "previous", "any earlier"


@dataclass(frozen=True, slots=True)
class Window:
    """The time in which a rollout phase was the newest one open; `end` None: it still is."""

    name: str
    start: datetime
    end: datetime | None

    @property
    def words(self) -> str:
        """`2026-03-01 to 2026-04-01`."""
        return f"{self.start:%Y-%m-%d} to {f'{self.end:%Y-%m-%d}' if self.end else 'now'}"

    def holds(self, row: Measurement) -> bool:
        """Whether a row was measured wholly in it."""
        return row.period_start >= self.start and (self.end is None or row.period_end <= self.end)


def _page(subject: EvidenceSubject, rows: Sequence[Kpi] = ()) -> str:
    """The page of the one KPI in question, else that of the use case."""
    return f"/kpis/{rows[0].id}/" if len(rows) == 1 else f"/usecases/{usecases.system_usecase(subject.usecase_id).slug}/"


def _defined(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    rows = selectors.of_usecase(subject.usecase_id)
    low, high = parameters["minimum"], parameters["maximum"]
    facts = [[k.slug, k.unit, k.direction, k.aggregation, k.scale, k.target, k.floor, k.primary, k.question] for k in rows]
    more: dict[str, Any] = {
        "asked": f"{low} to {high} with target and floor, one or more of them primary", "source": _page(subject),
        "source_digest": digest_of(facts), "figure": float(len(rows)), "threshold": float(low),
    }  # fmt: skip
    if not rows:
        return missing("Define the KPIs of the use case.", **more)
    open_ended = [k.slug for k in rows if k.target is None or k.floor is None]
    found = f"{len(rows)} KPI{'' if len(rows) == 1 else 's'}"
    if not low <= len(rows) <= high:
        return failed(found, f"Define {low} to {high} KPIs.", **more)
    if open_ended:
        names = ", ".join(open_ended)
        return failed(f"{found}, without target or floor: {names}", f"Set target and floor of {names}.", **more)
    if not any(k.primary for k in rows):
        return failed(f"{found}, none primary", "Mark the KPI that the use case is mainly judged by as primary.", **more)
    return passed(f"{found}, all with target and floor", **more)


def _asked_for(subject: EvidenceSubject, every: bool) -> list[Kpi]:
    return [k for k in selectors.of_usecase(subject.usecase_id) if every or k.primary]


def _baseline_frozen(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    rows = _asked_for(subject, parameters["every"])
    frozen = {k.slug: selectors.baseline_in_force(k.id) for k in rows}
    which = "every KPI" if parameters["every"] else "each primary KPI"
    more: dict[str, Any] = {
        "asked": f"a frozen baseline of {which}", "source": _page(subject, rows),
        "source_digest": digest_of({slug: b.digest if b else None for slug, b in frozen.items()}),
    }  # fmt: skip
    if not rows:
        return missing("Mark a KPI as primary, measure it without the model, and freeze its baseline.", **more)
    without = [slug for slug, b in frozen.items() if b is None]
    if without:
        return missing(f"Measure and freeze the baseline of {', '.join(without)}.", found=f"without: {', '.join(without)}", **more)
    words = "; ".join(f"{k.name} {measured(b.value, k.unit)}, {_origin_of_baseline(b)}" for k in rows if (b := frozen[k.slug]) is not None)
    return passed(words, **more)


def _origin_of_baseline(baseline: Baseline) -> str:
    """Whose figure a baseline is."""
    if not baseline.sample:
        return f"attested by {baseline.frozen_by}, not measured"
    return told(selectors.origins_of_baseline(baseline))


def _percent(share: float) -> str:
    return f"{share * 100:.1f}%"


def _effect(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """Every primary KPI: the lower end of the 95% interval of its improvement reaches the bound; with `floor`, its floor is kept.

    origin `measured`: rows that people or pipelines gave do not count, and the result says how many were left out.
    """
    if not parameters["during"]:
        return _effect_in(subject, parameters, None)
    windows, why_not = _windows(subject, parameters["during"])
    if not windows:
        return missing(why_not, asked=f"an effect measured during {parameters['during']}", source=_page(subject))
    found = [_effect_in(subject, parameters, window) for window in windows]
    # Of several phases the first that passes; else the newest that has anything to say.
    order = ("pass", "fail", "missing")
    return min(found, key=lambda result: order.index(result.state))


def _windows(subject: EvidenceSubject, during: str) -> tuple[list[Window], str]:
    """The times in which earlier phases were the newest one open, the newest first; or why there is none."""
    plan = phase_selectors.plan(usecases.system_usecase(subject.usecase_id).id)
    place = next((i for i, row in enumerate(plan) if str(row.phase.id) == subject.phase_id), None)
    if place is None:
        return [], "This gate is about no rollout phase. Ask for the effect without `during`, or in a policy for phases."
    opened = sorted((r.phase for r in plan if r.phase.opened_at is not None), key=lambda p: p.opened_at)  # type: ignore[arg-type,return-value]
    # The one before stands before it in the plan; which was opened last says nothing: it may be a renewed one.
    earlier = {r.phase.id for r in (plan[:place][-1:] if during == PREVIOUS else plan[:place])}
    windows = []
    for index, phase in enumerate(opened, 1):
        if phase.id not in earlier:
            continue
        ends = [moment for moment in (*(after.opened_at for after in opened[index : index + 1]), phase.closed_at) if moment is not None]
        windows.append(Window(phase.name, phase.opened_at, min(ends) if ends else None))  # type: ignore[arg-type]
    if during not in (PREVIOUS, ANY_EARLIER):
        windows = [w for w in windows if w.name.casefold() == during.casefold()]
    named = {PREVIOUS: "the phase before this one", ANY_EARLIER: "an earlier phase"}.get(during, f"the earlier phase “{during}”")
    return windows[::-1], f"There is nothing to look at: {named} has not been opened. Open it first, or have the policy ask for another."


def _effect_in(subject: EvidenceSubject, parameters: dict[str, Any], window: Window | None) -> CheckResult:
    bound = parameters["minimum_pct"] / 100
    rows = _asked_for(subject, False)
    asked = f"at least {_percent(bound)} better than the baseline, at the lower end of the 95% interval"
    if parameters["origin"] == MEASURED:
        asked += ", from rows the portal measured itself"
    if parameters["floor"]:
        asked += "; not worse than the floor"
    if window is not None:
        asked += f"; during phase “{window.name}”, {window.words}"
    page = _page(subject, rows)
    if not rows:
        return missing("Mark a KPI as primary.", asked=asked, source=page, source_digest=digest_of([]))
    found, bad, worst, digests = [], [], None, []
    for kpi in rows:
        baseline = selectors.baseline_in_force(kpi.id)
        since = selectors.since(kpi, baseline, version_label=subject.model_version_label or None, as_of=subject.as_of)
        if window is not None:
            since = [r for r in since if window.holds(r)]
        digests.append(selectors.source_digest(baseline, since))
        left_out: list[Measurement] = []
        if parameters["origin"] == MEASURED:
            left_out = [r for r in since if r.origin != MEASURED]
            since = [r for r in since if r.origin == MEASURED]
        aside = f"; left out: {told(selectors.origins_of(left_out))}" if left_out else ""
        effect = selectors.effect_of(kpi, baseline, since)
        if (
            baseline is None
            or effect.improvement_low is None
            or effect.improvement_high is None
            or effect.improvement is None
            or effect.current is None
        ):
            remedy = f" Only rows of {window.words} count, while “{window.name}” was the newest open phase." if window else ""
            remedy += " Let a monitor of the endpoint measure this KPI." if left_out else ""
            return missing(
                f"{kpi.name}: {effect.detail}{remedy}", found=f"{kpi.name}: no interval yet{aside}", asked=asked, source=page,
                source_digest=digest_of(digests), threshold=parameters["minimum_pct"],
            )  # fmt: skip
        found.append(
            f"{kpi.name} {_percent(effect.improvement)} better ({_percent(effect.improvement_low)} to "
            f"{_percent(effect.improvement_high)}), {told(selectors.origins_of(since))}{aside}; "
            f"baseline {_origin_of_baseline(baseline)}"
        )
        worst = min(worst if worst is not None else effect.improvement_low, effect.improvement_low)
        if effect.improvement_low < bound:
            bad.append(f"{kpi.name}: the interval does not clear the bound.")
        if parameters["floor"] and kpi.floor is not None and not at_least_as_good(effect.current, kpi.floor, kpi.direction):
            bad.append(f"{kpi.name}: {measured(effect.current, kpi.unit)} is worse than its floor of {measured(kpi.floor, kpi.unit)}.")
    more: dict[str, Any] = {
        "asked": asked, "source": page, "source_digest": digest_of(digests),
        "figure": worst * 100 if worst is not None else None, "threshold": parameters["minimum_pct"],
    }  # fmt: skip
    if bad:
        return failed("; ".join(found), " ".join(bad), **more)
    return passed("; ".join(found), **more)


CHECKS = {
    check.name: check
    for check in (
        Check(
            "kpis.defined", "KPIs are defined with floor and target", _defined,
            {"minimum": Parameter(int, 3, "fewest KPIs", 1, 50), "maximum": Parameter(int, 5, "most KPIs", 1, 50)},
        ),
        Check(
            "kpis.baseline_frozen", "The baseline is frozen", _baseline_frozen,
            {"every": Parameter(bool, False, "ask it of every KPI, not only of primary ones")},
        ),
        Check(
            "kpis.effect", "The KPI is better than the baseline", _effect,
            {
                "minimum_pct": Parameter(float, 0.0, "improvement in percent that the lower end of the interval must reach", -100, 1000),
                "floor": Parameter(bool, True, "also ask that the floor is kept"),
                "during": Parameter(
                    str, "", "at a gate to a rollout phase: rows of the time in which the phase before was the newest open (previous), any one "
                    "earlier phase (any earlier), or an earlier phase by its name; empty: all since the baseline",
                ),
                "origin": Parameter(str, "any", "any, or only rows that the portal measured itself (measured)", choices=ORIGINS),
            },
        ),
    )
}  # fmt: skip

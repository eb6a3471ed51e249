"""Checks that KPIs offer to gates."""

from collections.abc import Sequence
from typing import Any

from apps.core.canonical import digest_of
from apps.core.evidence import Check, CheckResult, EvidenceSubject, Parameter, failed, missing, passed
from apps.core.templatetags.gatehouse import measured
from apps.kpis import selectors
from apps.kpis.models import Baseline, Kpi, Measurement
from apps.kpis.rules.origins import MEASURED, ORIGINS, told
from apps.kpis.rules.value import at_least_as_good
from apps.usecases import selectors as usecases


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
    bound = parameters["minimum_pct"] / 100
    rows = _asked_for(subject, False)
    asked = f"at least {_percent(bound)} better than the baseline, at the lower end of the 95% interval"
    if parameters["origin"] == MEASURED:
        asked += ", from rows the portal measured itself"
    if parameters["floor"]:
        asked += "; not worse than the floor"
    page = _page(subject, rows)
    if not rows:
        return missing("Mark a KPI as primary.", asked=asked, source=page, source_digest=digest_of([]))
    found, bad, worst, digests = [], [], None, []
    for kpi in rows:
        baseline = selectors.baseline_in_force(kpi.id)
        since = selectors.since(kpi, baseline, version_label=subject.model_version_label or None, as_of=subject.as_of)
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
            remedy = " Let a monitor of the endpoint measure this KPI." if left_out else ""
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
                "origin": Parameter(str, "any", "any, or only rows that the portal measured itself (measured)", choices=ORIGINS),
            },
        ),
    )
}  # fmt: skip

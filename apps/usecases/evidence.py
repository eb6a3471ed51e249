"""Checks that use cases offer to gates."""

from datetime import timedelta
from typing import Any

from apps.core.canonical import digest_of
from apps.core.clock import now
from apps.core.evidence import Check, CheckResult, EvidenceSubject, Parameter, failed, missing, passed
from apps.usecases import evidence_ending, materiality, phase_selectors, rules, selectors

# What an approver reads for the name of a requirement.
REQUIREMENT_WORDS = {
    "latency_p99_ms": "answer time", "availability_pct": "availability", "freshness_hours": "freshness", "concurrent_users": "people at once",
    "projected_rps": "load",
}  # fmt: skip


def _complete(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    usecase = selectors.system_usecase(subject.usecase_id)
    points = [(p.name, p.direction) for p in selectors.integrations(usecase.id)]
    facts = {
        "problem": usecase.problem,
        "decision supported": usecase.decision_supported,
        "users of the output": usecase.output_users,
        "sponsor": usecase.sponsor.email if usecase.sponsor else "",
        "owner": usecase.owner.email,
        "risk tier": usecase.risk_tier,
    }
    there = {name: bool(value) for name, value in facts.items()}
    gaps = rules.gaps({**there, "integration points": len(points) >= parameters["integrations"]})
    more: dict[str, Any] = {
        "asked": f"{len(facts)} facts, at least {parameters['integrations']} integration point{'' if parameters['integrations'] == 1 else 's'}",
        "source": f"/usecases/{usecase.slug}/",
        "source_digest": digest_of({"facts": facts, "integrations": points}),
    }
    if gaps:
        return failed(f"not there: {', '.join(gaps)}", f"Write down: {', '.join(gaps)}.", **more)
    return passed(f"{len(facts)} facts, {len(points)} integration point{'' if len(points) == 1 else 's'}", **more)


def _materiality(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """The tier is what exposure and purpose make, or higher, or a risk owner signed a lower one."""
    usecase = selectors.system_usecase(subject.usecase_id)
    computed, product = usecase.computed_tier, materiality.materiality(usecase.exposure, usecase.purpose)
    signed = selectors.tier_exceptions(usecase.id).filter(state="signed", tier=usecase.risk_tier).first()
    facts = {
        "exposure": usecase.exposure,
        "purpose": usecase.purpose,
        "risk_tier": usecase.risk_tier,
        "exception": signed.id if signed else None,
    }
    more: dict[str, Any] = {
        "asked": f"{computed} or higher" if computed else "exposure and purpose", "source": f"/usecases/{usecase.slug}/tier/",
        "source_digest": digest_of(facts),
    }  # fmt: skip
    if not computed:
        return missing("Say on the use case how large its exposure is and what its output is for; the risk tier follows from them.", **more)
    more |= {
        "figure": float(product),
        "threshold": float({"minimal": 1, "limited": materiality.LIMITED_FROM, "high": materiality.HIGH_FROM}[computed]),
    }
    found = f"{usecase.risk_tier}: {usecase.exposure} exposure, {usecase.purpose}, materiality {product}"
    if materiality.rank(usecase.risk_tier) >= materiality.rank(computed):
        return passed(found, **more)
    if signed is None:
        return failed(found, f"It follows that the tier is {computed}. Raise it, or have a risk owner sign the lower one.", **more)
    return passed(f"{found}; makes {computed}, lowered by {signed.printed_name}", **more)


def _requirements(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    usecase = selectors.system_usecase(subject.usecase_id)
    row = selectors.requirements(usecase.id)
    stated = {name: getattr(row, name) if row else None for name in (*rules.REQUIRED, "peak_factor")}
    gaps = [REQUIREMENT_WORDS[name] for name in rules.REQUIRED if stated[name] is None]
    asked = ", ".join(REQUIREMENT_WORDS[name] for name in rules.REQUIRED)
    more: dict[str, Any] = {"asked": asked, "source": f"/usecases/{usecase.slug}/", "source_digest": digest_of(stated)}
    if row is None:
        return missing("Set the non-functional requirements of the use case.", **more)
    if gaps:
        return failed(f"not there: {', '.join(gaps)}", f"State {', '.join(gaps)}.", **more)
    words = f"p99 {stated['latency_p99_ms']:g} ms at {stated['projected_rps']:g} requests/s, {stated['peak_factor']:g}x at peak"
    return passed(words, **more)


def _phase_planned(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """The rollout is planned: at a gate to a phase, that phase; else the whole plan."""
    usecase = selectors.system_usecase(subject.usecase_id)
    plan = phase_selectors.plan(usecase.id)
    more: dict[str, Any] = {
        "asked": "who, when, under which conditions, by whom", "source": f"/usecases/{usecase.slug}/phases/",
        "source_digest": digest_of([phase_selectors.facts(r.phase) for r in plan]),
    }  # fmt: skip
    chosen = [r for r in plan if subject.phase_id in (None, str(r.phase.id))]
    if not chosen:
        return missing("Plan the rollout phases of the use case.", **more)
    if subject.phase_id is None:
        return passed(f"{len(plan)} phase{'' if len(plan) == 1 else 's'}: {'; '.join(r.cohort.words for r in plan)}", **more)
    row = chosen[0]
    return passed(f"{row.cohort.words}, on {row.phase.planned_on.isoformat()}, owner {row.phase.owner}", **more)


def _earlier_open(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """Every phase before this one is open by a decision that holds, the last of them for some days."""
    usecase = selectors.system_usecase(subject.usecase_id)
    plan, days = phase_selectors.plan(usecase.id), parameters["days"]
    earlier: list[phase_selectors.PhaseRow] = []
    for row in plan:
        if str(row.phase.id) == subject.phase_id:
            break
        earlier.append(row)
    else:
        return missing("This gate is about no phase of the plan.", source=f"/usecases/{usecase.slug}/phases/")
    states = [(str(r.phase.id), r.state, str(r.phase.decision_id), r.why_not) for r in earlier]
    more: dict[str, Any] = {
        "asked": "every phase before it is open" + (f", the last for {days} days" if days else ""),
        "source": f"/usecases/{usecase.slug}/phases/", "source_digest": digest_of(states),
    }  # fmt: skip
    if not earlier:
        return passed("it is the first", **more)
    for row in earlier:
        if not row.serving or row.why_not:
            return failed(f"“{row.phase.name}” is {row.state}", row.why_not or f"Open “{row.phase.name}” first, or put this phase before it.", **more)
    last = max(r.phase.opened_at for r in earlier if r.phase.opened_at)
    since, moment = f"the last since {last:%Y-%m-%d}", subject.as_of or now()
    if moment < last + timedelta(days=days):
        return failed(f"{len(earlier)} open, {since}", f"Wait until {last + timedelta(days=days):%Y-%m-%d %H:%M} UTC.", **more)
    return passed(f"{len(earlier)} open, {since}", **more)


CHECKS = {
    check.name: check
    for check in (
        Check(
            "usecases.complete", "Problem, decision, users, sponsor, owner and integration points are written down", _complete,
            {"integrations": Parameter(int, 1, "integration points that must be named", 0, 100)},
        ),
        Check("usecases.materiality", "The risk tier follows from exposure and purpose", _materiality),
        Check(
            "usecases.successor_in_production", "What comes after it is there", evidence_ending.successor,
            {"manual": Parameter(bool, True, "without a successor it passes, because the policy asks people for the manual process")},
        ),
        Check("usecases.retention_set", "It is set how long its datasets are kept", evidence_ending.retention_set),
        Check("usecases.requirements", "Non-functional requirements are stated", _requirements),
        Check("usecases.phase_planned", "The rollout phases are planned", _phase_planned),
        Check(
            "usecases.earlier_phases_open", "The phases before it are open", _earlier_open,
            {"days": Parameter(int, 0, "days the last of them has been open", 0, 365)},
        ),
    )
}  # fmt: skip

"""Checks that use cases offer to gates."""

from typing import Any

from apps.core.canonical import digest_of
from apps.core.evidence import Check, CheckResult, EvidenceSubject, Parameter, failed, missing, passed
from apps.usecases import rules, selectors

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


CHECKS = {
    check.name: check
    for check in (
        Check(
            "usecases.complete", "Problem, decision, users, sponsor, owner and integration points are written down", _complete,
            {"integrations": Parameter(int, 1, "integration points that must be named", 0, 100)},
        ),
        Check("usecases.requirements", "Non-functional requirements are stated", _requirements),
    )
}  # fmt: skip

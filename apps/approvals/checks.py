"""All checks a policy may name: gathered from the apps that offer them, by an explicit list."""

import importlib
from functools import cache
from typing import Any

from apps.core.errors import DomainError, Invalid
from apps.core.evidence import Check, CheckResult, EvidenceSubject, missing

MODULES = (
    "apps.usecases.evidence",
    "apps.kpis.evidence",
    "apps.registry.evidence",
    "apps.deployments.evidence",
    "apps.loadtests.evidence",
    "apps.monitoring.evidence",
)


@cache
def all_checks() -> dict[str, Check]:
    """Name -> check, of every app in MODULES. A name that two apps offer is an error of ours."""
    found: dict[str, Check] = {}
    for module in MODULES:
        for name, check in importlib.import_module(module).CHECKS.items():
            if name in found or name != check.name:
                raise RuntimeError(f"{module}: check {name!r} is named twice or wrongly")
            found[name] = check
    return found


def run(name: str, subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """One check's result. A check that is not installed, or whose subject is gone, is missing: it never passes."""
    check = all_checks().get(name)
    if check is None:
        return missing("This portal does not offer this check. Install the app that does, or publish a policy without it.")
    try:
        return check.run(subject, parameters)
    except DomainError as error:
        return missing(error.detail)


def settled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Checks by name with their parameters, defaults filled in; raises Invalid naming the field. Use cases ask by settings.PHASE_CHECKS."""
    found = []
    for row in rows:
        check = all_checks().get(row["check"])
        if check is None:
            known = ", ".join(sorted(all_checks()))
            raise Invalid(
                f"checks: there is no check {row['check']!r}. Known: {known}.", errors={"checks": [f"No check {row['check']!r}."]}
            )
        try:
            found.append({"check": check.name, "with": check.settings(row["with"])})
        except Invalid as error:
            raise Invalid(f"checks: {error.detail}", errors={"checks": [error.detail]}) from error
    return found

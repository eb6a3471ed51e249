"""What a gate check is: the small language in which every app offers evidence.

An app offers checks in its `evidence.py` as `CHECKS: dict[str, Check]`. Only `apps.approvals` runs them, through `run`.
A check reads, never writes, and must give the same result again while its source has not changed: no clock readings and no
free-running ages in `found`, only dates, so that "what changed since it was frozen" is a comparison of two results.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from apps.core.canonical import digest_of
from apps.core.errors import Invalid

State = Literal["pass", "fail", "missing"]
KINDS: Mapping[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True, slots=True)
class EvidenceSubject:
    """What a gate is about. Ids are text; `environment` is "", "pilot" or "production" (where the model is to go); phase_id: the
    rollout phase that a gate is to open.

    as_of: the moment of freezing. A source that only grows (measurements, captures) is read up to it, and ages are counted
    from it, so that a frozen check can be repeated later; a correction of what was read still shows. None means now.
    """

    usecase_id: str
    model_version_id: str | None = None
    artifact_digest: str = ""
    environment: str = ""
    model_version_label: str = ""
    as_of: datetime | None = None
    phase_id: str | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    state: `missing` when there is nothing to judge yet, with the remedy in `detail`.
    found / asked: short figures with units for a person ("41 ms", "at most 60 ms").
    source: URL path of the page or API object where it can be looked up; source_digest: digest of what was read there.
    figure / threshold: the two numbers compared, in the unit of `found`, where there are numbers.
    """

    state: State
    found: str = ""
    asked: str = ""
    source: str = ""
    source_digest: str = ""
    figure: float | None = None
    threshold: float | None = None
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; figures are rounded to 12 significant digits so that one value has one text."""
        row = asdict(self)
        for name in ("figure", "threshold"):
            if row[name] is not None:
                row[name] = float(f"{row[name]:.12g}")
        return row

    @property
    def digest(self) -> str:
        """Digest of the whole result."""
        return digest_of(self.as_dict())


def passed(found: str, **more: Any) -> CheckResult:
    """A result that passes."""
    return CheckResult("pass", found, **more)


def failed(found: str, detail: str, **more: Any) -> CheckResult:
    """A result that fails; `detail` says what would change it."""
    return CheckResult("fail", found, detail=detail, **more)


def missing(detail: str, **more: Any) -> CheckResult:
    """Nothing to judge yet; `detail` says what to do."""
    return CheckResult("missing", detail=detail, **more)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a check in a policy: its type, default, bounds and meaning (with the unit)."""

    kind: type
    default: Any
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def read(self, name: str, value: Any) -> Any:
        """The value as the check wants it; raises Invalid naming the parameter."""
        good = isinstance(value, self.kind) or (self.kind is float and isinstance(value, int))
        if not good or (isinstance(value, bool) and self.kind is not bool):
            raise Invalid(f"{name}: give {KINDS[self.kind]} ({self.meaning}).", errors={name: ["Wrong type."]})
        if self.choices and value not in self.choices:
            raise Invalid(f"{name}: choose one of {', '.join(self.choices)} ({self.meaning}).", errors={name: ["Unknown."]})
        if isinstance(value, int | float) and not isinstance(value, bool):
            if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
                raise Invalid(f"{name}: give a value from {self.low} to {self.high} ({self.meaning}).", errors={name: ["Out of range."]})
            return float(value) if self.kind is float else value
        return value


@dataclass(frozen=True, slots=True)
class Check:
    """A named question about a subject that the portal can answer by itself.

    `evaluate(subject, parameters)` gets every declared parameter, defaults filled in.
    """

    name: str
    title: str
    evaluate: Callable[[EvidenceSubject, dict[str, Any]], CheckResult]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Given parameters with defaults filled in; unknown or wrong ones raise Invalid naming the parameter."""
        if unknown := sorted(set(given) - set(self.parameters)):
            known = ", ".join(self.parameters) or "none"
            raise Invalid(f"{self.name}: unknown parameter {unknown[0]!r}. Known: {known}.", errors={unknown[0]: ["Unknown parameter."]})
        return {name: p.read(name, given.get(name, p.default)) for name, p in self.parameters.items()}

    def run(self, subject: EvidenceSubject, given: Mapping[str, Any]) -> CheckResult:
        """Evaluate with the given parameters."""
        return self.evaluate(subject, self.settings(given))

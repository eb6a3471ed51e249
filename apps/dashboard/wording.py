"""The sentence a page opens with: plain words for what the figures say. Pure."""

from collections.abc import Mapping
from typing import Any

from apps.core.templatetags.gatehouse import measured

AT_STAGE = {
    "proposal": "A proposal",
    "poc": "A proof of concept",
    "pilot": "In pilot",
    "production": "In production",
    "retired": "Retired",
    "on_hold": "On hold",
    "stopped": "Stopped",
}
ATTAINED = {"met": "target met", "on_the_way": "on the way", "missed": "beyond the floor", "unknown": "not measured"}


def percent(share: float, digits: int = 0) -> str:
    """A share without its sign: `23%`."""
    return f"{abs(share) * 100:.{digits}f}%"


def improvement(effect: Any) -> str:
    """`23% better (17% to 29%)`, `8% worse (…)`, `no clear change (…)`; empty without an interval."""
    low, middle, high = effect.improvement_low, effect.improvement, effect.improvement_high
    if middle is None or low is None or high is None:
        return ""
    ends = f"{low * 100:+.0f}% to {high * 100:+.0f}%".replace("-", "−")
    if low <= 0 <= high:
        return f"no clear change ({ends})"
    if middle < 0:
        return f"{percent(middle)} worse ({percent(high)} to {percent(low)})"
    return f"{percent(middle)} better ({percent(low)} to {percent(high)})"


def verdict(kpi: Any, head: Mapping[str, Any], effect: Any, subject: str = "It") -> str:
    """One sentence about a KPI: how it stands to baseline and target, or what is missing before that can be said."""
    if head["value"] is None:
        return f"{subject} has not been measured yet." if head["baseline"] is None else f"{subject} has a baseline and was not measured since."
    told = improvement(effect)
    reached = {"met": " and meets the target", "missed": ", beyond the floor", "on_the_way": ", short of the target"}
    end = reached.get(head["attainment"].state, "")
    if not told:
        return f"{subject} stands at {measured(head['value'], kpi.unit)}{end}. {effect.detail}".strip()
    if effect.improvement_low > 0 or effect.improvement_high < 0:
        return f"{subject} is {told} than the baseline{end}."
    return f"{subject} shows {told} against the baseline{end}."


def usecase_state(*, stage: str, days: str, kpi: Any, head: Mapping[str, Any] | None, effect: Any, incidents: int) -> tuple[str, str]:
    """(plain opening, deciding sentence in bold) of the use-case page."""
    opening = f"{AT_STAGE.get(stage, stage)} for {days}."
    if stage == "stopped":
        return opening, "What was learned is kept below."
    if incidents:
        return opening, f"{incidents} incident{' is' if incidents == 1 else 's are'} open: read what happened before you rely on it."
    if kpi is None or head is None:
        return opening, "No KPI is defined yet, so nothing can say whether it helps."
    return opening, verdict(kpi, head, effect, kpi.name)

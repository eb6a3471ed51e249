"""The sentence a page opens with: plain words for what the figures say. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from apps.core.templatetags.gatehouse import concise, measured

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


def _way(improvement: float, direction: str) -> str:
    """`lower` or `higher`: where an improvement of this sign has moved the figure."""
    return "lower" if (improvement > 0) == (direction == "lower") else "higher"


def change(effect: Any, direction: str) -> str:
    """`23% lower, better (17% to 29%)`, `8% higher, worse (5% to 10%)`, `no clear change (10% higher to 20% lower)`; empty without an interval."""
    low, middle, high = effect.improvement_low, effect.improvement, effect.improvement_high
    if middle is None or low is None or high is None:
        return ""
    if low <= 0 <= high:
        return f"no clear change ({percent(low)} {_way(low, direction)} to {percent(high)} {_way(high, direction)})"
    near, far = sorted((abs(low), abs(high)))
    verdict = "better" if middle > 0 else "worse"
    return f"{percent(middle)} {_way(middle, direction)}, {verdict} ({percent(near)} to {percent(far)})"


def difference(effect: Any, unit: str) -> tuple[str, str]:
    """(`96 EUR lower`, `60 EUR to 130 EUR lower`): how far the figure is from the baseline, and its interval; empty without one."""
    low, middle, high = effect.difference_low, effect.difference, effect.difference_high
    if middle is None or low is None or high is None:
        return "", ""
    if low < 0 < high:
        return _moved(middle, unit), f"{_moved(low, unit)} to {_moved(high, unit)}"
    near, far = sorted((abs(low), abs(high)))
    return _moved(middle, unit), f"{_amount(near, unit)} to {_moved(far if middle > 0 else -far, unit)}"


def _amount(value: float, unit: str) -> str:
    return f"{concise(abs(value) * 100)} points" if unit == "share" else measured(abs(value), unit)


def _moved(value: float, unit: str) -> str:
    return f"{_amount(value, unit)} {'higher' if value > 0 else 'lower'}" if value else "no difference"


REACHED = {"met": "meets the target", "missed": "is beyond the floor", "on_the_way": "is short of the target"}


def verdict(kpi: Any, head: Mapping[str, Any], effect: Any, subject: str = "It") -> str:
    """One sentence about a KPI: how it stands to baseline and target, or what is missing before that can be said."""
    if head["value"] is None:
        label = head["version_label"]
        if label and head["measured_last"]:
            return f"{subject} has not been measured with {label}, which answers now. {head['measured_last']} was measured last."
        return (
            f"{subject} has not been measured yet." if head["baseline"] is None else f"{subject} has a baseline and was not measured since."
        )
    told = change(effect, kpi.direction)
    reached = REACHED.get(head["attainment"].state, "")
    if not told:
        return f"{subject} stands at {measured(head['value'], kpi.unit)}{f' and {reached}' if reached else ''}. {effect.detail}".strip()
    verb = "is" if effect.improvement_low > 0 or effect.improvement_high < 0 else "shows"
    against = " against the baseline" if verb == "shows" else " than the baseline"
    parts = told.partition(",") if verb == "is" else (told, "", "")
    return f"{subject} {verb} {parts[0]}{against}{parts[1]}{parts[2]}{f', and {reached}' if reached else ''}."


def against_target(kpi: Any, value: float) -> str:
    """`4,274 EUR above the target of at most 24,956 EUR`; empty without a target."""
    if kpi.target is None:
        return ""
    bound = f"the target of {'at most' if kpi.direction == 'lower' else 'at least'} {measured(kpi.target, kpi.unit)}"
    gap = value - kpi.target
    if not gap or (gap < 0) == (kpi.direction == "lower"):
        return f"meets {bound}"
    return f"is {_amount(gap, kpi.unit)} {'above' if gap > 0 else 'below'} {bound}"


def answer(
    kpi: Any, head: Mapping[str, Any], effect: Any, live: Sequence[str], by_version: Mapping[str, Any] | None = None
) -> tuple[str, str]:
    """(what it is now, how that compares) in plain words, for the head of a KPI's page; by_version: label -> effect."""
    value = head["value"]
    if value is None:
        return verdict(kpi, head, effect), ""
    label = head["version_label"]
    where = f" with {label}" if label else ""
    now = f"{measured(value, kpi.unit)}{where}."
    told = change(effect, kpi.direction)
    goal = against_target(kpi, value)
    said = []
    if told and head["baseline"] is not None:
        said.append(f"Against the baseline of {measured(head['baseline'], kpi.unit)} that is {told}.")
    elif effect.detail:
        said.append(effect.detail)
    if goal:
        said.append(f"It {goal}.")
    last = head["measured_last"]
    if label and not live:
        said.append(f"{label} answers nowhere now.")
    elif label and last and last != label:
        other = (by_version or {}).get(last)
        told = f", at {measured(other.current, kpi.unit)}: {change(other, kpi.direction)}" if other and change(other, kpi.direction) else ""
        said.append(f"{last} was measured last{told}{'' if last in live else '; it no longer answers'}.")
    return now, " ".join(said)


def certainty(effect: Any) -> str:
    """How sure the comparison is: `95% interval from 1,935 observations in 2 periods`, or that there is none."""
    if not effect.n_current:
        return ""
    periods = f"{effect.periods_current} period{'' if effect.periods_current == 1 else 's'}"
    over = f"{effect.n_current:,} observation{'' if effect.n_current == 1 else 's'} in {periods}"
    return f"95% sure within the brackets, from {over}" if effect.improvement_low is not None else f"no interval yet, from {over}"


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

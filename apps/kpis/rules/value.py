"""How far a KPI has come, and what that is worth. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from apps.core.errors import Invalid
from apps.kpis.rules.effects import Effect, Point, combined


@dataclass(frozen=True, slots=True)
class Attainment:
    """state: `met` (target reached), `on_the_way` (floor kept), `missed` (worse than the floor), `unknown`.

    progress: share of the way from baseline to target (1 is there, negative is backwards), None where it has no meaning.
    """

    state: str
    progress: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def at_least_as_good(value: float, bound: float, direction: str) -> bool:
    """Whether the value reaches the bound, in the KPI's own direction."""
    return value >= bound if direction == "higher" else value <= bound


def attainment(
    value: float | None, *, target: float | None, floor: float | None, direction: str, baseline: float | None = None
) -> Attainment:
    """The value against target and floor."""
    if value is None or (target is None and floor is None):
        return Attainment("unknown")
    progress = None
    if target is not None and baseline is not None and target != baseline:
        progress = (value - baseline) / (target - baseline)
    if target is not None and at_least_as_good(value, target, direction):
        return Attainment("met", progress)
    if floor is not None and not at_least_as_good(value, floor, direction):
        return Attainment("missed", progress)
    return Attainment("on_the_way", progress)


def check_target_and_floor(target: float | None, floor: float | None, direction: str) -> None:
    """The target is not worse than the floor."""
    if target is not None and floor is not None and not at_least_as_good(target, floor, direction):
        raise Invalid(
            "floor: it is better than the target. With this direction, the floor is what must at least be kept.",
            errors={"floor": ["Better than the target."]},
        )


def gain(difference: float, direction: str) -> float:
    """A difference in the KPI's unit, so that positive is better."""
    return difference if direction == "higher" else -difference


def worth(gained: float, *, n: int, periods: int, value_per_unit: float, per_n: int | None) -> float:
    """Money: gained units x how often they were gained x money per unit. Once per `per_n` observations, or once a period."""
    times = n / per_n if per_n else periods
    return gained * times * value_per_unit


def value_realised(effect: Effect, *, direction: str, value_per_unit: float, per_n: int | None) -> tuple[float, float, float] | None:
    """(low, middle, high) money of the effect over all that was measured since; None without enough data."""
    if not effect.enough or effect.difference is None or effect.difference_low is None or effect.difference_high is None:
        return None
    ends = sorted(
        worth(gain(d, direction), n=effect.n_current, periods=effect.periods_current, value_per_unit=value_per_unit, per_n=per_n)
        for d in (effect.difference_low, effect.difference, effect.difference_high)
    )
    return ends[0], ends[1], ends[2]


def worth_by_month(
    rows: Iterable[tuple[str, Point]], *, baseline: float, aggregation: str, scale: float, direction: str, value_per_unit: float,
    per_n: int | None,
) -> list[dict[str, Any]]:  # fmt: skip
    """[{month, value, n}] from (month, point) pairs: each month's own figure against the baseline, without an interval."""
    months: dict[str, list[Point]] = {}
    for month, point in rows:
        months.setdefault(month, []).append(point)
    out = []
    for month in sorted(months):
        points: Sequence[Point] = months[month]
        figure = combined(points, aggregation, scale)
        if figure is not None:
            n = sum(p.n for p in points)
            money = worth(gain(figure - baseline, direction), n=n, periods=len(points), value_per_unit=value_per_unit, per_n=per_n)
            out.append({"month": month, "value": money, "n": n})
    return out

"""Is it better than before, and how sure are we? Pure statistics over measured periods.

Every interval is two-sided 95%. Methods, by how the KPI combines periods:

- mean, with n and variance of the single observations: Welch's t interval for the difference (Welch 1947); the relative
  interval is Fieller's for a ratio of two means (Fieller 1954) with Welch-Satterthwaite degrees of freedom.
- mean without variances, and sum: the same with each period's value as one observation.
- ratio and percentile: bootstrap over periods (Efron 1979), 4,000 resamples, seed 20190; percentile interval with
  Hesterberg's (2015) small-sample widening of the levels.

Too few periods or observations give no interval and no percentage, but a sentence that says what is missing.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

CONFIDENCE = 0.95
RESAMPLES, SEED, CHUNK = 4_000, 20_190, 250
MIN_OBSERVATIONS = 30  # single observations on each side, where their variance is known
MIN_PERIODS_MEAN = 8  # periods on each side, where each period is one observation
MIN_PERIODS_BOOTSTRAP = 10


@dataclass(frozen=True, slots=True)
class Point:
    """One measured period. value in the KPI's unit (scale applied), n single observations with variance in unit squared."""

    value: float
    n: int = 1
    numerator: float | None = None
    denominator: float | None = None
    variance: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Periods combined: the value, its standard error, and the units of observation the error rests on."""

    value: float
    stderr: float | None
    n: int
    periods: int
    units: int
    unit: str  # "observations" or "periods"
    need: int

    @property
    def enough(self) -> bool:
        """Whether an interval is given at all."""
        return self.units >= self.need


@dataclass(frozen=True, slots=True)
class Effect:
    """A comparison with the baseline.

    difference = current - baseline, in the KPI's unit; improvement = share of the baseline by which it got better
    (0.23 is 23% better, negative is worse), whichever way is better. Intervals are None when `enough` is False.
    """

    enough: bool
    method: str
    detail: str
    baseline: float | None
    current: float | None
    n_baseline: int
    n_current: int
    periods_baseline: int
    periods_current: int
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    improvement: float | None = None
    improvement_low: float | None = None
    improvement_high: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def combined(points: Sequence[Point], aggregation: str, scale: float = 1.0) -> float | None:
    """The value of several periods together; None of none. A sum is given per period, so that lengths compare."""
    if not points:
        return None
    if aggregation == "ratio":
        below = math.fsum(p.denominator or 0.0 for p in points)
        return math.fsum(p.numerator or 0.0 for p in points) / below * scale if below else None
    if aggregation == "sum":
        return math.fsum(p.value for p in points) / len(points)
    return math.fsum(p.value * p.n for p in points) / sum(p.n for p in points)


def _pooled_variance(points: Sequence[Point], mean: float) -> float:
    """Variance of all single observations from each period's n, mean and variance (within plus between)."""
    total = sum(p.n for p in points)
    within = math.fsum((p.n - 1) * (p.variance or 0.0) for p in points)
    between = math.fsum(p.n * (p.value - mean) ** 2 for p in points)
    return (within + between) / (total - 1)


def _rests_on_observations(points: Sequence[Point]) -> bool:
    return all(p.variance is not None for p in points) and sum(p.n for p in points) > len(points)


def _weights(points: Sequence[Point], aggregation: str) -> tuple[np.ndarray, np.ndarray]:
    """What a resample adds up: (above, below) so that the value is sum(above) / sum(below)."""
    if aggregation == "ratio":
        return np.array([p.numerator for p in points], float), np.array([p.denominator for p in points], float)
    n = np.array([p.n for p in points], float)
    return np.array([p.value for p in points], float) * n, n


def bootstrap_values(points: Sequence[Point], aggregation: str, scale: float, rng: np.random.Generator) -> np.ndarray:
    """RESAMPLES values of the statistic, periods drawn with replacement."""
    above, below = _weights(points, aggregation)
    count, out = len(points), np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, CHUNK):
        draws = rng.multinomial(count, np.full(count, 1 / count), size=min(CHUNK, RESAMPLES - start)).astype(float)
        out[start : start + len(draws)] = (draws @ above) / (draws @ below)
    return out * (scale if aggregation == "ratio" else 1.0)


def summarise(points: Sequence[Point], aggregation: str, scale: float = 1.0) -> Summary:
    """Value and standard error of one side. Raises ValueError for no points."""
    value = combined(points, aggregation, scale)
    if value is None:
        raise ValueError("nothing to summarise")
    n, periods = sum(p.n for p in points), len(points)
    if aggregation == "mean" and _rests_on_observations(points):
        return Summary(value, math.sqrt(_pooled_variance(points, value) / n), n, periods, n, "observations", MIN_OBSERVATIONS)
    if aggregation in ("mean", "sum"):
        values = [p.value for p in points]
        stderr = float(np.std(values, ddof=1)) / math.sqrt(periods) if periods > 1 else None
        return Summary(float(np.mean(values)), stderr, n, periods, periods, "periods", MIN_PERIODS_MEAN)
    spread = None
    if periods >= MIN_PERIODS_BOOTSTRAP:
        spread = float(np.std(bootstrap_values(points, aggregation, scale, np.random.default_rng(SEED)), ddof=1))
    return Summary(value, spread, n, periods, periods, "periods", MIN_PERIODS_BOOTSTRAP)


def welch(m1: float, se1: float, n1: int, m2: float, se2: float, n2: int) -> tuple[float, float, float]:
    """(low, high, degrees of freedom) of m2 - m1; se are standard errors of the means. n1 = 0: m1 is a given number."""
    spread = math.hypot(se1, se2)
    if spread == 0:
        return m2 - m1, m2 - m1, math.inf
    parts = (se1**4 / (n1 - 1) if n1 > 1 else 0.0) + (se2**4 / (n2 - 1) if n2 > 1 else 0.0)
    df = spread**4 / parts if parts else math.inf
    half = float(special.stdtrit(df, 0.5 + CONFIDENCE / 2)) * spread
    return m2 - m1 - half, m2 - m1 + half, df


def fieller(m1: float, se1: float, m2: float, se2: float, df: float) -> tuple[float, float] | None:
    """Interval of the ratio m2 / m1 of independent means; None when m1 is not clearly different from zero."""
    t = float(special.stdtrit(df, 0.5 + CONFIDENCE / 2))
    g = (t * se1 / m1) ** 2 if m1 else math.inf
    if g >= 1:
        return None
    ratio = m2 / m1
    half = t / abs(m1) * math.sqrt(max(se2**2 * (1 - g) + ratio**2 * se1**2, 0.0)) / (1 - g)
    return ratio / (1 - g) - half, ratio / (1 - g) + half


def _percentiles(values: np.ndarray, periods: int) -> tuple[float, float]:
    """95% percentile interval, its levels widened for few periods as by Hesterberg (2015), section 4."""
    tail = (1 - CONFIDENCE) / 2
    level = float(special.ndtr(math.sqrt(periods / (periods - 1)) * special.stdtrit(periods - 1, tail)))
    low, high = np.quantile(values, [level, 1 - level])
    return float(low), float(high)


def _better(low: float, high: float, baseline: float, direction: str) -> tuple[float, float]:
    """Ratios current / baseline as shares of improvement, low end first."""
    sign = (1 if direction == "higher" else -1) * (1 if baseline > 0 else -1)
    ends = sorted((sign * (low - 1), sign * (high - 1)))
    return ends[0], ends[1]


def _too_little(before: Summary | None, after: Summary | None) -> str:
    """Empty when both sides suffice; else what is missing."""
    for name, side in (("before", before), ("since", after)):
        if side is not None and not side.enough:
            return f"Too little data {name}: {side.units} {side.unit}, at least {side.need} needed."
    return ""


def effect(
    baseline: Sequence[Point],
    current: Sequence[Point],
    *,
    aggregation: str,
    direction: str,
    scale: float = 1.0,
    attested: float | None = None,
) -> Effect:
    """Compare the periods since with the periods before. `attested` is a baseline stated by a person instead of measured."""
    before = summarise(baseline, aggregation, scale) if attested is None and baseline else None
    after = summarise(current, aggregation, scale) if current else None
    base = attested if attested is not None else before.value if before else None
    facts: dict[str, Any] = {
        "baseline": base, "current": after.value if after else None,
        "n_baseline": before.n if before else 0, "n_current": after.n if after else 0,
        "periods_baseline": before.periods if before else 0, "periods_current": after.periods if after else 0,
    }  # fmt: skip
    if base is None:
        return Effect(False, "", "There is no baseline. Freeze one from measurements made without the model.", **facts)
    if after is None:
        return Effect(False, "", "Nothing has been measured since.", **facts)
    if detail := _too_little(before, after):
        return Effect(False, "", detail, **facts)
    compare = _by_bootstrap if aggregation in ("ratio", "percentile") else _by_welch
    return compare(baseline, current, before, after, base, facts, aggregation, direction, scale)


def _by_welch(
    baseline: Sequence[Point], current: Sequence[Point], before: Summary | None, after: Summary, base: float, facts: dict[str, Any],
    aggregation: str, direction: str, scale: float,
) -> Effect:  # fmt: skip
    se1, n1 = (before.stderr or 0.0, before.units) if before else (0.0, 0)
    low, high, df = welch(base, se1, n1, after.value, after.stderr or 0.0, after.units)
    ends = fieller(base, se1, after.value, after.stderr or 0.0, df)
    against = "" if before else ", against an attested figure"
    method = f"Welch's t interval over {after.unit}{against}, 95%; relative: Fieller"
    more: dict[str, Any] = {"difference": after.value - base, "difference_low": low, "difference_high": high}
    detail = ""
    if ends is None:
        detail = "The baseline is too close to zero for a relative figure."
    else:
        more["improvement_low"], more["improvement_high"] = _better(*ends, base, direction)
        more["improvement"] = _better(after.value / base, after.value / base, base, direction)[0]
    return Effect(True, method, detail, **facts, **more)


def _by_bootstrap(
    baseline: Sequence[Point], current: Sequence[Point], before: Summary | None, after: Summary, base: float, facts: dict[str, Any],
    aggregation: str, direction: str, scale: float,
) -> Effect:  # fmt: skip
    rng = np.random.default_rng(SEED)
    old = bootstrap_values(baseline, aggregation, scale, rng) if before else np.full(RESAMPLES, base)
    new = bootstrap_values(current, aggregation, scale, rng)
    fewest = min(before.periods, after.periods) if before else after.periods
    low, high = _percentiles(new - old, fewest)
    against = "" if before else ", against an attested figure"
    method = f"bootstrap over periods, {RESAMPLES:,} resamples, seed {SEED}{against}; 95% percentile interval"
    more: dict[str, Any] = {"difference": after.value - base, "difference_low": low, "difference_high": high}
    detail = ""
    if base == 0 or np.any(old == 0) or np.any(np.sign(old) != np.sign(base)):
        detail = "The baseline is too close to zero for a relative figure."
    else:
        more["improvement_low"], more["improvement_high"] = _better(*_percentiles(new / old, fewest), base, direction)
        more["improvement"] = _better(after.value / base, after.value / base, base, direction)[0]
    return Effect(True, method, detail, **facts, **more)

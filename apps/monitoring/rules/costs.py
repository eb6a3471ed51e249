"""What predictions cost once the truth is known, and whether one version is dearer than the other on the same rows. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[np.float64]


def decisions_of(predictions: Numbers, positive: float) -> NDArray[np.bool_]:
    """True where the prediction is the positive class."""
    return np.isclose(predictions, positive)


def row_costs(predicted: NDArray[np.bool_], actual: NDArray[np.bool_], *, miss_cost: float, false_alarm_cost: float) -> Numbers:
    """Money for each row: `miss_cost` where the event came unpredicted, `false_alarm_cost` where it was predicted in vain."""
    return np.where(actual & ~predicted, miss_cost, np.where(predicted & ~actual, false_alarm_cost, 0.0))


@dataclass(frozen=True, slots=True)
class Sums:
    """Paired differences, summed so that windows add up: n, sum and sum of squares of (new - old) per row, in money."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, new: Numbers, old: Numbers) -> "Sums":
        """Of two costs for each of the same rows."""
        difference = new - old
        return cls(len(difference), float(difference.sum()), float((difference**2).sum()))

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Sums":
        """Of a window's statistics."""
        return cls(int(stored["n"]), float(stored["total"]), float(stored["squares"]))

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.n + other.n, self.total + other.total, self.squares + other.squares)

    def as_dict(self) -> dict[str, float]:
        """Plain JSON."""
        return {"n": self.n, "total": self.total, "squares": self.squares}


def paired_interval(sums: Sums, *, confidence: float, per: float = 1000.0) -> tuple[float, float, float]:
    """(low, mean, high) of the paired difference for `per` rows: Student's t interval of a mean (n - 1 degrees of freedom).

    Pairing removes what the rows have in common, so that only rows on which the versions disagree add to the variance.
    Infinite ends for fewer than two rows.
    """
    if sums.n == 0:
        return -math.inf, math.nan, math.inf
    mean = sums.total / sums.n
    if sums.n < 2:
        return -math.inf, mean * per, math.inf
    variance = max(0.0, (sums.squares - sums.n * mean**2) / (sums.n - 1))
    half = float(special.stdtrit(sums.n - 1, 0.5 + confidence / 2)) * math.sqrt(variance / sums.n)
    return (mean - half) * per, mean * per, (mean + half) * per


def compare(sums: Sums, *, bound_per_1k: float, min_pairs: int, confidence: float) -> dict[str, Any]:
    """Judge new against old: `worse` when the lower end of the interval of (new - old) per 1,000 rows is above the bound."""
    low, mean, high = paired_interval(sums, confidence=confidence)
    enough = sums.n >= min_pairs
    finite = math.isfinite(low) and math.isfinite(high)
    return {
        "state": "too_few" if not enough else "worse" if low > bound_per_1k else "quiet",
        "pairs": sums.n,
        "difference_per_1k": round(mean, 6) if sums.n else None,
        "low_per_1k": round(low, 6) if finite else None,
        "high_per_1k": round(high, 6) if finite else None,
        "bound_per_1k": bound_per_1k,
        "confidence": confidence,
        "min_pairs": min_pairs,
    }


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric over one window: mean of n observations, their sample variance, and the sums behind a ratio."""

    value: float
    n: int
    variance: float
    numerator: float
    denominator: float


def _mean(observations: Numbers, *, unit: float = 1.0) -> Figure | None:
    n = len(observations)
    if n == 0:
        return None
    variance = float(observations.var(ddof=1)) if n > 1 else 0.0
    return Figure(float(observations.mean()) * unit, n, variance * unit**2, float(observations.sum()) * unit, float(n))


def figures(predicted: NDArray[np.bool_], actual: NDArray[np.bool_], *, miss_cost: float, false_alarm_cost: float) -> dict[str, Figure]:
    """Metrics of labelled rows, those that are defined: cost_per_1k (money), recall, precision, positive_share, accuracy (shares)."""
    costs = row_costs(predicted, actual, miss_cost=miss_cost, false_alarm_cost=false_alarm_cost)
    found = {
        "cost_per_1k": _mean(costs, unit=1000.0),
        "recall": _mean(predicted[actual].astype(float)),
        "precision": _mean(actual[predicted].astype(float)),
        "positive_share": _mean(predicted.astype(float)),
        "accuracy": _mean((predicted == actual).astype(float)),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


METRICS = ("cost_per_1k", "recall", "precision", "positive_share", "accuracy")


def measurement(figure: Figure, *, aggregation: str, scale: float) -> dict[str, Any]:
    """The fields of a KPI measurement for this figure, as the KPI combines periods. The value is the figure's either way."""
    if aggregation == "ratio":
        return {"numerator": figure.numerator / scale, "denominator": figure.denominator, "n": figure.n}
    return {"value": figure.value, "n": figure.n, "variance": figure.variance}

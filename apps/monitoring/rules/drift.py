"""Is the traffic still like the reference? Population stability index over quantile bins. Pure.

The index is the symmetric Kullback-Leibler divergence between two binned distributions (Kullback 1959; as PSI in Siddiqi,
"Credit Risk Scorecards", 2006): sum over bins of (a - e) * ln(a / e). Without any drift, PSI / (1/n + 1/m) of samples of n and
m rows is close to a chi-squared distribution with B - 1 degrees of freedom, B bins (Yurdakul and Naranjo, "Statistical
properties of the population stability index", Journal of Risk Model Validation 14, 2020). A feature counts as drifted only
when its index is beyond the bound and beyond what chance explains at that sample size, for all features together.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

# Added to every bin's count on both sides (Jeffreys' prior), so that an empty bin does not make the index infinite.
PRIOR = 0.5

Values = NDArray[Any]


def psi(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Population stability index of two lists of shares, all positive, each summing to 1. 0 when they are equal."""
    e, a = np.asarray(expected, float), np.asarray(actual, float)
    return float(np.sum((a - e) * np.log(a / e)))


def shares(counts: Sequence[int]) -> list[float]:
    """Shares of binned counts, PRIOR added to each bin."""
    smoothed = np.asarray(counts, float) + PRIOR
    return list((smoothed / smoothed.sum()).tolist())


def bins_of(values: Values, bins: int) -> dict[str, Any]:
    """Bins that split `values` evenly, with their counts: a feature's reference.

    Numbers: `{"kind": "number", "edges": [...], "counts": [...]}`; inner edges at quantiles, or between values when there are few
    of them; the outer bins are open, the last count is of missing values. Text: `{"kind": "text", "values": [...], "counts"}`
    with the most frequent values, then the rest, then missing.
    """
    if values.dtype == object:
        known = [v for v in values if v is not None]
        names, counts = np.unique(np.asarray(known, dtype=str), return_counts=True)
        top = names[np.argsort(-counts, kind="stable")][:bins]
        made: dict[str, Any] = {"kind": "text", "values": [str(v) for v in top]}
    else:
        known_numbers = values[np.isfinite(values)]
        distinct = np.unique(known_numbers)
        if len(distinct) <= bins:
            edges = (distinct[:-1] + distinct[1:]) / 2
        else:
            edges = np.unique(np.quantile(known_numbers, np.linspace(0, 1, bins + 1)[1:-1]))
        made = {"kind": "number", "edges": [float(e) for e in edges]}
    return made | {"counts": counts_in(made, values)}


def counts_in(reference: Mapping[str, Any], values: Values) -> list[int]:
    """How many of `values` fall in each bin of a feature's reference."""
    if reference["kind"] == "text":
        place = {name: index for index, name in enumerate(reference["values"])}
        found = np.zeros(len(place) + 2, int)
        for value in values:
            found[len(place) + 1 if value is None else place.get(str(value), len(place))] += 1
        return [int(c) for c in found]
    numbers = values.astype(float)
    finite = np.isfinite(numbers)
    # An edge belongs to the bin above it: a quantile edge of integers is a value that occurs.
    index = np.searchsorted(np.asarray(reference["edges"], float), numbers[finite], side="right")
    counts = np.bincount(index, minlength=len(reference["edges"]) + 1)
    return [*(int(c) for c in counts), int((~finite).sum())]


def chance_bound(*, bins: int, n: int, m: int, features: int, confidence: float) -> float:
    """The index that chance alone stays below in all `features` together with this confidence (Bonferroni)."""
    quantile = special.chdtri(max(1, bins - 1), (1 - confidence) / max(1, features))
    return float((1 / n + 1 / m) * quantile)


def judge(reference: Mapping[str, Any], values: Mapping[str, Values], *, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Compare a window with the reference, feature by feature.

    reference: `{"n": rows, "features": {name: bins_of(...)}}`; values: name -> the window's values (missing names count as
    missing values). Returns `{"state": "quiet|drift", "n", "features": {name: {"psi", "bound", "drifted"}}, "drifted": [names],
    "drifted_share", "worst"}`.
    """
    n = max((len(v) for v in values.values()), default=0)
    out: dict[str, dict[str, Any]] = {}
    for name, bins in reference["features"].items():
        found = values.get(name)
        counts = (
            counts_in(bins, found)
            if found is not None
            else counts_in(bins, np.full(n, np.nan) if bins["kind"] == "number" else np.full(n, None))
        )
        used = sum(1 for e, a in zip(bins["counts"], counts, strict=True) if e or a)
        index = psi(shares(bins["counts"]), shares(counts))
        bound = max(
            settings["psi_bound"],
            chance_bound(bins=used, n=n, m=reference["n"], features=len(reference["features"]), confidence=settings["confidence"]),
        )
        out[name] = {"psi": round(index, 6), "bound": round(bound, 6), "drifted": index > bound}
    drifted = sorted((f for f, r in out.items() if r["drifted"]), key=lambda f: -out[f]["psi"])
    share = len(drifted) / len(out) if out else 0.0
    return {
        "state": "drift" if drifted and share >= settings["drifted_share"] else "quiet",
        "n": n,
        "features": out,
        "drifted": drifted,
        "drifted_share": round(share, 6),
        "drifted_share_bound": settings["drifted_share"],
        "worst": max(out, key=lambda f: out[f]["psi"], default=""),
    }


def reference_of(columns: Mapping[str, Values], *, bins: int, source: str) -> dict[str, Any]:
    """The stored reference of a sample: `{"n", "source", "bins", "features"}`."""
    n = max((len(v) for v in columns.values()), default=0)
    return {"n": n, "source": source, "bins": bins, "features": {name: bins_of(v, bins) for name, v in sorted(columns.items())}}


def as_values(column: Sequence[Any]) -> Values:
    """A column of plain values as numbers (missing: not-a-number) or, when one is text, as objects (missing: None)."""
    if all(v is None or isinstance(v, bool | int | float) for v in column):
        return np.array([math.nan if v is None else float(v) for v in column], float)
    return np.array([None if v is None else str(v) for v in column], object)

"""The sample story's rows: read, split by the written rule, measure, dump.

Runs in the environment that holds statsmodels and pandas (`.venv-kserve`). Other processes read the JSON
files that `python -m demo.data --out DIR` writes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from statsmodels.datasets import randhie

from demo import story

WINDOWS: Final = tuple(story.WINDOW_PERCENT)
# What stays the same for a member over the years: plan terms and the entry questionnaire.
_CONSTANT: Final = ["lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp"]
# Run length -> years of one member; other lengths cannot be told apart (see story.SPLIT_RULE).
_YEARS_OF_RUN: Final = {3: 3, 5: 5, 6: 3, 10: 5}


@dataclass(frozen=True)
class Window:
    """Rows of one window: `features` (n x 9, float64, columns as story.FEATURES), `label` and `request_id` (n)."""

    name: str
    features: pd.DataFrame
    label: np.ndarray
    request_id: list[str]

    def __len__(self) -> int:
        return len(self.request_id)

    def rows(self) -> list[dict[str, object]]:
        """JSON-safe rows: `{"request_id": str, "features": {name: float}, "label": 0 | 1}`."""
        records = self.features.to_dict(orient="records")
        return [
            {"request_id": rid, "features": record, "label": int(label)}
            for rid, record, label in zip(self.request_id, records, self.label, strict=True)
        ]


def member_years() -> pd.DataFrame:
    """All member years that can be told apart, in the file's order.

    Columns: `member` (0, 1, ...), `year` (1 is the first contract year), `visits` (of that year), story.FEATURES.
    """
    source = randhie.load_pandas().data
    run = (source[_CONSTANT] != source[_CONSTANT].shift()).any(axis=1).cumsum()
    run_length = run.map(run.value_counts())
    source = source.assign(_run=run, _years=run_length.map(_YEARS_OF_RUN)).dropna(subset=["_years"])
    place = source.groupby("_run").cumcount()
    year = place % source["_years"]
    member = (year == 0).cumsum() - 1
    visits_before = source["mdvis"].shift(1, fill_value=0).where(year > 0, 0)
    frame = pd.DataFrame(
        {
            "member": member.astype(int),
            "year": year.astype(int) + 1,
            "visits": source["mdvis"].astype(int),
            "coinsurance_pct": (np.exp(source["lncoins"]) - 1).round(),
            "individual_deductible": source["idp"],
            # The source holds ln(max(1, USD)), so 0 stands for no payment.
            "participation_incentive_usd": np.exp(source["lpi"]).where(source["lpi"] > 0, 0).round(2),
            "log_max_expenditure": source["fmde"].round(4),
            "physical_limitation": source["physlm"].round(4),
            "chronic_conditions": source["disea"].round(4),
            "health_rating": source["hlthg"] + 2 * source["hlthf"] + 3 * source["hlthp"],
            "visits_last_year": visits_before,
            "contract_years": year,
        }
    )
    frame[list(story.FEATURES)] = frame[list(story.FEATURES)].astype("float64")
    return frame.reset_index(drop=True)


def load_windows() -> dict[str, Window]:
    """The five windows of story.SPLIT_RULE, keyed by WINDOWS. The same on every machine and every run."""
    frame = member_years()
    frame["window"] = [_window_of(int(member)) for member in frame["member"]]
    is_live = frame["window"] == "live"
    frame = frame[is_live == (frame["year"] == 1)].copy()
    frame["request_id"] = [f"m{member:05d}-y{year}" for member, year in zip(frame["member"], frame["year"], strict=True)]
    frame["order"] = [_digest(rid) for rid in frame["request_id"]]
    frame = frame.sort_values("order")
    windows = {}
    for name in WINDOWS:
        part = frame[frame["window"] == name]
        windows[name] = Window(
            name=name,
            features=part[list(story.FEATURES)].reset_index(drop=True),
            label=(part["visits"] >= story.HIGH_USE_VISITS).to_numpy(dtype="int64"),
            request_id=part["request_id"].tolist(),
        )
    return windows


def rule_of_thumb(features: pd.DataFrame) -> np.ndarray:
    """The desk's rule today for many rows: n decisions, 1 is call."""
    return np.array([story.rule_of_thumb(row) for row in features.to_dict(orient="records")], dtype="int64")


def row_costs_usd(decision: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Cost of each decision in USD (n): a miss costs story.MISS_USD, a needless call story.FALSE_ALARM_USD."""
    miss = (decision == 0) & (label == 1)
    false_alarm = (decision == 1) & (label == 0)
    return miss * story.MISS_USD + false_alarm * story.FALSE_ALARM_USD


def mean_per_1k(costs_usd: np.ndarray) -> tuple[float, float, float]:
    """Mean per 1,000 rows with its two-sided 95% normal interval: `(mean, low, high)` in USD."""
    mean = float(costs_usd.mean())
    half = 1.959964 * float(costs_usd.std(ddof=1)) / math.sqrt(len(costs_usd))
    return 1_000 * mean, 1_000 * (mean - half), 1_000 * (mean + half)


def psi(reference: np.ndarray, window: np.ndarray, *, bins: int = story.THRESHOLDS.psi_bins) -> float:
    """Population stability index of one feature: sum over bins of (q - p) ln(q / p).

    Bins are the reference's quantiles, equal edges merged; a share of 0 counts as half a row.
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for values in (reference, window):
        # side="left": a value equal to an edge belongs to the bin below it, so that an atom stays in one bin.
        counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
        shares.append(np.maximum(counts, 0.5) / len(values))
    expected, actual = shares
    return float(((actual - expected) * np.log(actual / expected)).sum())


def psi_by_feature(reference: Window, window: Window) -> dict[str, float]:
    """PSI of each of story.FEATURES, `window` against `reference`."""
    return {name: psi(reference.features[name].to_numpy(), window.features[name].to_numpy()) for name in story.FEATURES}


def dump(out: Path) -> dict[str, int]:
    """Write `<window>.json` for each window under `out` and return the row counts. Same bytes every time."""
    out.mkdir(parents=True, exist_ok=True)
    windows = load_windows()
    for name, window in windows.items():
        text = json.dumps({"window": name, "features": story.FEATURES, "rows": window.rows()}, sort_keys=True)
        (out / f"{name}.json").write_text(text, encoding="utf-8")
    return {name: len(window) for name, window in windows.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _window_of(member: int) -> str:
    place = int(_digest(f"member-{member}"), 16) % 100
    for name, percent in story.WINDOW_PERCENT.items():
        if place < percent:
            return name
        place -= percent
    raise AssertionError("story.WINDOW_PERCENT does not add up to 100")


def main() -> None:
    """Command line: dump the windows and print their sizes as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for <window>.json")
    print(json.dumps(dump(parser.parse_args().out)))


if __name__ == "__main__":
    main()

"""Measure the story: drift of each window and cost of each version, from the models as registered.

`MLFLOW_TRACKING_URI=... python -m demo.measure` prints one JSON object; the figures in demo/README.md are its own.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import mlflow.sklearn
import numpy as np

from demo import data, story

MEASURED = ("validation", "control", "live")


def decisions(model_name: str, windows: dict[str, data.Window]) -> dict[str, dict[str, np.ndarray]]:
    """0/1 decisions by chooser (`rule_of_thumb`, `v1`, `v2`) and window. Loads versions 1 and 2 from the registry."""
    choosers: dict[str, Any] = {"rule_of_thumb": data.rule_of_thumb}
    for version in (1, 2):
        choosers[f"v{version}"] = mlflow.sklearn.load_model(f"models:/{model_name}/{version}").predict
    return {name: {window: np.asarray(choose(windows[window].features)) for window in MEASURED} for name, choose in choosers.items()}


def measure(model_name: str) -> dict[str, Any]:
    """All figures of the story.

    Keys: `rows` and `high_use_share` by window; `psi` by window and feature, against reference; `cost_per_1k_usd`
    by chooser and window as [mean, low, high] (95%); `recall` and `contacted_share` alike; `v2_minus_v1_per_1k_usd`
    by window: the paired difference, row by row, as [mean, low, high].
    """
    windows = data.load_windows()
    decided = decisions(model_name, windows)
    costs = {
        name: {window: data.row_costs_usd(made, windows[window].label) for window, made in by_window.items()}
        for name, by_window in decided.items()
    }
    return {
        "rows": {name: len(window) for name, window in windows.items()},
        "high_use_share": {name: float(window.label.mean()) for name, window in windows.items()},
        "psi": {name: data.psi_by_feature(windows["reference"], windows[name]) for name in MEASURED},
        "cost_per_1k_usd": {
            name: {window: data.mean_per_1k(cost) for window, cost in by_window.items()} for name, by_window in costs.items()
        },
        "recall": {
            name: {window: float(made[windows[window].label == 1].mean()) for window, made in by_window.items()}
            for name, by_window in decided.items()
        },
        "contacted_share": {
            name: {window: float(made.mean()) for window, made in by_window.items()} for name, by_window in decided.items()
        },
        "v2_minus_v1_per_1k_usd": {window: data.mean_per_1k(costs["v2"][window] - costs["v1"][window]) for window in MEASURED},
    }


def main() -> None:
    """Command line: print the figures as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model-name", default=story.MODEL_NAME)
    print(json.dumps(measure(parser.parse_args().model_name)))


if __name__ == "__main__":
    main()

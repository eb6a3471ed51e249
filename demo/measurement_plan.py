"""By which rules the story measures: filed with the use case before anything is trained, and compared at the end with those it used.

Standard library only. A plan is a plain document; its digest is of its canonical JSON, so that anybody can repeat it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from demo import story

FILE = "measurement-plan.json"
T = story.THRESHOLDS


def canonical(plan: Mapping[str, Any]) -> bytes:
    """The plan as the bytes that are filed and digested (RFC 8785 for what a plan holds): UTF-8, names sorted, no spaces, 1000 not 1000.0."""
    return json.dumps(_plain(plan), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def digest(content: bytes) -> str:
    """`sha256:...` of filed bytes, as the portal writes it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def windows(folder: Path) -> dict[str, str]:
    """Digest of each window's dumped rows."""
    return {name: digest((folder / f"{name}.json").read_bytes()) for name in story.WINDOW_PERCENT}


def plan(rows: Mapping[str, str], inputs: Mapping[str, str]) -> dict[str, Any]:
    """All rules that are read back at the end: how rows are split, what a label and a wrong decision is, targets, demands, thresholds.

    rows: see `windows`; inputs: what a run must log as the digest of the windows that it learns from and is measured on.
    """
    return {
        "dataset": story.DATASET_SOURCE,
        "split_rule": story.SPLIT_RULE,
        "windows": dict(rows),
        "run_inputs": dict(inputs),
        "high_use_visits": story.HIGH_USE_VISITS,
        "money_usd": {"miss": story.MISS_USD, "false_alarm": story.FALSE_ALARM_USD},
        "kpis": {k.key: _levels(k, k.floor_level, k.target_level) for k in story.KPIS},
        "requirements": dict(story.NFRS),
        "thresholds": {name: value for name, value in asdict(T).items() if name not in story.OF_THE_TELLING},
    }


def _levels(kpi: story.Kpi, floor: float, target: float) -> dict[str, Any]:
    way = "lower" if kpi.lower_is_better else "higher"
    return {"better": way, "floor": floor, "target": target, "of": "percent of the frozen baseline" if kpi.in_percent else kpi.unit}


def monitors() -> dict[str, dict[str, Any]]:
    """Settings of each kind of monitor, from the thresholds."""
    return {
        "drift": {
            "psi_bound": T.psi_bound, "bins": T.psi_bins, "min_rows": T.min_window_rows, "drifted_share": T.drifted_feature_share,
        },
        "cost": {
            "miss_cost": story.MISS_USD, "false_alarm_cost": story.FALSE_ALARM_USD, "bound_per_1k": T.cost_bound_usd_per_1k,
            "confidence": T.cost_confidence, "min_pairs": T.min_labelled_pairs, "min_rows": T.min_window_rows,
        },
        "latency": {"p99_ms": T.alert_p99_ms},
    }  # fmt: skip


def used(
    *,
    rows: Mapping[str, str],
    versions: Sequence[Mapping[str, Any]],
    kpis: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, float],
    requirements: Mapping[str, Any],
    configs: Sequence[Mapping[str, Any]],
    canary: Mapping[str, Any],
    load_tests: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The same document from what the portal holds of the rules that were really used.

    rows: of the files that were sent; versions: model versions with the run's params and inputs; kpis by key as defined, baselines the frozen values; configs:
    monitors with kind and config; canary: the rollout; load_tests: all runs. Where several places hold one rule and they differ,
    all of them stand in the document, and it is no longer the plan.
    """
    logged = [(json.loads(i["source"])["tags"], i["digest"]) for v in versions for i in v["inputs"]]
    made: dict[str, Any] = {
        "dataset": _one(tags["dataset"] for tags, _ in logged),
        "split_rule": _one(tags["split_rule"] for tags, _ in logged),
        "windows": dict(rows),
        "run_inputs": {
            name: _one(digest for tags, digest in logged if tags["window"] == name) for name in {t["window"] for t, _ in logged}
        },
    }
    made["high_use_visits"] = _one(int(v["params"]["high_use_visits"]) for v in versions)
    config = {kind: [c["config"] for c in configs if c["kind"] == kind] for kind in monitors()}
    made["money_usd"] = {
        name: _one([*(float(v["params"][f"{name}_usd"]) for v in versions), *(c[f"{name}_cost"] for c in config["cost"])])
        for name in ("miss", "false_alarm")
    }
    made["kpis"] = {}
    for kpi in story.KPIS:
        held, base = kpis[kpi.key], baselines.get(kpi.key, 0.0)
        levels = [_level(kpi, held[end], base, planned) for end, planned in (("floor", kpi.floor_level), ("target", kpi.target_level))]
        made["kpis"][kpi.key] = _levels(kpi, *levels) | {"better": held["direction"]}
    named = {"projected_load_rps": "projected_rps"}
    made["requirements"] = {name: float(requirements[named.get(name, name)]) for name in story.NFRS}
    made["thresholds"] = {
        "psi_bound": _one(c["psi_bound"] for c in config["drift"]),
        "psi_bins": _one(c["bins"] for c in config["drift"]),
        "drifted_feature_share": _one(c["drifted_share"] for c in config["drift"]),
        "min_window_rows": _one(c["min_rows"] for kind in ("drift", "cost") for c in config[kind]),
        "cost_bound_usd_per_1k": _one(c["bound_per_1k"] for c in config["cost"]),
        "cost_confidence": _one(c["confidence"] for c in config["cost"]),
        "min_labelled_pairs": _one(c["min_pairs"] for c in config["cost"]),
        "alert_p99_ms": _one(c["p99_ms"] for c in config["latency"]),
        "canary_share": canary["steps"][0] / 100,
        "bake_seconds": int(canary["bake_s"]),
        "load_test_seconds": _one(int(r["duration_s"]) for r in load_tests),
        "load_test_error_share": _one(r["max_error_share"] for r in load_tests),
        "load_test_seed": _one(r["seed"] for r in load_tests),
    }
    return made


def _level(kpi: story.Kpi, value: float, baseline: float, planned: float) -> float:
    """The level a KPI's figure amounts to: the planned one where it gives this very figure, else what it really is."""
    if not kpi.in_percent:
        return value
    return planned if baseline * planned / 100 == value else 100 * value / baseline


def _one(found: Any) -> Any:
    """The one value, or all of them where they differ."""
    values = list(dict.fromkeys(found))
    return values[0] if len(values) == 1 else values

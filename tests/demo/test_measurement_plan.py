"""The rules that are filed before anything is measured, and how they are compared with those that were used."""

import copy
import hashlib
import json
import zipfile
from dataclasses import asdict

import pytest

from demo import measurement_plan as plans
from demo import story
from demo.steps.filed import order_in_trail

ROWS = dict.fromkeys(story.WINDOW_PERCENT, "sha256:0")
T = story.THRESHOLDS


def held():
    """What the portal holds after a journey that kept to the plan."""
    source = json.dumps({"tags": {"split_rule": story.SPLIT_RULE}})
    params = {"high_use_visits": str(story.HIGH_USE_VISITS), "miss_usd": str(story.MISS_USD), "false_alarm_usd": str(story.FALSE_ALARM_USD)}
    baselines = {k.key: k.baseline_value or 31_194.968_553_459_12 for k in story.KPIS}
    return {
        "rows": ROWS,
        "versions": [{"params": params, "inputs": [{"source": source}, {"source": source}]} for _ in (1, 2)],
        "kpis": {
            k.key: {
                "direction": "lower" if k.lower_is_better else "higher", "floor": k.floor(baselines[k.key]), "target": k.target(baselines[k.key]),
            }
            for k in story.KPIS
        },
        "baselines": baselines,
        "requirements": {"projected_rps": 10, **{k: v for k, v in story.NFRS.items() if k != "projected_load_rps"}},
        "configs": [{"kind": kind, "config": dict(config)} for kind, config in plans.monitors().items() for _ in ("pilot", "production")],
        "canary": {"steps": [10, 100], "bake_s": T.bake_seconds},
        "load_tests": [{"duration_s": float(T.load_test_seconds)} for _ in range(3)],
    }  # fmt: skip


def test_the_plan_holds_every_threshold_and_its_digest_is_that_of_its_canonical_bytes():
    plan = plans.plan(ROWS)
    assert plan["thresholds"] == asdict(T) and plan["split_rule"] == story.SPLIT_RULE
    assert set(plan["kpis"]) == {k.key for k in story.KPIS}
    content = plans.canonical(plan)
    assert content == plans.canonical(json.loads(content)) and b'"cost_bound_usd_per_1k":1000,' in content
    assert plans.digest(content) == "sha256:" + hashlib.sha256(content).hexdigest()


def test_a_journey_that_kept_to_it_used_the_very_same_document():
    assert plans.canonical(plans.used(**held())) == plans.canonical(plans.plan(ROWS))


def _changed(path, value):
    made = copy.deepcopy(held())
    at = made
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows", "live"), "sha256:1"),
        (("versions", 1, "inputs", 0, "source"), json.dumps({"tags": {"split_rule": "Another."}})),
        (("versions", 0, "params", "miss_usd"), "100.0"),
        (("versions", 0, "params", "high_use_visits"), "5"),
        (("kpis", "cost_per_1k_usd", "floor"), 40_000.0),
        (("kpis", "recall", "target"), 0.3),
        (("kpis", "recall", "direction"), "lower"),
        (("requirements", "latency_p99_ms"), 900.0),
        (("configs", 0, "config", "psi_bound"), 0.5),
        (("configs", 3, "config", "bound_per_1k"), 50.0),
        (("configs", 3, "config", "miss_cost"), 1.0),
        (("configs", 5, "config", "p99_ms"), 9_000.0),
        (("canary", "steps"), [50, 100]),
        (("canary", "bake_s"), 1),
        (("load_tests", 2, "duration_s"), 1.0),
    ],
)
def test_a_rule_that_was_moved_in_one_place_makes_another_document(path, value):
    assert plans.canonical(plans.used(**_changed(path, value))) != plans.canonical(plans.plan(ROWS))


def _event(action, label="", usecase=None, **after):
    return {"action": action, "object": {"label": label}, "usecase_id": usecase, "after": after}


def test_the_order_is_read_from_the_exported_trail(tmp_path):
    events = [
        _event("approvals.attachment.added", "other.json", "u1", digest="sha256:other"),
        _event("approvals.attachment.added", "plan.json", "u2", digest="sha256:mine"),
        _event("registry.experiment.created", "care-outreach-2"),
        _event("approvals.attachment.added", "plan.json", "u1", digest="sha256:mine"),
        _event("registry.experiment.created", "care-outreach"),
        _event("registry.version.created", "care-outreach/1"),
        _event("kpis.measurements.recorded", "Cost", "u2"),
        _event("kpis.measurements.recorded", "Cost", "u1"),
        _event("kpis.measurements.recorded", "Cost", "u1"),
    ]
    bundle = tmp_path / "trail.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("events.jsonl", "".join(json.dumps(e) + "\n" for e in events))
    found = order_in_trail(bundle, usecase_id="u1", model_name="care-outreach", digest="sha256:mine")
    assert found == {"plan": 3, "run": 4, "version": 5, "figure": 7, "label": None}

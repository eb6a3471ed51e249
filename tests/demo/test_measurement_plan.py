"""The rules that are filed before anything is measured, and how they are compared with those that were used."""

import copy
import hashlib
import json
import zipfile
from dataclasses import asdict, replace

import pytest

from demo import measurement_plan as plans
from demo import story
from demo.steps.filed import order_in_trail

ROWS = dict.fromkeys(story.WINDOW_PERCENT, "sha256:0")
INPUTS = {"train": "0a", "validation": "0b"}
T = story.THRESHOLDS


def held():
    """What the portal holds after a journey that kept to the plan."""
    tags = {"split_rule": story.SPLIT_RULE, "dataset": story.DATASET_SOURCE}
    logged = [{"source": json.dumps({"tags": tags | {"window": name}}), "digest": digest} for name, digest in INPUTS.items()]
    params = {"high_use_visits": str(story.HIGH_USE_VISITS), "miss_usd": str(story.MISS_USD), "false_alarm_usd": str(story.FALSE_ALARM_USD)}
    baselines = {k.key: 31_194.968_553_459_12 for k in story.KPIS if k.has_baseline}
    return {
        "rows": ROWS,
        "versions": [{"params": params, "inputs": copy.deepcopy(logged)} for _ in (1, 2)],
        "kpis": {
            k.key: {
                "direction": "lower" if k.lower_is_better else "higher", "floor": k.floor(baselines.get(k.key, 0.0)), "target": k.target(baselines.get(k.key, 0.0)),
            }
            for k in story.KPIS
        },
        "baselines": baselines,
        "requirements": {"projected_rps": 10, **{k: v for k, v in story.NFRS.items() if k != "projected_load_rps"}},
        "configs": [{"kind": kind, "config": dict(config)} for kind, config in plans.monitors().items() for _ in ("pilot", "production")],
        "canary": {"steps": [10, 100], "bake_s": T.bake_seconds},
        "load_tests": [
            {"duration_s": float(T.load_test_seconds), "seed": T.load_test_seed, "max_error_share": T.load_test_error_share} for _ in range(3)
        ],
    }  # fmt: skip


def test_the_plan_holds_every_threshold_that_is_read_back_and_its_digest_is_that_of_its_canonical_bytes():
    plan = plans.plan(ROWS, INPUTS)
    assert plan["thresholds"] == {name: value for name, value in asdict(T).items() if name not in story.OF_THE_TELLING}
    assert plan["split_rule"] == story.SPLIT_RULE
    assert set(plan["kpis"]) == {k.key for k in story.KPIS}
    content = plans.canonical(plan)
    assert content == plans.canonical(json.loads(content)) and b'"cost_bound_usd_per_1k":1000,' in content
    assert plans.digest(content) == "sha256:" + hashlib.sha256(content).hexdigest()


def test_a_journey_that_kept_to_it_used_the_very_same_document():
    assert plans.canonical(plans.used(**held())) == plans.canonical(plans.plan(ROWS, INPUTS))


def test_nothing_of_the_plan_is_only_repeated(monkeypatch):
    """What the portal holds, read while the story says otherwise, is told as it is held."""
    before = held()
    monkeypatch.setattr(story, "SPLIT_RULE", "Another.")
    monkeypatch.setattr(story, "DATASET_SOURCE", "another")
    monkeypatch.setattr(story, "HIGH_USE_VISITS", 1)
    monkeypatch.setattr(story, "MISS_USD", 1.0)
    monkeypatch.setattr(story, "FALSE_ALARM_USD", 1.0)
    monkeypatch.setattr(plans, "T", replace(T, **{name: value + 0.5 for name, value in asdict(T).items()}))
    said = plans.used(**before)
    planned = plans.plan(ROWS, INPUTS)
    assert said["thresholds"].keys() == planned["thresholds"].keys()
    assert [name for name, value in said["thresholds"].items() if value == planned["thresholds"][name]] == []
    apart = {name for name in planned if said[name] != planned[name]}
    assert apart == {"dataset", "split_rule", "high_use_visits", "money_usd", "thresholds"}


def _source(**changed):
    tags = {"split_rule": story.SPLIT_RULE, "dataset": story.DATASET_SOURCE, "window": "train"}
    return json.dumps({"tags": tags | changed})


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
        (("versions", 1, "inputs", 0, "source"), _source(split_rule="Another.")),
        (("versions", 1, "inputs", 0, "source"), _source(dataset="another.dataset")),
        (("versions", 1, "inputs", 0, "source"), _source(window="live")),
        (("versions", 0, "inputs", 1, "digest"), "0c"),
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
        (("load_tests", 1, "seed"), 7),
        (("load_tests", 0, "max_error_share"), 0.001),
    ],
)
def test_a_rule_that_was_moved_in_one_place_makes_another_document(path, value):
    assert plans.canonical(plans.used(**_changed(path, value))) != plans.canonical(plans.plan(ROWS, INPUTS))


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

import json
from typing import Any

from demo import story
from tests.demo.training import run_module

BOUNDS = story.THRESHOLDS


def window(story_run: dict[str, Any], name: str) -> dict[str, Any]:
    return json.loads((story_run["folder"] / "windows" / f"{name}.json").read_text())


def test_the_split_gives_the_same_bytes_every_time(story_run: dict[str, Any], tmp_path: Any) -> None:
    run_module("demo.data", "--out", str(tmp_path / "again"), mlflow_dir=tmp_path)
    for name in story.WINDOW_PERCENT:
        first = (story_run["folder"] / "windows" / f"{name}.json").read_bytes()
        assert (tmp_path / "again" / f"{name}.json").read_bytes() == first


def test_no_member_is_in_two_windows_and_no_request_id_is_used_twice(story_run: dict[str, Any]) -> None:
    seen_ids: set[str] = set()
    seen_members: dict[str, str] = {}
    for name in story.WINDOW_PERCENT:
        for row in window(story_run, name)["rows"]:
            assert row["request_id"] not in seen_ids
            seen_ids.add(row["request_id"])
            member = row["request_id"].split("-")[0]
            assert seen_members.setdefault(member, name) == name


def test_rows_are_whole_and_only_new_members_are_live(story_run: dict[str, Any]) -> None:
    for name in story.WINDOW_PERCENT:
        rows = window(story_run, name)["rows"]
        assert len(rows) >= BOUNDS.min_window_rows
        for row in rows:
            assert tuple(sorted(row["features"])) == tuple(sorted(story.FEATURES))
            assert all(isinstance(value, float) for value in row["features"].values())
            assert row["label"] in (0, 1)
            assert (row["features"]["contract_years"] == 0) == (name == "live")
        assert 0.05 < sum(row["label"] for row in rows) / len(rows) < 0.4


def test_an_undrifted_window_stays_silent(story_run: dict[str, Any]) -> None:
    for name in ("validation", "control"):
        psi = story_run["figures"]["psi"][name]
        assert set(psi) == set(story.FEATURES)
        assert max(psi.values()) < BOUNDS.psi_bound


def test_live_rows_drift_in_more_features_than_the_bound_allows(story_run: dict[str, Any]) -> None:
    psi = story_run["figures"]["psi"]["live"]
    drifted = [name for name, value in psi.items() if value >= BOUNDS.psi_bound]
    assert len(drifted) / len(story.FEATURES) >= BOUNDS.drifted_feature_share
    assert {"visits_last_year", "contract_years"} <= set(drifted)

"""Known values of the stability index and of the paired cost difference; no database."""

import math

import numpy as np
import pytest
from scipy import stats

from apps.core.errors import Invalid
from apps.monitoring.rules import costs, drift
from apps.monitoring.rules import settings as rules

SETTINGS = {"psi_bound": 0.2, "drifted_share": 0.2, "confidence": 0.999}


def test_the_index_of_equal_shares_is_zero():
    assert drift.psi([0.25, 0.25, 0.5], [0.25, 0.25, 0.5]) == 0


def test_the_index_has_its_textbook_value():
    # (0.7 - 0.5) ln(0.7 / 0.5) + (0.3 - 0.5) ln(0.3 / 0.5)
    assert drift.psi([0.5, 0.5], [0.7, 0.3]) == pytest.approx(0.2 * math.log(1.4) + -0.2 * math.log(0.6))
    assert drift.psi([0.5, 0.5], [0.7, 0.3]) == pytest.approx(0.169459, abs=1e-6)
    assert drift.psi([0.7, 0.3], [0.5, 0.5]) == pytest.approx(drift.psi([0.5, 0.5], [0.7, 0.3]))


def test_ten_quantile_bins_hold_a_tenth_each():
    values = np.arange(1000, dtype=float)
    bins = drift.bins_of(values, 10)
    assert bins["counts"][:-1] == [100] * 10 and bins["counts"][-1] == 0
    assert len(bins["edges"]) == 9


def test_few_values_get_a_bin_each_and_unseen_ones_go_to_the_nearest():
    bins = drift.bins_of(np.array([0, 0, 0, 1, 1, 3.0]), 10)
    assert bins["edges"] == [0.5, 2.0] and bins["counts"] == [3, 2, 1, 0]
    assert drift.counts_in(bins, np.array([-5, 0.4, 1.9, 99.0])) == [2, 1, 1, 0]


def test_missing_values_and_text_have_bins_of_their_own():
    numbers = drift.bins_of(drift.as_values([1, 2, None, float("nan"), 5]), 10)
    assert numbers["counts"][-1] == 2
    text = drift.bins_of(drift.as_values(["a", "a", "b", None, "c"]), 2)
    assert text["values"] == ["a", "b"] and text["counts"] == [2, 1, 1, 1]
    assert drift.counts_in(text, drift.as_values(["z", "a", None])) == [1, 0, 1, 1]


def test_a_sample_of_the_same_population_stays_below_the_bound_of_chance():
    rng = np.random.default_rng(20190)
    reference = drift.reference_of({f"f{i}": rng.normal(size=2000) for i in range(9)}, bins=10, source="x")
    settings = SETTINGS | {"psi_bound": 0.0}
    loud = sum(
        bool(drift.judge(reference, {f"f{i}": rng.normal(size=60) for i in range(9)}, settings=settings)["drifted"]) for _ in range(200)
    )
    assert loud <= 2, "one in a thousand is expected"


def test_the_bound_of_chance_is_the_chi_squared_quantile_shared_among_features():
    expected = (1 / 400 + 1 / 2000) * stats.chi2.ppf(1 - 0.001 / 9, 9)
    assert drift.chance_bound(bins=10, n=400, m=2000, features=9, confidence=0.999) == pytest.approx(expected)


@pytest.mark.parametrize(("shifted", "state"), [(0, "quiet"), (1, "quiet"), (2, "drift"), (9, "drift")])
def test_drift_needs_the_stated_share_of_features(shifted, state):
    rng = np.random.default_rng(1)
    reference = drift.reference_of({f"f{i}": rng.normal(size=2000) for i in range(9)}, bins=10, source="x")
    window = {f"f{i}": rng.normal(2.0 if i < shifted else 0.0, size=500) for i in range(9)}
    found = drift.judge(reference, window, settings=SETTINGS)
    assert (found["state"], len(found["drifted"]), found["n"]) == (state, shifted, 500)
    assert found["drifted_share"] == pytest.approx(shifted / 9, abs=1e-6)


def test_a_feature_that_is_no_longer_sent_has_drifted():
    rng = np.random.default_rng(1)
    reference = drift.reference_of({"a": rng.normal(size=500), "b": rng.normal(size=500)}, bins=10, source="x")
    assert drift.judge(reference, {"a": rng.normal(size=500)}, settings=SETTINGS)["drifted"] == ["b"]


def test_costs_of_the_four_outcomes():
    predicted, actual = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert costs.row_costs(predicted, actual, miss_cost=200, false_alarm_cost=40).tolist() == [0, 40, 200, 0]


def test_the_paired_interval_is_students_t():
    rng = np.random.default_rng(3)
    old = rng.choice([0.0, 40.0, 200.0], size=500)
    new = old + rng.choice([0.0, 160.0], size=500, p=[0.9, 0.1])
    low, mean, high = costs.paired_interval(costs.Sums.of(new, old), confidence=0.95)
    expected = stats.ttest_1samp((new - old) * 1000, 0).confidence_interval(0.95)
    assert (low, mean, high) == pytest.approx((expected.low, (new - old).mean() * 1000, expected.high))


def test_sums_of_windows_add_up_to_the_whole():
    rng = np.random.default_rng(4)
    new, old = rng.normal(size=300), rng.normal(size=300)
    parts = costs.Sums.of(new[:100], old[:100]) + costs.Sums.read(costs.Sums.of(new[100:], old[100:]).as_dict())
    assert costs.paired_interval(parts, confidence=0.95) == pytest.approx(costs.paired_interval(costs.Sums.of(new, old), confidence=0.95))


# 100 rows of 400 in which the new version missed what the old one caught: mean 50,000 per 1,000, half width 8,523.
WORSE = costs.Sums(400, 100 * 200.0, 100 * 200.0**2)


@pytest.mark.parametrize(
    ("sums", "bound", "min_pairs", "state"),
    [
        (WORSE, 1_000, 400, "worse"),
        (WORSE, 41_000, 400, "worse"),
        (WORSE, 42_000, 400, "quiet"),
        (WORSE, 1_000, 401, "too_few"),
        (costs.Sums(400, 0.0, 0.0), 0, 400, "quiet"),
        (costs.Sums(400, -20_000.0, 4e6), 0, 400, "quiet"),
        (costs.Sums(), 0, 2, "too_few"),
    ],
)
def test_worse_means_that_the_lower_end_is_beyond_the_bound(sums, bound, min_pairs, state):
    found = costs.compare(sums, bound_per_1k=bound, min_pairs=min_pairs, confidence=0.95)
    assert found["state"] == state


def test_figures_of_labelled_rows():
    predicted = np.array([True, True, False, False, False])
    actual = np.array([True, False, True, True, False])
    found = costs.figures(predicted, actual, miss_cost=200, false_alarm_cost=40)
    assert found["cost_per_1k"].value == pytest.approx((40 + 200 + 200) / 5 * 1000)
    assert found["recall"].value == pytest.approx(1 / 3) and found["recall"].n == 3
    assert found["precision"].value == 0.5 and found["positive_share"].value == 0.4 and found["accuracy"].value == 0.4
    assert found["cost_per_1k"].variance == pytest.approx(np.var([0, 40, 200, 200, 0], ddof=1) * 1e6)


@pytest.mark.parametrize(("aggregation", "scale", "value"), [("ratio", 1000.0, 88_000.0), ("ratio", 1.0, 88_000.0), ("mean", 1.0, 88_000.0)])
def test_a_measurement_has_the_figures_value_however_the_kpi_adds_up(aggregation, scale, value):
    figure = costs.Figure(value=88_000.0, n=5, variance=1.0, numerator=440_000.0, denominator=5.0)
    row = costs.measurement(figure, aggregation=aggregation, scale=scale)
    assert row.get("value", row.get("numerator", 0) / row.get("denominator", 1) * scale) == pytest.approx(value)


def test_settings_get_their_defaults_and_wrong_ones_are_named():
    assert rules.check_config("drift", {"psi_bound": 0.1})["bins"] == 10
    for kind, config, name in [
        ("drift", {"psi_bound": -1}, "config.psi_bound"), ("drift", {"bins": 2.5}, "config.bins"), ("drift", {"typo": 1}, "config.typo"),
        ("cost", {}, "config.miss_cost"), ("cost", {"miss_cost": True}, "config.miss_cost"), ("nonsense", {}, "kind"),
        ("drift", {"kpis": {"cost_per_1k": "x"}}, "config.kpis.cost_per_1k"), ("drift", {"kpis": 5}, "config.kpis"),
        ("latency", {"p99_ms": float("nan")}, "config.p99_ms"),
    ]:  # fmt: skip
        with pytest.raises(Invalid) as refusal:
            rules.check_config(kind, config)
        assert name in refusal.value.errors

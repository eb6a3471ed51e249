"""Attainment and money."""

import pytest

from apps.core.errors import Invalid
from apps.kpis.rules.effects import Effect, Point
from apps.kpis.rules.value import attainment, check_target_and_floor, value_realised, worth, worth_by_month


@pytest.mark.parametrize(
    ("value", "direction", "target", "floor", "state"),
    [
        (8, "lower", 8, 10, "met"),
        (9, "lower", 8, 10, "on_the_way"),
        (10, "lower", 8, 10, "on_the_way"),
        (10.1, "lower", 8, 10, "missed"),
        (0.9, "higher", 0.8, 0.6, "met"),
        (0.7, "higher", 0.8, 0.6, "on_the_way"),
        (0.5, "higher", 0.8, 0.6, "missed"),
        (None, "higher", 0.8, 0.6, "unknown"),
        (0.5, "higher", None, None, "unknown"),
        (0.5, "higher", 0.8, None, "on_the_way"),
        (0.5, "higher", None, 0.6, "missed"),
    ],
)
def test_attainment_says_where_the_value_stands(value, direction, target, floor, state):
    assert attainment(value, target=target, floor=floor, direction=direction).state == state


def test_progress_is_the_share_of_the_way():
    assert attainment(9, target=8, floor=10, direction="lower", baseline=10).progress == pytest.approx(0.5)
    assert attainment(11, target=8, floor=12, direction="lower", baseline=10).progress == pytest.approx(-0.5)
    assert attainment(9, target=8, floor=10, direction="lower", baseline=8).progress is None


def test_a_floor_better_than_the_target_is_refused():
    with pytest.raises(Invalid, match="floor"):
        check_target_and_floor(10, 8, "lower")
    check_target_and_floor(8, 10, "lower")
    check_target_and_floor(10, 8, "higher")


def test_worth_counts_once_per_so_many_observations_or_once_a_period():
    assert worth(3.0, n=12_000, periods=30, value_per_unit=1.0, per_n=1000) == pytest.approx(36.0)
    assert worth(3.0, n=12_000, periods=30, value_per_unit=2.0, per_n=None) == pytest.approx(180.0)


def test_value_realised_has_an_interval_and_lower_is_better_turns_it():
    found = Effect(True, "", "", 10.0, 7.0, 100, 4000, 10, 40, -3.0, -4.0, -2.0)
    assert value_realised(found, direction="lower", value_per_unit=1.0, per_n=1000) == pytest.approx((8.0, 12.0, 16.0))
    assert value_realised(found, direction="higher", value_per_unit=1.0, per_n=1000) == pytest.approx((-16.0, -12.0, -8.0))
    too_little = Effect(False, "", "Too little data.", 10.0, 7.0, 1, 1, 1, 1)
    assert value_realised(too_little, direction="lower", value_per_unit=1.0, per_n=None) is None


def test_worth_by_month_uses_each_months_own_figure():
    rows = [("2026-02", Point(7.0, 100, 700, 100)), ("2026-02", Point(5.0, 100, 500, 100)), ("2026-01", Point(9.0, 200, 1800, 200))]
    found = worth_by_month(rows, baseline=10.0, aggregation="ratio", scale=1.0, direction="lower", value_per_unit=1.0, per_n=1)
    assert found == [
        {"month": "2026-01", "value": pytest.approx(200.0), "n": 200},
        {"month": "2026-02", "value": pytest.approx(800.0), "n": 200},
    ]

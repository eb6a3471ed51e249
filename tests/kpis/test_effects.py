"""Intervals against scipy, and against the truth of simulated series."""

import math

import numpy as np
import pytest
from scipy import stats

from apps.kpis.rules import effects
from apps.kpis.rules.effects import Point, effect


def daily(values, n=1):
    return [Point(value=float(v), n=n) for v in values]


def observed(values):
    """One period that summarises single observations."""
    return Point(value=float(np.mean(values)), n=len(values), variance=float(np.var(values, ddof=1)))


def test_welch_agrees_with_scipy_on_periods():
    rng = np.random.default_rng(7)
    before, since = rng.normal(10, 2, 15), rng.normal(8, 4, 25)
    ours = effect(daily(before), daily(since), aggregation="mean", direction="lower")
    theirs = stats.ttest_ind(since, before, equal_var=False).confidence_interval(0.95)
    assert ours.difference == pytest.approx(since.mean() - before.mean())
    assert (ours.difference_low, ours.difference_high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
    assert "Welch" in ours.method and "periods" in ours.method


def test_welch_agrees_with_scipy_on_summaries_of_single_observations():
    """Periods that carry n, mean and variance give the same interval as all the single observations would."""
    rng = np.random.default_rng(8)
    before = [rng.normal(10, 2, 40), rng.normal(10.5, 2, 60), rng.normal(9.5, 3, 20)]
    since = [rng.normal(9, 2, 30), rng.normal(8.5, 1, 90)]
    ours = effect([observed(b) for b in before], [observed(s) for s in since], aggregation="mean", direction="lower")
    theirs = stats.ttest_ind(np.concatenate(since), np.concatenate(before), equal_var=False).confidence_interval(0.95)
    assert (ours.difference_low, ours.difference_high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
    assert (ours.n_baseline, ours.n_current) == (120, 120)


def test_against_an_attested_figure_it_is_the_one_sample_interval():
    since = np.random.default_rng(9).normal(300, 20, 12)
    ours = effect([], daily(since), aggregation="mean", direction="lower", attested=400.0)
    theirs = stats.ttest_1samp(since, 400.0).confidence_interval(0.95)
    assert (ours.difference_low + 400, ours.difference_high + 400) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
    assert ours.improvement == pytest.approx(1 - since.mean() / 400) and "attested" in ours.method


def test_the_bootstrap_agrees_with_scipy_on_a_ratio():
    """Same resampling of pairs, independent implementation; percentile interval without our widening."""
    rng = np.random.default_rng(10)
    above, below = rng.normal(700, 60, 40), rng.integers(80, 120, 40).astype(float)
    theirs = stats.bootstrap(
        (above, below), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, vectorized=True, n_resamples=20_000, method="percentile",
        random_state=np.random.default_rng(1),
    )  # fmt: skip
    points = [Point(value=a / b, numerator=a, denominator=b, n=int(b)) for a, b in zip(above, below, strict=True)]
    ours = effects.bootstrap_values(points, "ratio", 1.0, np.random.default_rng(effects.SEED))
    low, high = np.quantile(ours, [0.025, 0.975])
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.06 * width)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.06 * width)
    assert ours.std(ddof=1) == pytest.approx(theirs.standard_error, rel=0.05)


def test_fieller_agrees_with_its_definition():
    """Each end r of the interval is where m2 - r * m1 is just t standard errors from zero."""
    m1, se1, m2, se2, df = 10.0, 0.8, 7.0, 0.5, 30
    t = stats.t.ppf(0.975, df)
    for r in effects.fieller(m1, se1, m2, se2, df):
        assert abs(m2 - r * m1) == pytest.approx(t * math.hypot(se2, r * se1), rel=1e-9)
    assert effects.fieller(0.1, 1.0, 7.0, 0.5, df) is None, "a baseline that may be zero has no relative figure"


@pytest.mark.parametrize(("direction", "sign"), [("lower", 1), ("higher", -1)])
def test_improvement_is_positive_when_it_got_better(direction, sign):
    rng = np.random.default_rng(11)
    result = effect(daily(rng.normal(10, 1, 30)), daily(rng.normal(7, 1, 30)), aggregation="mean", direction=direction)
    assert sign * result.improvement == pytest.approx(0.3, abs=0.06)
    assert result.improvement_low < result.improvement < result.improvement_high


@pytest.mark.parametrize(
    ("aggregation", "before", "since"),
    [
        ("mean", daily([1, 2, 3]), daily([1, 2, 3])),
        ("sum", daily(range(7)), daily(range(50))),
        ("ratio", [Point(1, 5, 5, 5)] * 9, [Point(1, 5, 5, 5)] * 50),
        ("percentile", daily(range(50)), daily(range(9))),
        ("mean", [Point(5, 20, variance=1.0)], [Point(5, 500, variance=1.0)]),
    ],
)
def test_too_little_data_gives_words_and_no_percentage(aggregation, before, since):
    result = effect(before, since, aggregation=aggregation, direction="lower")
    assert not result.enough and result.detail.startswith("Too little data")
    assert result.improvement is None and result.difference is None and result.improvement_low is None


def test_without_baseline_or_measurements_it_says_so():
    assert "no baseline" in effect([], daily(range(9)), aggregation="mean", direction="lower").detail
    assert "Nothing has been measured" in effect(daily(range(9)), [], aggregation="mean", direction="lower").detail


def test_the_same_rows_give_the_same_interval_every_time():
    points = [Point(v, 10, v * 10, 10) for v in np.random.default_rng(2).normal(5, 1, 12)]
    first = effect(points, points, aggregation="ratio", direction="lower")
    assert first == effect(points, points, aggregation="ratio", direction="lower")


def test_periods_combine_by_their_own_rule():
    points = [Point(2.0, 10, 20, 10), Point(5.0, 30, 150, 30)]
    assert effects.combined(points, "mean") == pytest.approx(4.25)
    assert effects.combined(points, "ratio", 1000) == pytest.approx(4250)
    assert effects.combined(points, "sum") == pytest.approx(3.5), "a sum is given per period"
    assert effects.combined([], "mean") is None


def test_welch_covers_the_truth_in_93_to_97_percent_of_runs():
    rng, covered = np.random.default_rng(3), 0
    for _ in range(1000):
        result = effect(daily(rng.normal(10, 2, 12)), daily(rng.normal(8.5, 4, 20)), aggregation="mean", direction="lower")
        covered += result.difference_low <= -1.5 <= result.difference_high
    assert 930 <= covered <= 970


def test_fieller_covers_the_truth_in_93_to_97_percent_of_runs():
    rng, covered = np.random.default_rng(4), 0
    for _ in range(1000):
        result = effect(daily(rng.normal(10, 1, 20)), daily(rng.normal(8, 1.5, 20)), aggregation="mean", direction="lower")
        covered += result.improvement_low <= 0.2 <= result.improvement_high
    assert 930 <= covered <= 970


def test_the_bootstrap_covers_the_truth_in_93_to_97_percent_of_runs(monkeypatch):
    monkeypatch.setattr(effects, "RESAMPLES", 500)
    rng, covered = np.random.default_rng(5), 0

    def sample(mean, periods):
        n = rng.integers(80, 120, periods)
        costs = rng.normal(mean, 8 / np.sqrt(n)) * n
        return [Point(c / k, int(k), float(c), float(k)) for c, k in zip(costs, n, strict=True)]

    for _ in range(1000):
        result = effect(sample(10, 20), sample(8, 15), aggregation="ratio", direction="lower")
        covered += result.improvement_low <= 0.2 <= result.improvement_high
    assert 930 <= covered <= 970

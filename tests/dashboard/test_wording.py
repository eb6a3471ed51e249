"""Sentences and figures in plain words."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace as Row

import pytest

from apps.core.templatetags.gatehouse import at, between, concise, measured, money, page_of, short_digests, signed_measured
from apps.dashboard.wording import answer, certainty, change, difference, usecase_state, verdict

KPI = Row(name="Cost", unit="EUR", direction="lower", target=420.0)


def effect(low, middle, high, detail=""):
    return Row(improvement_low=low, improvement=middle, improvement_high=high, detail=detail)


def head(value, state="on_the_way", baseline=500.0, label="", last=None):
    return {
        "value": value, "baseline": baseline, "attainment": Row(state=state), "version_label": label,
        "measured_last": label if last is None else last, "live": label,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("direction", "numbers", "words"),
    [("lower", (0.17, 0.23, 0.29), "23% lower, better (17% to 29%)"), ("lower", (-0.1, -0.08, -0.05), "8% higher, worse (5% to 10%)"),
     ("higher", (0.17, 0.23, 0.29), "23% higher, better (17% to 29%)"), ("higher", (-0.1, -0.08, -0.05), "8% lower, worse (5% to 10%)"),
     ("lower", (-0.02, 0.01, 0.05), "no clear change (2% higher to 5% lower)"), ("lower", (None, None, None), "")],
)  # fmt: skip
def test_an_effect_says_which_way_it_went_and_whether_that_is_good(direction, numbers, words):
    assert change(effect(*numbers), direction) == words


@pytest.mark.parametrize(
    ("unit", "numbers", "words"),
    [("EUR", (-130.0, -96.0, -60.0), ("96 EUR lower", "60 EUR to 130 EUR lower")), ("EUR", (60.0, 96.0, 130.0), ("96 EUR higher", "60 EUR to 130 EUR higher")),
     ("EUR", (-20.0, 10.0, 40.0), ("10 EUR higher", "20 EUR lower to 40 EUR higher")), ("share", (0.01, 0.05, 0.09), ("5 points higher", "1 points to 9 points higher")),
     ("EUR", (None, None, None), ("", ""))],
)  # fmt: skip
def test_a_difference_has_a_way_and_no_bare_sign(unit, numbers, words):
    low, middle, high = numbers
    assert difference(Row(difference_low=low, difference=middle, difference_high=high), unit) == words


def test_the_answer_says_now_against_baseline_and_target_and_which_version_it_is_of():
    good = effect(0.1, 0.2, 0.3)
    assert answer(KPI, head(400.0, "met"), good, []) == (
        "400 EUR.", "Against the baseline of 500 EUR that is 20% lower, better (10% to 30%). It meets the target of at most 420 EUR."
    )  # fmt: skip
    now, rest = answer(KPI, head(450.0, label="outreach/1", last="outreach/2"), effect(None, None, None, "Too little data."), ["outreach/1"])
    assert now == "450 EUR with outreach/1."
    assert rest == "Too little data. It is 30 EUR above the target of at most 420 EUR. outreach/2 was measured last; it no longer answers."
    worse = Row(improvement_low=-0.3, improvement=-0.2, improvement_high=-0.1, current=600.0)
    told = answer(KPI, head(400.0, label="outreach/1", last="outreach/2"), good, ["outreach/1"], {"outreach/2": worse})[1]
    assert told.endswith("outreach/2 was measured last, at 600 EUR: 20% higher, worse (10% to 30%); it no longer answers.")
    canary = answer(KPI, head(400.0, label="outreach/1", last="outreach/2"), good, ["outreach/1", "outreach/2"])[1]
    assert canary.endswith("outreach/2 was measured last.")
    assert "outreach/2 answers nowhere now." in answer(KPI, head(450.0, label="outreach/2"), good, [])[1]
    assert "answers" not in answer(KPI, head(450.0, label="outreach/1"), good, ["outreach/1"])[1]
    assert answer(KPI, head(None, baseline=None), good, []) == ("It has not been measured yet.", "")


def test_how_sure_it_is_comes_with_what_it_rests_on():
    told = Row(improvement_low=0.1, n_current=1935, periods_current=2)
    assert certainty(told) == "95% sure within the brackets, from 1,935 observations in 2 periods"
    assert certainty(Row(improvement_low=None, n_current=1, periods_current=1)) == "no interval yet, from 1 observation in 1 period"
    assert certainty(Row(improvement_low=None, n_current=0, periods_current=0)) == ""


def test_the_verdict_says_what_is_missing_before_it_says_a_figure():
    none = effect(None, None, None, "Too little data since: 2 periods.")
    assert verdict(KPI, head(None, baseline=None), none) == "It has not been measured yet."
    assert "was not measured since" in verdict(KPI, head(None), none)
    unmeasured = verdict(KPI, head(None, label="outreach/3", last="outreach/2"), none)
    assert unmeasured == "It has not been measured with outreach/3, which answers now. outreach/2 was measured last."
    assert verdict(KPI, head(450.0), none) == "It stands at 450 EUR and is short of the target. Too little data since: 2 periods."
    assert verdict(KPI, head(400.0, "met"), effect(0.1, 0.2, 0.3), "Cost") == "Cost is 20% lower than the baseline, better (10% to 30%), and meets the target."
    assert verdict(KPI, head(600.0, "missed"), effect(-0.02, 0.0, 0.02)).endswith("against the baseline, and is beyond the floor.")


def test_an_open_incident_comes_before_a_good_figure():
    opening, deciding = usecase_state(stage="pilot", days="33 days", kpi=KPI, head=head(400.0, "met"), effect=effect(0.1, 0.2, 0.3), incidents=2)
    assert opening == "In pilot for 33 days." and deciding.startswith("2 incidents are open")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1240.4, "1,240"), (412.55, "412.6"), (3.0, "3"), (0.02144, "0.0214"), (0.00001234, "0.0000123"), (-96.0, "−96")],
)  # fmt: skip
def test_figures_are_short_and_have_a_real_minus(value, text):
    assert concise(value) == text


def test_a_figure_has_its_unit_and_a_share_reads_as_a_percentage():
    assert measured(0.62, "share") == "62%" and measured(None, "EUR") == "–" and measured("", "EUR") == "–"
    assert signed_measured(-96.0, "EUR") == "−96 EUR" and signed_measured(0.05, "share") == "+5 points"


@pytest.mark.parametrize(
    ("amount", "text"),
    [(31195.4, "31,195 USD"), (0.0014, "0.0014 USD"), ("0.048000", "0.048 USD"), (Decimal("2.5"), "2.5 USD"), (0, "0 USD"), (None, "–"), ("", "–")],
)  # fmt: skip
def test_money_has_one_manner(amount, text):
    assert money(amount, "USD") == text


def test_a_period_is_told_in_days_or_to_the_second_and_for_machines():
    def told(start, end):
        return re.sub(r"<[^>]+>", "", between(start, end))

    noon = datetime(2026, 11, 21, 11, 58, 1, tzinfo=UTC)
    assert told(datetime(2026, 8, 29, tzinfo=UTC), datetime(2026, 9, 5, tzinfo=UTC)) == "29 Aug 2026 to 5 Sep 2026"
    assert told(noon, noon.replace(second=16)) == "21 Nov 2026, 11:58:01 to 11:58:16 UTC"
    assert told(noon, noon.replace(day=22)) == "21 Nov 2026, 11:58:01 UTC to 22 Nov 2026, 11:58:01 UTC"
    assert at(noon) == '<time datetime="2026-11-21T11:58:01+00:00">21 Nov 2026, 11:58:01 UTC</time>' and at(None) == "never"


def test_a_digest_in_a_text_is_shortened():
    assert short_digests("sha256:" + "9f" * 32 + " of 3") == "sha256 9f9f9f…9f9f of 3"


@pytest.mark.parametrize(
    ("source", "page"),
    [("/api/v1/models/a/versions/3/card/", "/models/a/versions/3/"), ("/kpis/1/", "/kpis/1/"), ("https://evil.example/", ""),
     ("//evil.example/", ""), ("javascript:alert(1)", ""), ("", ""), (None, "")],
)  # fmt: skip
def test_a_source_leads_to_a_page_of_ours_or_nowhere(source, page):
    assert page_of(source) == page

"""Sentences and figures in plain words."""

from types import SimpleNamespace as Row

import pytest

from apps.core.templatetags.gatehouse import concise, measured, page_of, short_digests, signed_measured
from apps.dashboard.wording import improvement, usecase_state, verdict

KPI = Row(name="Cost", unit="EUR")


def effect(low, middle, high, detail=""):
    return Row(improvement_low=low, improvement=middle, improvement_high=high, detail=detail)


def head(value, state="on_the_way", baseline=500.0):
    return {"value": value, "baseline": baseline, "attainment": Row(state=state)}


@pytest.mark.parametrize(
    ("numbers", "words"),
    [((0.17, 0.23, 0.29), "23% better (17% to 29%)"), ((-0.1, -0.08, -0.05), "8% worse (5% to 10%)"),
     ((-0.02, 0.01, 0.05), "no clear change (−2% to +5%)"), ((None, None, None), "")],
)  # fmt: skip
def test_an_effect_is_told_with_its_interval_or_not_at_all(numbers, words):
    assert improvement(effect(*numbers)) == words


def test_the_verdict_says_what_is_missing_before_it_says_a_figure():
    none = effect(None, None, None, "Too little data since: 2 periods.")
    assert verdict(KPI, head(None, baseline=None), none) == "It has not been measured yet."
    assert "was not measured since" in verdict(KPI, head(None), none)
    assert verdict(KPI, head(450.0), none) == "It stands at 450 EUR, short of the target. Too little data since: 2 periods."
    assert verdict(KPI, head(400.0, "met"), effect(0.1, 0.2, 0.3), "Cost") == "Cost is 20% better (10% to 30%) than the baseline and meets the target."
    assert verdict(KPI, head(600.0, "missed"), effect(-0.02, 0.0, 0.02)).endswith("against the baseline, beyond the floor.")


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


def test_a_digest_in_a_text_is_shortened():
    assert short_digests("sha256:" + "9f" * 32 + " of 3") == "sha256 9f9f9f…9f9f of 3"


@pytest.mark.parametrize(
    ("source", "page"),
    [("/api/v1/models/a/versions/3/card/", "/models/a/versions/3/"), ("/kpis/1/", "/kpis/1/"), ("https://evil.example/", ""),
     ("//evil.example/", ""), ("javascript:alert(1)", ""), ("", ""), (None, "")],
)  # fmt: skip
def test_a_source_leads_to_a_page_of_ours_or_nowhere(source, page):
    assert page_of(source) == page

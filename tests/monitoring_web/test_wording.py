"""What monitors found, in words; forms that keep what they do not ask."""

from types import SimpleNamespace as Row

import pytest

from apps.core.errors import Invalid
from apps.core.exports import cell
from apps.core.figures import interval as interval_figure
from apps.core.templatetags.gatehouse import trimmed
from apps.monitoring.web import forms, wording


def comparison(low, middle, high):
    return {"low_per_1k": low, "difference_per_1k": middle, "high_per_1k": high, "pairs": 500}


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((1726.0, 4085.0, 6444.0), "4,085 USD more (1,726 to 6,444)"),
        ((-600.0, -400.0, -200.0), "400 USD less (200 to 600)"),
        ((-120.0, -50.0, 20.0), "50 USD less (120 less to 20 more)"),
        ((None, None, None), "no interval yet"),
    ],
)
def test_a_difference_says_which_way_it_goes(ends, words):
    assert wording.interval(comparison(*ends), "USD") == words


def test_a_window_without_enough_rows_says_how_many_are_needed():
    window = Row(statistics={"n": 3}, n=3, monitor=Row(kind="drift", config={"min_rows": 400}))
    assert wording.found(window, currency="EUR") == "3 rows; 400 are needed to judge"


def test_numbers_of_an_incident_that_nobody_shaped_are_still_shown():
    incident = Row(numbers={"odd_rows": 12, "note": "text", "open": True})
    assert wording.facts(incident, currency="EUR") == [("odd rows", "12")]


@pytest.mark.parametrize(
    ("own", "required", "words"),
    [
        (0, 200.0, "Do 99 of 100 answers come within 200 ms, as the use case demands?"),
        (200.0, 200.0, "Do 99 of 100 answers come within 200 ms, as the use case demands?"),
        (2000.0, 200.0, "Do 99 of 100 answers come within 2,000 ms? The use case demands 200 ms."),
        (50.0, None, "Do 99 of 100 answers come within 50 ms?"),
    ],
)
def test_a_monitor_of_answer_times_asks_with_its_own_bound(own, required, words):
    assert wording.question(Row(kind="latency", config={"p99_ms": own}), required) == words


def test_a_monitor_of_answer_times_without_a_bound_says_so():
    assert "No bound is set" in wording.question(Row(kind="latency", config={}), None)


def test_moments_in_a_sentence_are_written_as_people_write_them():
    assert (
        wording.readable("0 rows since 2026-11-21T06:01:04.095696Z; 400 are needed.")
        == "0 rows since 21 Nov 2026, 06:01:04 UTC; 400 are needed."
    )


def test_a_refusal_names_the_fields_of_the_form():
    error = forms.named_as_typed(
        Invalid("config.kpis.recall: no such KPI.", errors={"config.kpis.recall": ["Unknown."], "reference.since": ["No."]})
    )
    assert error.detail == "kpis.recall: no such KPI." and error.errors == {"kpi_recall": ["Unknown."], "since": ["No."]}


def test_settings_the_form_does_not_ask_stay_as_they_were():
    fields = forms.fields_of("latency", currency="EUR", kpis=[], references=[])
    before = Row(config={"settle_s": 7.0, "max_age_s": 60.0, "p99_ms": 100.0, "min_rows": 50, "kpis": {}})
    made = forms.arguments("latency", fields, {"p99_ms": "150", "min_rows": ""}, before)
    assert made == {"config": {"settle_s": 7.0, "max_age_s": 60.0, "p99_ms": 150.0, "kpis": {}}}


def test_an_interval_beyond_the_bound_is_drawn_as_a_finding():
    beyond = interval_figure(1100.0, 2000.0, 3000.0, unit="EUR", bound=1000.0)
    within = interval_figure(900.0, 2000.0, 3000.0, unit="EUR", bound=1000.0)
    assert beyond["data"][0]["marker"]["color"] == "@bad" and within["data"][0]["marker"]["color"] == "@brand"
    assert beyond["data"][0]["error_x"]["array"] == [1000.0] and beyond["layout"]["xaxis"]["range"][0] < 0


@pytest.mark.parametrize(("text", "short"), [("0.048000", "0.048"), ("2.500000", "2.5"), ("10", "10"), ("3.000", "3"), (None, "")])
def test_a_decimal_loses_the_zeros_it_ends_with(text, short):
    assert trimmed(text) == short


def test_a_cell_never_becomes_a_formula():
    assert cell("=1+1") == "'=1+1" and cell("-5 m") == "'-5 m" and cell(-5) == -5 and cell(None) == ""

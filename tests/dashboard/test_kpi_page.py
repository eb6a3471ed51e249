"""The page of one KPI: the figure in words, its file, and each of its forms."""

import csv
import io

import pytest

from apps.kpis.models import Baseline, Measurement, ValueConversion
from apps.usecases import services as usecases
from tests.dashboard.conftest import weeks

pytestmark = pytest.mark.django_db


@pytest.fixture
def path(kpi) -> str:
    return f"/kpis/{kpi.id}/"


def test_it_is_for_those_who_see_the_use_case(page_of, client, owner, make_user, path):
    assert client.get(path).status_code == 302
    assert page_of(owner).get(path).status_code == 200
    assert page_of(make_user("auditor")).get(path).status_code == 200
    for role in ("stakeholder", "ml_engineer", "approver:data"):
        stranger = page_of(make_user(role))
        assert stranger.get(path).status_code == 404
        assert stranger.get(f"{path}measurements.csv").status_code == 404
        assert stranger.post(f"{path}record/", {}).status_code == 404
    assert page_of(owner).get("/kpis/00000000-0000-0000-0000-000000000000/").status_code == 404


def test_an_empty_one_says_what_to_do(page_of, owner, path):
    text = page_of(owner).get(path).content.decode()
    assert "It has not been measured yet." in text and "Record the first" in text and "No baseline is frozen" in text


def test_it_says_effect_interval_target_and_shows_the_chart(page_of, owner, path, measured):
    text = page_of(owner).get(path).content.decode()
    assert "<strong>400 EUR with outreach/1.</strong> Against the baseline of 500 EUR that is 20% lower, better (" in text
    assert "It meets the target of at most 420 EUR. outreach/1 answers nowhere now." in text and "95% sure within the brackets" in text
    assert "100 EUR lower" in text and "outreach/1" in text and 'id="kpi-chart"' in text


def test_the_file_can_be_pasted_back(page_of, owner, actor_of, path, measured, usecase):
    from apps.kpis import services

    text = page_of(owner).get(f"{path}measurements.csv").content.decode()
    assert len(list(csv.DictReader(io.StringIO(text)))) == 24
    twin = services.define_kpi(
        actor=actor_of(owner), usecase_id=usecase.id, name="Twin", dimension="business", unit="EUR", direction="lower", aggregation="ratio", scale=1000.0
    )
    assert page_of(owner).post(f"/kpis/{twin.id}/paste/", {"rows": text, "mode": "all"}).status_code == 302
    assert list(twin.measurements.order_by("period_start").values_list("value", flat=True)) == list(
        measured.measurements.order_by("period_start").values_list("value", flat=True)
    )


def test_one_measurement_is_recorded_by_form_and_a_wrong_one_named(page_of, owner, path, kpi):
    browser = page_of(owner)
    good = {"period_start": "2026-02-02T00:00", "period_end": "2026-02-09T00:00", "numerator": "450", "denominator": "1000", "n": "1000"}
    assert browser.post(f"{path}record/", good).status_code == 302
    assert kpi.measurements.get().value == 450.0
    refused = browser.post(f"{path}record/", good | {"denominator": "0"})
    text = refused.content.decode()
    assert refused.status_code == 400 and "It must be more than 0." in text and 'value="450"' in text
    empty = browser.post(f"{path}record/", {"numerator": "1"})
    assert empty.status_code == 400 and "Needed." in empty.content.decode()


def test_pasting_all_or_nothing_names_the_bad_row(page_of, owner, path, kpi):
    rows = "period_start;period_end;numerator;denominator\n2026-02-02;2026-02-09;450;1000\n2026-02-09;2026-02-16;oops;1000\n"
    browser = page_of(owner)
    refused = browser.post(f"{path}paste/", {"rows": rows, "mode": "all"})
    assert refused.status_code == 400 and "rows[1].numerator" in refused.content.decode() and "oops" in refused.content.decode()
    assert not kpi.measurements.exists()
    taken = browser.post(f"{path}paste/", {"rows": rows, "mode": "good"}, follow=True)
    assert "1 rows recorded" in taken.content.decode() and "1 refused: row 2" in taken.content.decode()
    assert kpi.measurements.count() == 1


@pytest.mark.parametrize("rows", ["", "wrong;header\n1;2\n", "period_start,period_end,numerator,denominator\n1,2,3,4,5\n"])
def test_what_is_no_table_is_refused(page_of, owner, path, rows):
    assert page_of(owner).post(f"{path}paste/", {"rows": rows, "mode": "all"}).status_code == 400
    assert not Measurement.objects.exists()


def test_a_baseline_is_frozen_once_and_again_only_with_a_reason(page_of, owner, actor_of, path, kpi):
    from apps.kpis import services

    browser = page_of(owner)
    period = {"period_start": "2026-01-05T00:00", "period_end": "2026-04-01T00:00"}
    assert browser.post(f"{path}baseline/", period).status_code == 400
    services.record_measurements(actor=actor_of(owner), kpi_id=kpi.id, rows=weeks(12, 500.0))
    assert browser.post(f"{path}baseline/", {"period_start": "", "period_end": ""}).status_code == 400
    assert browser.post(f"{path}baseline/", period).status_code == 302
    assert Baseline.objects.get().value == pytest.approx(500)
    again = browser.post(f"{path}baseline/", period)
    assert again.status_code == 400 and "Say why a new one takes its place" in again.content.decode()
    attested = browser.post(f"{path}baseline/", period | {"attested_value": "480", "note": "The desk's own count."})
    assert attested.status_code == 302 and Baseline.objects.get(superseded_at=None).value == 480.0


def test_its_worth_is_signed_off_by_name(page_of, owner, path):
    browser = page_of(owner)
    assert browser.post(f"{path}worth/", {"value_per_unit": "abc", "currency": "EUR"}).status_code == 400
    assert browser.post(f"{path}worth/", {"value_per_unit": "1.5", "currency": "eur", "per_n": "1000"}).status_code == 302
    row = ValueConversion.objects.get()
    assert (row.currency, row.per_n, row.signed_off_by) == ("EUR", 1000, owner)
    assert "Olga Owner" in browser.get(path).content.decode()


def test_its_worth_says_whose_rows_it_is_counted_from(page_of, owner, path, measured):
    browser = page_of(owner)
    assert browser.post(f"{path}worth/", {"value_per_unit": "1.5", "currency": "eur", "per_n": "1000"}).status_code == 302
    text = browser.get(path).content.decode()
    assert "Of it measured here" in text and "none: no rows that the portal measured itself" in text
    assert "recorded by Olga Owner, not measured by the portal" in text


def test_the_definition_changes_until_it_was_measured(page_of, owner, path, measured):
    browser = page_of(owner)
    same = {
        "name": "Cost", "question": "", "unit": "EUR", "direction": "lower", "dimension": "business", "aggregation": "ratio", "scale": "1000",
        "cadence": "weekly", "target": "390", "floor": "540", "primary": "on", "owner": owner.email, "source": "",
    }  # fmt: skip
    assert browser.post(f"{path}definition/", same).status_code == 302
    measured.refresh_from_db()
    assert (measured.name, measured.target) == ("Cost", 390.0)
    refused = browser.post(f"{path}definition/", same | {"unit": "USD"})
    assert refused.status_code == 409 and "Define a new KPI" in refused.content.decode()


def test_a_reader_gets_no_form_and_is_refused(page_of, owner, make_user, actor_of, path, usecase, kpi):
    reader = make_user("stakeholder")
    usecases.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
    browser = page_of(reader)
    assert "Measure and decide" not in browser.get(path).content.decode()
    row = {"period_start": "2026-02-02T00:00", "period_end": "2026-02-09T00:00", "numerator": "450", "denominator": "1000"}
    assert browser.post(f"{path}record/", row).status_code == 403
    assert not kpi.measurements.exists()


def test_the_page_takes_a_bounded_number_of_queries(page_of, owner, path, measured, django_assert_max_num_queries):
    browser = page_of(owner)
    with django_assert_max_num_queries(45):
        browser.get(path)

"""The portfolio: who sees what, filters, the file, and how many queries it takes."""

import csv
import io
from decimal import Decimal

import pytest

from apps.kpis import services as kpis
from apps.usecases import services as usecases
from tests.dashboard.conftest import T0, weeks

pytestmark = pytest.mark.django_db


def test_a_visitor_is_sent_to_sign_in(client):
    answer = client.get("/portfolio/")
    assert answer.status_code == 302 and answer["Location"].startswith("/sign-in/")


@pytest.mark.parametrize("role", ["stakeholder", "approver:legal", "ml_engineer"])
def test_a_person_without_a_part_in_it_does_not_see_a_use_case(page_of, make_user, usecase, role):
    answer = page_of(make_user(role)).get("/portfolio/")
    assert answer.status_code == 200
    assert "Care outreach" not in answer.content.decode()
    assert "No use case is yours to see yet" in answer.content.decode()


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_those_who_see_everything_see_it(page_of, make_user, usecase, role):
    assert "Care outreach" in page_of(make_user(role)).get("/portfolio/").content.decode()


def test_an_auditor_is_not_offered_to_write_one_down(page_of, make_user, usecase):
    assert "/usecases/new/" not in page_of(make_user("auditor")).get("/portfolio/").content.decode()


def test_the_row_stands_the_kpi_against_baseline_and_target(page_of, owner, measured):
    text = page_of(owner).get("/portfolio/").content.decode()
    for part in ("400 EUR", "500 EUR", "420 EUR", "target met"):
        assert part in text


def test_the_value_realised_is_the_middle_of_what_the_use_case_page_shows(page_of, owner, actor_of, measured, usecase):
    from apps.dashboard.selectors_portfolio import values
    from apps.kpis.selectors import value

    actor = actor_of(owner)
    kpis.set_value_conversion(actor=actor, kpi_id=measured.id, value_per_unit=Decimal(2), currency="EUR", per_n=1000)
    middle = value(usecase)["value"]
    assert middle == pytest.approx(2 * 100 * 12, rel=0.01)
    assert values([usecase.id])[usecase.id] == pytest.approx(middle, rel=1e-9)
    assert "2,400 EUR" in page_of(owner).get("/portfolio/").content.decode()


def test_no_value_is_counted_from_too_little_data(owner, actor_of, kpi, usecase):
    from datetime import timedelta

    from apps.dashboard.selectors_portfolio import values

    actor = actor_of(owner)
    kpis.record_measurements(actor=actor, kpi_id=kpi.id, rows=weeks(12, 500.0))
    kpis.freeze_baseline(actor=actor, kpi_id=kpi.id, period_start=T0, period_end=T0 + timedelta(weeks=12))
    kpis.record_measurements(actor=actor, kpi_id=kpi.id, rows=weeks(3, 400.0, start=T0 + timedelta(weeks=12), label="outreach/1"))
    kpis.set_value_conversion(actor=actor, kpi_id=kpi.id, value_per_unit=Decimal(2), currency="EUR", per_n=1000)
    assert values([usecase.id]) == {}


@pytest.mark.parametrize(
    ("query", "there"),
    [("stage=proposal", True), ("stage=pilot", False), ("tier=high", True), ("tier=minimal", False), ("q=outreach", True),
     ("q=nothing+like+it", False), ("mine=on", True), ("stage=bogus&tier=bogus", True), ("page=999", True)],
)  # fmt: skip
def test_filters_stand_in_the_address(page_of, owner, usecase, query, there):
    text = page_of(owner).get(f"/portfolio/?{query}").content.decode()
    assert ("/usecases/care-outreach/" in text) is there


def test_the_file_holds_the_same_rows_and_no_formula(page_of, owner, actor_of, measured):
    usecases.create_usecase(actor=actor_of(owner), name="=cmd()", problem="A name that a spreadsheet would run.", risk_tier="minimal")
    answer = page_of(owner).get("/portfolio.csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert answer["Content-Type"].startswith("text/csv")
    assert {r["use case"] for r in rows} == {"Care outreach", "'=cmd()"}
    care = next(r for r in rows if r["use case"] == "Care outreach")
    assert float(care["now"]) == pytest.approx(400) and care["attainment"] == "met" and care["stage"] == "proposal"


def test_the_file_holds_only_what_the_person_may_see(page_of, make_user, usecase):
    answer = page_of(make_user("stakeholder")).get("/portfolio.csv")
    assert len(answer.content.decode().splitlines()) == 1


def test_thirty_use_cases_take_no_more_queries_than_one(page_of, owner, actor_of, measured, django_assert_max_num_queries):
    actor = actor_of(owner)
    for number in range(30):
        other = usecases.create_usecase(actor=actor, name=f"Case {number}", problem="Something is slow.", risk_tier="limited")
        made = kpis.define_kpi(
            actor=actor, usecase_id=other.id, name="Time", dimension="technical", unit="ms", direction="lower", aggregation="percentile"
        )
        kpis.record_measurements(actor=actor, kpi_id=made.id, rows=[{"period_start": T0, "period_end": T0.replace(day=6), "value": 5.0}])
        kpis.set_value_conversion(actor=actor, kpi_id=made.id, value_per_unit=Decimal(1), currency="EUR")
    browser = page_of(owner)
    with django_assert_max_num_queries(34):
        answer = browser.get("/portfolio/")
    assert "Case 29" in answer.content.decode()


def test_the_home_of_a_stakeholder_says_first_what_needs_them(page_of, owner, make_user, actor_of, usecase, kpi, engineer):
    from apps.usecases.models import UseCase

    browser = page_of(owner)
    assert "<strong>Nothing needs you now.</strong>" in browser.get("/portfolio/").content.decode()
    kpis.record_measurements(
        actor=actor_of(owner), kpi_id=kpi.id, rows=[{"period_start": T0, "period_end": T0.replace(day=6), "numerator": 700, "denominator": 1000, "n": 1000}]
    )
    text = browser.get("/portfolio/").content.decode()
    assert "<strong>1 thing needs you now.</strong>" in text and "700 EUR, floor 540 EUR" in text
    assert text.index('id="needs"') < text.index('class="board"')
    # Whoever only reads it is not asked; nor is anybody about what has ended; nor is it said again over a filtered list.
    assert 'id="needs"' not in page_of(engineer).get("/portfolio/").content.decode()
    assert 'id="needs"' not in browser.get("/portfolio/?tier=high").content.decode()
    UseCase.objects.filter(id=usecase.id).update(sponsor=make_user("stakeholder"), owner=engineer)
    assert 'id="needs"' not in browser.get("/portfolio/").content.decode()


def test_a_gate_that_waits_for_an_answer_is_named_with_it(page_of, owner, engineer, actor_of, usecase, policies):
    from apps.approvals import services

    services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc", note="Please.")
    text = page_of(owner).get("/portfolio/").content.decode()
    assert "1 thing needs you now." in text and "1 answer asked of you" in text

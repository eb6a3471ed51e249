"""The page of one use case: for whom, what it says first, and how many queries it takes."""

import pytest

from apps.usecases import services
from tests.dashboard.conftest import T0, weeks

pytestmark = pytest.mark.django_db
PATH = "/usecases/care-outreach/"


def test_a_visitor_is_sent_to_sign_in(client, usecase):
    assert client.get(PATH).status_code == 302


@pytest.mark.parametrize("role", ["stakeholder", "approver:legal", "ml_engineer"])
def test_who_may_not_see_it_finds_nothing(page_of, make_user, usecase, role):
    assert page_of(make_user(role)).get(PATH).status_code == 404


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_who_sees_everything_sees_it(page_of, make_user, usecase, role):
    assert page_of(make_user(role)).get(PATH).status_code == 200


def test_the_engineer_with_change_access_may_begin_the_gate(page_of, engineer, usecase):
    text = page_of(engineer).get(PATH).content.decode()
    assert "/gates/new/?usecase=care-outreach&amp;to=poc" in text
    assert f"{PATH}edit/" in text


def test_a_reader_is_offered_no_change(page_of, make_user, owner, actor_of, usecase):
    reader = make_user("stakeholder")
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
    text = page_of(reader).get(PATH).content.decode()
    assert "Calls reach the wrong members." in text
    assert f"{PATH}edit/" not in text and "/gates/new/" not in text


def test_without_a_kpi_it_says_that_nothing_can_tell_whether_it_helps(page_of, owner, usecase):
    text = page_of(owner).get(PATH).content.decode()
    assert "nothing can say whether it helps" in text
    assert "Define the first KPI" in text


def test_it_opens_with_the_effect_and_its_interval(page_of, owner, measured):
    text = page_of(owner).get(PATH).content.decode()
    assert "Cost per 1,000 decisions is 20% lower than the baseline, better (" in text
    assert "), and meets the target." in text
    assert 'id="kpi-chart"' in text


def test_the_stage_line_names_days_and_the_gate_under_way(page_of, engineer, actor_of, usecase, policies):
    from apps.approvals import services as approvals

    gate = approvals.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc")
    text = page_of(engineer).get(PATH).content.decode()
    assert "gate begun" in text and f"/gates/{gate.id}/" in text


def test_a_stopped_use_case_leaves_its_lesson(page_of, owner, actor_of, usecase):
    services.stop(actor=actor_of(owner), usecase_id=usecase.id, lesson="The desk already knew.")
    text = page_of(owner).get(PATH).content.decode()
    assert "The desk already knew." in text and "stopped here" in text


def test_words_are_shown_as_text_never_as_markup(page_of, owner, actor_of, usecase):
    services.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, problem="<script>alert(1)</script>")
    text = page_of(owner).get(PATH).content.decode()
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text


def test_no_style_or_script_stands_in_the_markup(page_of, owner, measured):
    import re

    text = page_of(owner).get(PATH).content.decode()
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style", text)
    assert all("src=" in tag or "application/json" in tag for tag in re.findall(r"<script[^>]*>", text))


def test_the_page_takes_a_bounded_number_of_queries(page_of, engineer, measured, at_stage, django_assert_max_num_queries):
    from apps.deployments.models import Endpoint

    at_stage("pilot")
    for number in range(6):
        Endpoint.objects.create(usecase=measured.usecase, slug=f"e{number}", name=f"e{number}", environment="pilot")
    browser = page_of(engineer)
    with django_assert_max_num_queries(60):
        assert "e5" in browser.get(PATH).content.decode()


def test_after_a_rollback_the_tiles_are_of_the_version_that_answers(page_of, owner, actor_of, measured, version, answering):
    from datetime import timedelta

    from apps.kpis import services as kpis
    from apps.registry.models import ModelVersion

    ModelVersion.objects.create(model=version.model, version=2, run_id="r2", status="ready", artifact_digest="sha256:" + "b" * 64)
    answering("production", "outreach/1")
    kpis.record_measurements(
        actor=actor_of(owner), kpi_id=measured.id, rows=weeks(3, 600.0, start=T0 + timedelta(weeks=24), label="outreach/2")
    )
    browser = page_of(owner)
    page = " ".join(browser.get(PATH).content.decode().split())
    assert (
        "with outreach/1, live; measured last was outreach/2, not live" in page and "target met" in page and "beyond the floor" not in page
    )
    portfolio = " ".join(browser.get("/portfolio/").content.decode().split())
    assert "target met</span> with outreach/1" in portfolio and "400 EUR" in portfolio and "600 EUR" not in portfolio
    assert "Nothing needs you now." in portfolio, "the floor was missed by a version that no longer answers"
    kpi_page = " ".join(browser.get(f"/kpis/{measured.id}/").content.decode().split())
    assert "400 EUR with outreach/1." in kpi_page and "outreach/2 was measured last" in kpi_page and "it no longer answers" in kpi_page
    line = browser.get("/portfolio.csv").content.decode().splitlines()[1]
    assert ",met,outreach/1," in line

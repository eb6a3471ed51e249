"""The page on which the rollout is planned and opened, and the phases on the use case's page."""

from datetime import date

import pytest

from apps.approvals import services as approvals
from apps.approvals.models import Gate
from apps.usecases import phase_selectors, services
from tests.approvals.conftest import policy

pytestmark = pytest.mark.django_db
PATH = "/usecases/care-outreach/phases/"
TYPED = {"name": "Claims desk", "planned_on": "2026-12-01", "departments": "Claims, billing", "percent": "10", "entry_criteria": "Trained."}


@pytest.fixture
def plan(usecase, owner, actor_of):
    def make(name, **more):
        given = {"planned_on": date(2026, 12, 1), "entry_criteria": "Trained.", "departments": [name]} | more
        return services.plan_phase(actor=actor_of(owner), usecase_id=usecase.id, name=name, **given)

    return make


@pytest.fixture
def phase_policy(policies, system):
    return approvals.publish_policy(actor=system, text=policy("phase", {"business": 1}, checks=[{"check": "usecases.phase_planned"}]))[0]


def test_the_owner_plans_changes_and_drops(page_of, owner, usecase):
    browser = page_of(owner)
    assert "in production everybody would be served" in browser.get(PATH).content.decode()
    assert browser.post(PATH, TYPED | {"checks": "kpis.effect minimum_pct=5"}).status_code == 302
    (row,) = phase_selectors.plan(usecase.id)
    assert row.cohort.words == "10% of the users in Claims, billing" and row.phase.checks[0]["with"]["minimum_pct"] == 5
    text = browser.get(PATH).content.decode()
    assert "kpis.effect" in text and "Nobody, once it is in production," in " ".join(text.replace("<strong>", "").replace("</strong>", "").split())
    assert browser.post(f"{PATH}{row.phase.id}/change/", TYPED | {"percent": "20", "position": "1", "checks": ""}).status_code == 302
    assert phase_selectors.plan(usecase.id)[0].phase.percent == 20
    assert browser.post(f"{PATH}{row.phase.id}/drop/").status_code == 302
    assert phase_selectors.plan(usecase.id) == []


def test_a_refused_form_keeps_what_was_typed(page_of, owner, plan):
    phase = plan("claims")
    browser = page_of(owner)
    for path in (PATH, f"{PATH}{phase.id}/change/"):
        answer = browser.post(path, TYPED | {"percent": "101", "entry_criteria": "Words that were typed"})
        text = answer.content.decode()
        assert answer.status_code == 400 and "Words that were typed" in text and text.count('role="alert"') == 1
        assert "1 to 100" in text
    lines = browser.post(PATH, TYPED | {"checks": "kpis.effect minimum_pct"})
    assert lines.status_code == 400 and "Line 1" in lines.content.decode()


def test_in_production_the_first_phase_has_to_be_ticked(page_of, owner, usecase, at_stage):
    at_stage("production")
    browser = page_of(owner)
    assert "Everybody is served now" in browser.get(PATH).content.decode()
    assert browser.post(PATH, TYPED).status_code == 409
    assert browser.post(PATH, TYPED | {"closes_now": "on"}).status_code == 302
    assert len(phase_selectors.plan(usecase.id)) == 1


def test_a_gate_opens_it_and_the_use_case_page_shows_state_date_and_decision(page_of, owner, business, plan, at_stage, phase_policy, usecase, actor_of):
    phase = plan("claims")
    plan("billing")
    at_stage("production")
    browser = page_of(owner)
    begun = browser.post(f"{PATH}{phase.id}/gate/")
    gate = Gate.objects.get(phase=phase)
    assert begun.status_code == 302 and str(gate.id) in begun["Location"]
    page = browser.get(begun["Location"]).content.decode()
    assert "everybody in claims" in page and "Trained." in page
    again = browser.post(f"{PATH}{phase.id}/gate/")
    assert again.status_code == 409 and again.content.decode().count('role="alert"') == 1
    assert "gate begun" in browser.get(PATH).content.decode()
    gate = approvals.request_gate(actor=actor_of(owner), gate_id=gate.id)
    from tests.conftest import PASSWORD

    approvals.sign_gate(
        actor=actor_of(business), gate_id=gate.id, function="business", meaning="approved", evidence_digest=gate.evidence_digest, password=PASSWORD
    )
    text = " ".join(browser.get("/usecases/care-outreach/").content.decode().split())
    assert "Rollout in production" in text and "open since" in text and "planned for 1 Dec 2026" in text
    assert f'<a href="/gates/{gate.id}/">decided' in text
    assert "Rollout phase “claims”" in text, "among the decisions"
    assert "rollout phase “claims”" in text, "among the gates"
    assert "Begin the gate that renews its approval" in browser.get(PATH).content.decode()
    assert browser.post(f"{PATH}{phase.id}/gate/").status_code == 302
    text = " ".join(browser.get(PATH).content.decode().split())
    assert "gate begun</a><small>open until" in text and "renews its approval" not in text
    assert browser.post(f"{PATH}{phase.id}/close/", {"reason": " "}).status_code == 400
    assert browser.post(f"{PATH}{phase.id}/close/", {"reason": "Odd answers."}).status_code == 302
    assert "Odd answers." in browser.get(PATH).content.decode()


def test_a_reader_sees_the_plan_and_is_offered_nothing(page_of, make_user, owner, actor_of, usecase, plan, at_stage):
    phase = plan("claims")
    at_stage("production")
    reader = make_user("stakeholder")
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
    browser = page_of(reader)
    text = browser.get(PATH).content.decode()
    assert "claims" in text and 'action="/usecases/' not in text
    for path in (PATH, f"{PATH}{phase.id}/change/", f"{PATH}{phase.id}/gate/", f"{PATH}{phase.id}/drop/", f"{PATH}{phase.id}/close/"):
        assert browser.post(path, TYPED).status_code == 403, path
    assert page_of(make_user("ml_engineer")).get(PATH).status_code == 404


def test_a_phase_of_another_use_case_is_not_found_here(page_of, owner, actor_of, plan):
    phase = plan("claims")
    services.create_usecase(actor=actor_of(owner), name="Pumps", problem="They fail.", risk_tier="minimal")
    assert page_of(owner).post(f"/usecases/pumps/phases/{phase.id}/drop/").status_code == 404


def test_ten_phases_take_no_more_queries_than_one(page_of, owner, plan, django_assert_max_num_queries):
    for n in range(10):
        plan(f"team {n}")
    browser = page_of(owner)
    with django_assert_max_num_queries(24):
        assert browser.get(PATH).status_code == 200
    with django_assert_max_num_queries(60):
        assert browser.get("/usecases/care-outreach/").status_code == 200

"""The page of one endpoint: what answers, what is under way, what the way back is."""

import pytest

from apps.deployments import services
from apps.deployments.models import Deployment
from tests.deployments_web.conftest import words

pytestmark = pytest.mark.django_db


@pytest.fixture
def pilot(endpoints, linked):
    return endpoints("pilot")


def at(endpoint):
    return f"/endpoints/{endpoint.slug}/"


def live_part(browser, endpoint, seen=""):
    return words(browser.get(at(endpoint), {"seen": seen}, headers={"HX-Request": "true"}))


def test_who_may_see_it(client, page_of, make_user, browser, pilot):
    assert client.get(at(pilot)).status_code == 302
    assert browser.get(at(pilot)).status_code == 200
    for role, status in {"auditor": 200, "admin": 200, "stakeholder": 404, "ml_engineer": 404, "approver:risk": 404}.items():
        assert page_of(make_user(role)).get(at(pilot)).status_code == status, role
    assert browser.get("/endpoints/none-such/").status_code == 404


def test_an_empty_endpoint_offers_the_version_that_a_decision_admits_and_says_why_not_the_other(browser, pilot, decide, versions):
    decide(1, "pilot")
    versions(2)
    text = words(browser.get(at(pilot)))
    assert "This endpoint serves nothing." in text and "Nothing was rolled out here yet." in text
    assert "No gate has been passed for this artifact in pilot." in text
    form = text[text.index('action="/endpoints/care-outreach-pilot/deploy/') :]
    assert str(versions(1).id) in form and str(versions(2).id) not in form


def test_who_only_looks_finds_no_button(page_of, make_user, stage, linked):
    deployment = stage.live(1)
    text = words(page_of(make_user("auditor")).get(at(deployment.endpoint)))
    work = text[text.index('id="work"') :]
    assert "<button" not in work and "answers all requests" in work


def test_the_first_version_has_no_way_back(browser, stage):
    deployment = stage.live(1)
    text = words(browser.get(at(deployment.endpoint)))
    assert "care-outreach/1 answers all requests</strong> in pilot" in text
    assert "This is the first version here: there is none to go back to." in text
    assert "Take care-outreach/1 out of service" in text and "Callers get no answer" in text


def test_a_canary_is_followed_step_by_step(browser, stage):
    stage.live(1)
    rollout = stage.request(2, strategy="canary", steps=[10, 100], bake_s=60)
    endpoint = rollout.endpoint
    assert "care-outreach/2 is being rolled out.</strong> Waiting for the new version&#x27;s engine." in live_part(browser, endpoint)
    assert "Call off the rollout of care-outreach/2" in live_part(browser, endpoint)
    stage.make_ready(rollout.to_deployment, port=9002)
    stage.advance(endpoint)
    text = live_part(browser, endpoint)
    assert "it answers 10% of requests." in text and "care-outreach/1 90%, care-outreach/2 10%" in text
    assert "Roll back to care-outreach/1" in text and '<li class="here">10%' in text


def test_after_the_rollout_the_old_version_is_the_way_back_and_after_going_back_the_page_says_so(browser, stage, elena):
    stage.live(1)
    new = stage.live(2, strategy="canary", steps=[100], bake_s=0)
    assert "care-outreach/1 is warm and stays so until" in words(browser.get(at(new.endpoint)))
    services.roll_back(actor=elena, endpoint_id=new.endpoint_id, reason="The desk asks for it.")
    text = words(browser.get(at(new.endpoint)))
    assert "care-outreach/1 answers all requests" in text and "care-outreach/2 was rolled back" in text
    assert "The last rollout was rolled back." in text and "The desk asks for it." in text


def test_a_way_back_whose_decision_is_on_hold_is_told_with_the_reason(browser, stage, elena):
    from apps.decisions import services as decisions

    old = stage.live(1)
    stage.live(2)
    decisions.place_hold(actor=elena, decision_id=old.decision_id, reason="An incident.", source_type="test", source_id="1")
    assert "care-outreach/1 is warm but may not take traffic. The decision is on hold. An incident." in words(browser.get(at(old.endpoint)))


def test_a_standby_that_may_not_start_again_is_held_and_not_broken(browser, stage, elena):
    from apps.decisions import services as decisions

    old = stage.live(1)
    stage.live(2)
    decisions.place_hold(actor=elena, decision_id=old.decision_id, reason="An incident.", source_type="test", source_id="1")
    text = words(browser.get(at(old.endpoint)))
    assert '<span class="state pass">ready</span><small>Held: it gets no traffic. The decision is on hold. An incident.' in text
    Deployment.objects.filter(id=old.id).update(observed="failed", detail="The process ended.")
    text = words(browser.get(at(old.endpoint)))
    assert '<span class="state wait">held</span><small>It is not started again. The decision is on hold. An incident.' in text
    assert "state fail" not in text[text.index("Engines") : text.index("The way back")]


def test_a_broken_engine_is_the_first_thing_said(browser, stage):
    deployment = stage.live(1)
    Deployment.objects.filter(id=deployment.id).update(observed="lost", detail="The host does not list it.")
    text = live_part(browser, deployment.endpoint)
    assert "care-outreach/1 should answer 100% of requests, but its engine is gone." in text and "The host does not list it." in text


def test_the_live_part_brings_the_forms_only_when_something_has_changed(browser, stage, linked):
    deployment = stage.live(1)
    whole = words(browser.get(at(deployment.endpoint)))
    token = whole.split('name="seen" value="')[1].split('"')[0]
    same = live_part(browser, deployment.endpoint, token)
    assert "<html" not in same and 'id="versions"' not in same and 'id="back" hx-swap-oob="true"' in same
    Deployment.objects.filter(id=deployment.id).update(observed="failed")
    changed = live_part(browser, deployment.endpoint, token)
    assert 'id="versions" hx-swap-oob="true"' in changed and 'id="load-tests" hx-swap-oob="true"' in changed


def test_no_gateway_is_told(browser, stage):
    deployment = stage.live(1)
    assert "No gateway is listening." in live_part(browser, deployment.endpoint)
    stage.gateway_takes_up()
    assert "No gateway is listening." not in live_part(browser, deployment.endpoint)


def test_looking_on_costs_few_queries(browser, stage, django_assert_max_num_queries):
    stage.live(1)
    new = stage.live(2, strategy="canary", steps=[100], bake_s=0)
    token = words(browser.get(at(new.endpoint))).split('name="seen" value="')[1].split('"')[0]
    with django_assert_max_num_queries(24):
        live_part(browser, new.endpoint, token)

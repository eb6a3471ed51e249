"""Begin a gate on the page."""

import pytest

from apps.approvals import services
from apps.approvals.models import Gate
from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db
FORM = "/gates/new/?usecase=care-outreach"


def test_it_is_for_those_who_see_the_use_case(client, page_of, engineer, make_user, usecase, policies):
    assert client.get(FORM).status_code == 302
    assert "move on to proof of concept" in page_of(engineer).get(FORM).content.decode()
    assert page_of(make_user("stakeholder")).get(FORM).status_code == 404
    assert page_of(make_user("stakeholder")).post("/gates/new/", {"usecase": "care-outreach", "to": "poc"}).status_code == 404


def test_without_a_use_case_it_asks_which(page_of, engineer, make_user, usecase):
    assert "Care outreach" in page_of(engineer).get("/gates/new/").content.decode()
    answer = page_of(make_user("stakeholder")).get("/gates/new/")
    assert answer.status_code == 403 and "A gate is begun by the owner or sponsor of a use case" in answer.content.decode()


def test_without_a_stage_it_names_the_ways_there_are(page_of, engineer, usecase, policies):
    answer = page_of(engineer).post("/gates/new/", {"usecase": "care-outreach", "note": "Numbers are in."})
    text = answer.content.decode()
    assert answer.status_code == 400 and "From here it can be: move on to proof of concept." in text and "Numbers are in." in text
    assert not Gate.objects.exists()


def test_without_a_version_that_is_ready_it_offers_the_remedy_and_no_form(page_of, engineer, at_stage, policies, version):
    at_stage("poc")
    type(version).objects.update(status="pending")
    text = page_of(engineer).get(FORM).content.decode()
    assert "No version of a linked model is ready." in text and "Begin the gate" not in text


def test_a_gate_begins_as_a_draft(page_of, engineer, usecase, policies):
    answer = page_of(engineer).post("/gates/new/", {"usecase": "care-outreach", "to": "poc", "note": "Numbers are in."})
    gate = Gate.objects.get()
    assert answer.status_code == 302 and answer["Location"] == f"/gates/{gate.id}/"
    assert (gate.state, gate.to_stage, gate.opened_by, gate.note) == ("draft", "poc", engineer, "Numbers are in.")


def test_a_second_one_is_refused_and_what_was_typed_stays(page_of, engineer, usecase, policies):
    browser = page_of(engineer)
    browser.post("/gates/new/", {"usecase": "care-outreach", "to": "poc"})
    again = browser.post("/gates/new/", {"usecase": "care-outreach", "to": "poc", "note": "Once more."})
    assert again.status_code == 409
    assert "A gate like this is under way" in again.content.decode() and "Once more." in again.content.decode()


def test_a_gate_into_an_environment_needs_a_version_of_a_linked_model(page_of, engineer, at_stage, policies, version):
    at_stage("poc")
    browser = page_of(engineer)
    for wrong in ("", "not-an-id"):
        answer = browser.post("/gates/new/", {"usecase": "care-outreach", "to": "pilot", "version": wrong})
        assert answer.status_code == 400 and "name the version" in answer.content.decode()
    assert "outreach/1" in browser.get(FORM).content.decode()
    assert browser.post("/gates/new/", {"usecase": "care-outreach", "to": "pilot", "version": str(version.id)}).status_code == 302
    assert Gate.objects.get().model_version == version


def test_a_stage_that_is_not_next_is_refused(page_of, engineer, usecase, policies, version):
    answer = page_of(engineer).post("/gates/new/", {"usecase": "care-outreach", "to": "production", "version": str(version.id)})
    assert answer.status_code == 409 and "no gate leads to production" in answer.content.decode()


def test_a_reader_may_not_begin_one(page_of, make_user, owner, actor_of, usecase, policies):
    reader = make_user("stakeholder")
    usecases.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
    browser = page_of(reader)
    answer = browser.get(FORM)
    assert answer.status_code == 403 and "Ask its owner for change access." in answer.content.decode()
    assert browser.post("/gates/new/", {"usecase": "care-outreach", "to": "poc"}).status_code == 403
    assert not Gate.objects.exists()


def test_retiring_a_use_case_asks_for_no_model_version(page_of, policies, at_stage, engineer, system, usecase):
    from tests.approvals.conftest import policy

    ends = policy("production_retired", {"business": 1}, items=[{"item": "successor", "text": "What comes after is settled.", "owner": "owner"}])
    services.publish_policy(actor=system, text=ends)
    at_stage("production")
    browser = page_of(engineer)
    form = browser.get(f"/gates/new/?usecase={usecase.slug}").content.decode()
    assert "none, to retire" in form and '<select name="version" required' not in form
    answer = browser.post("/gates/new/", {"usecase": usecase.slug, "to": "retired", "version": "", "note": ""})
    assert answer.status_code == 302
    refused = browser.post("/gates/new/", {"usecase": usecase.slug, "to": "production", "version": "", "note": ""})
    assert refused.status_code == 400 and "name the version" in refused.content.decode()

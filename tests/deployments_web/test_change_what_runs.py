"""The buttons of the endpoint's page: each does one thing, or says in words why not."""

import pytest

from apps.core import clock
from apps.deployments.models import Deployment, Endpoint, EndpointKey, RollbackRehearsal, Rollout
from tests.deployments.world import later
from tests.deployments_web.conftest import words

pytestmark = pytest.mark.django_db


@pytest.fixture
def pilot(endpoints, linked):
    return endpoints("pilot")


def press(browser, path, **data):
    """Post, follow to the page, and return what it says."""
    return words(browser.post(path, data, follow=True))


def test_deploying_needs_a_live_decision(browser, pilot, versions):
    said = press(browser, "/endpoints/care-outreach-pilot/deploy/", version=versions(1).id, strategy="all_at_once")
    assert "No gate has been passed for this artifact in pilot." in said and not Rollout.objects.exists()


def test_a_decided_version_is_deployed(browser, agent, pilot, decide, versions):
    decide(1, "pilot")
    said = press(browser, "/endpoints/care-outreach-pilot/deploy/", version=versions(1).id, strategy="all_at_once")
    assert "Requested. The host fetches the files" in said and "care-outreach/1 is being rolled out" in said
    said = press(browser, "/endpoints/care-outreach-pilot/deploy/", version=versions(1).id, strategy="all_at_once")
    assert "a rollout is under way" in said and Rollout.objects.count() == 1


def test_a_canary_takes_the_steps_and_the_time_that_were_typed(browser, stage, decide, versions, linked):
    endpoint = stage.live(1).endpoint
    decide(2, "pilot")
    path = f"/endpoints/{endpoint.slug}/deploy/"
    assert "give growing whole percentages" in press(browser, path, version=versions(2).id, strategy="canary", steps="ten")
    assert "give growing whole percentages" in press(browser, path, version=versions(2).id, strategy="canary", steps="50, 10")
    assert "bake_s: write a plain number" in press(browser, path, version=versions(2).id, strategy="canary", bake_s="soon")
    press(browser, path, version=versions(2).id, strategy="canary", steps="5%, 50, 100", bake_s="30")
    rollout = Rollout.objects.get(state="in_progress")
    assert (rollout.steps, rollout.bake_s) == ([5, 50, 100], 30.0)


def test_a_version_nobody_knows_is_refused(browser, pilot):
    assert "There is no such model version" in press(browser, "/endpoints/care-outreach-pilot/deploy/", version="nonsense")


def test_rolling_back_needs_a_reason_and_says_what_has_happened(browser, stage):
    stage.live(1)
    new = stage.live(2)
    path = f"/endpoints/{new.endpoint.slug}/roll-back/"
    assert "reason: say why" in press(browser, path, reason=" ")
    said = press(browser, path, reason="The desk asks for it.")
    assert "All requests go back to care-outreach/1." in said and "care-outreach/1 answers all requests" in said
    assert Rollout.objects.latest("id").reason == "The desk asks for it."
    assert "it is rolled back already" in press(browser, path, reason="Once more.")


def test_a_rollout_without_traffic_is_called_off(browser, stage):
    rollout = stage.request(1)
    said = press(browser, f"/endpoints/{rollout.endpoint.slug}/roll-back/", reason="Wrong version.")
    assert "The rollout is called off." in said and "came to nothing" in said and "Wrong version." in said
    rollout.refresh_from_db()
    assert rollout.state == "failed"


def test_a_rehearsal_is_begun_once_and_only_on_pilot(browser, stage):
    pilot, production = stage.live(1).endpoint, stage.live(1, "production").endpoint
    assert "A rollback is being rehearsed" in press(browser, f"/endpoints/{pilot.slug}/rehearse/")
    assert "a rehearsal is under way" in press(browser, f"/endpoints/{pilot.slug}/rehearse/")
    assert "rehearse on a pilot endpoint" in press(browser, f"/endpoints/{production.slug}/rehearse/")
    assert RollbackRehearsal.objects.count() == 1


def test_stopping_what_answers_needs_a_reason(browser, stage):
    deployment = stage.live(1)
    path = f"/endpoints/{deployment.endpoint.slug}/deployments/{deployment.id}/stop/"
    assert "reason: say why" in press(browser, path)
    assert "Callers get no answer until another version is deployed." in press(browser, path, reason="Recalled.")
    deployment.refresh_from_db()
    assert deployment.desired == "stopped"


def test_a_warm_version_is_stopped_without_one(browser, stage):
    old, new = stage.live(1), stage.live(2)
    assert "care-outreach/1 is being stopped." in press(browser, f"/endpoints/{new.endpoint.slug}/deployments/{old.id}/stop/")
    assert Deployment.objects.get(id=old.id).desired == "stopped"


def test_a_deployment_of_another_endpoint_is_not_found(browser, stage, endpoints):
    deployment = stage.live(1)
    other = endpoints("production")
    assert browser.post(f"/endpoints/{other.slug}/deployments/{deployment.id}/stop/", {"reason": "x"}).status_code == 404


def test_a_key_is_shown_once_and_revoked_by_name(browser, pilot):
    path = "/endpoints/care-outreach-pilot/keys/"
    answer = browser.post(path, {"name": "claims"})
    key = EndpointKey.objects.get()
    assert f"ghe_{key.prefix}_" in answer.content.decode() and "shown this once" in words(answer)
    assert answer.headers["Cache-Control"] == "no-store"
    assert browser.get(path)["Location"] == "/endpoints/care-outreach-pilot/"
    assert "The key of “claims” is revoked" in press(browser, f"{path}{key.id}/revoke/")
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert browser.post(path, {"name": " "}).status_code == 400


def test_who_may_only_see_is_refused_in_words(page_of, make_user, elena, usecase, stage, versions):
    from apps.usecases import services

    old, new = stage.live(1), stage.live(2)
    reader = make_user("ml_engineer")
    services.give_access(actor=elena, usecase_id=usecase.id, user=reader, level="view")
    browser, base = page_of(reader), f"/endpoints/{new.endpoint.slug}/"
    for path, data in {
        "deploy/": {"version": versions(1).id}, "roll-back/": {"reason": "x"}, "rehearse/": {}, f"deployments/{old.id}/stop/": {"reason": "x"},
    }.items():  # fmt: skip
        assert "You may see this use case but not change it." in press(browser, base + path, **data), path
    assert browser.post(f"{base}keys/", {"name": "x"}).status_code == 403
    assert Deployment.objects.filter(desired="running").count() == 2


@pytest.mark.parametrize("path", ["deploy/", "roll-back/", "rehearse/", "keys/"])
def test_strangers_find_nothing_and_visitors_sign_in(client, page_of, make_user, pilot, path):
    assert page_of(make_user("stakeholder")).post(f"/endpoints/care-outreach-pilot/{path}").status_code == 404
    assert client.post(f"/endpoints/care-outreach-pilot/{path}").status_code == 302


# --- new endpoints, hosts -----------------------------------------------------------------------------


def test_a_new_endpoint_is_made_and_its_mistakes_are_named_beside_what_was_typed(browser, usecase):
    given = {"usecase": usecase.slug, "environment": "pilot", "name": "Night batch", "rate_limit_rps": "0"}
    refused = browser.post("/endpoints/new/", given)
    assert refused.status_code == 400 and 'value="Night batch"' in words(refused) and "Out of range." in words(refused)
    made = browser.post("/endpoints/new/", given | {"rate_limit_rps": "20", "slug": "night"}, follow=True)
    assert "The endpoint is there." in words(made)
    endpoint = Endpoint.objects.get(slug="night")
    assert (endpoint.name, endpoint.rate_limit_rps, endpoint.burst) == ("Night batch", 20.0, 40)
    assert browser.post("/endpoints/new/", given | {"rate_limit_rps": "20", "slug": "night"}).status_code == 409


def test_the_form_of_a_new_endpoint_is_ready_for_the_use_case_one_came_from(browser, usecase):
    assert f'<option value="{usecase.slug}" selected>' in words(browser.get(f"/endpoints/new/?usecase={usecase.slug}"))


def test_a_new_endpoint_is_for_engineers_who_may_change_a_use_case(page_of, make_user, elena, usecase):
    from apps.usecases import services

    stranger = page_of(make_user("ml_engineer")).get("/endpoints/new/")
    assert stranger.status_code == 403 and "Ask the owner of one for change access" in words(stranger)
    for role in ("stakeholder", "approver:risk", "auditor"):
        person = make_user(role)
        services.give_access(actor=elena, usecase_id=usecase.id, user=person, level="change")
        answer = page_of(person).get("/endpoints/new/")
        assert answer.status_code == 403 and "Only an ML engineer or an administrator may change what runs." in words(answer), role
        assert "/endpoints/new/" not in words(page_of(person).get("/endpoints/"))
    assert page_of(make_user("admin")).get("/endpoints/new/").status_code == 200


def test_hosts_are_for_those_who_deploy_or_audit(page_of, make_user, agent, client):
    for role, status in {"ml_engineer": 200, "admin": 200, "auditor": 200, "stakeholder": 404, "approver:risk": 404}.items():
        assert page_of(make_user(role)).get("/hosts/").status_code == status, role
    assert client.get("/hosts/").status_code == 302


def test_a_host_is_shown_with_what_it_has_and_whether_it_is_heard(page_of, make_user, agent):
    browser = page_of(make_user("admin"))
    text = words(browser.get("/hosts/"))
    assert "The host is heard from." in text and "8.0 GB" in text and "none" in text
    with clock.fixed(later(600)):
        assert "local is not heard from since" in words(browser.get("/hosts/"))


def test_without_hosts_the_page_says_how_to_register_one(page_of, make_user):
    assert "register_host" in words(page_of(make_user("admin")).get("/hosts/"))

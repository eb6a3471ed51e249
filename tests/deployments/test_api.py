"""The REST door of deployments: what people may see, what they may ask, and answers given once."""

import pytest

from apps.deployments import services
from apps.deployments.models import Deployment, EndpointKey, Rollout
from tests.deployments.world import later

pytestmark = pytest.mark.django_db


def test_an_engineer_goes_from_endpoint_to_rollout_over_rest(api, engineer, stage, decide, usecase, versions):
    client = api(engineer)
    decide(1, "pilot")
    made = client.post("/api/v1/endpoints/", {"usecase": usecase.slug, "environment": "pilot", "rate_limit_rps": 50})
    assert made.status_code == 201 and made.json()["slug"] == "care-outreach-pilot" and made.json()["burst"] == 100
    versions(1)
    asked = client.post("/api/v1/deployments/", {"endpoint": "care-outreach-pilot", "model": "care-outreach", "version": 1})
    assert asked.status_code == 201, asked.json()
    rollout = Rollout.objects.get(id=asked.json()["id"])
    stage.make_ready(rollout.to_deployment)
    stage.advance(rollout.endpoint)
    seen = client.get(f"/api/v1/rollouts/{rollout.id}/").json()
    assert (seen["state"], seen["deployment"]["weight"], seen["to_version"]) == ("completed", 100, "care-outreach/1")
    assert len(seen["shifts"]) == 1
    detail = client.get("/api/v1/endpoints/care-outreach-pilot/").json()
    assert detail["running"][0]["ready"] is True and detail["infer_url"].endswith("/v2/models/care-outreach-pilot/infer")
    one = client.get(f"/api/v1/deployments/{rollout.to_deployment_id}/").json()
    assert one["engine_starts"] == 1 and [o["kind"] for o in one["orders"]] == ["start"] and "envelope" not in one["orders"][0]


def test_a_key_is_shown_once_and_revoked(api, engineer, endpoints):
    client, endpoint = api(engineer), endpoints()
    issued = client.post(f"/api/v1/endpoints/{endpoint.slug}/keys/", {"name": "claims"})
    assert issued.status_code == 201 and issued.json()["key"].startswith("ghe_") and "no-store" in issued["Cache-Control"]
    assert issued.json()["key"] not in EndpointKey.objects.get().key_hash
    listed = client.get(f"/api/v1/endpoints/{endpoint.slug}/").json()["keys"]
    assert [k["name"] for k in listed] == ["claims"] and "key" not in listed[0]
    assert client.delete(f"/api/v1/endpoints/{endpoint.slug}/keys/{issued.json()['id']}/").json()["revoked_at"]


def test_the_same_idempotency_key_starts_one_rollout(api, engineer, stage, decide, endpoints):
    client = api(engineer)
    decide(1, "pilot")
    body = {"endpoint": endpoints().slug, "model_version": str(stage.versions(1).id)}
    first = client.post("/api/v1/deployments/", body, headers={"Idempotency-Key": "one"})
    second = client.post("/api/v1/deployments/", body, headers={"Idempotency-Key": "one"})
    assert first.status_code == second.status_code == 201 and first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotency-Replayed"] == "true" and Deployment.objects.count() == 1


def test_without_a_decision_the_answer_is_a_conflict_that_names_the_gate(api, engineer, stage, endpoints):
    body = {"endpoint": endpoints().slug, "model_version": str(stage.versions(1).id)}
    answer = api(engineer).post("/api/v1/deployments/", body)
    assert answer.status_code == 409 and answer.json()["code"] == "no-live-decision" and "gate" in answer.json()["detail"]


def test_what_a_person_may_not_see_is_not_there(api, make_user, stage):
    deployment = stage.live(1)
    stranger = api(make_user("ml_engineer"))
    for path in (
        f"endpoints/{deployment.endpoint.slug}/", f"endpoints/{deployment.endpoint_id}/", f"deployments/{deployment.id}/",
        f"rollouts/{deployment.rollouts_to.get().id}/",
    ):  # fmt: skip
        assert stranger.get(f"/api/v1/{path}").status_code == 404, path
    for path in ("endpoints/", "deployments/", "rollouts/"):
        assert stranger.get(f"/api/v1/{path}").json()["results"] == []
    assert stranger.post(f"/api/v1/deployments/{deployment.id}/stop/", {"reason": "x"}).status_code == 404
    assert stranger.post(f"/api/v1/endpoints/{deployment.endpoint.slug}/roll-back/", {"reason": "x"}).status_code == 404


def test_an_auditor_sees_and_changes_nothing(api, make_user, stage):
    deployment = stage.live(1)
    auditor = api(make_user("auditor"))
    assert auditor.get(f"/api/v1/deployments/{deployment.id}/").status_code == 200
    assert auditor.post(f"/api/v1/deployments/{deployment.id}/stop/", {"reason": "x"}).status_code == 403
    assert auditor.post(f"/api/v1/endpoints/{deployment.endpoint.slug}/keys/", {"name": "x"}).status_code == 403
    assert auditor.get("/api/v1/hosts/").json()["results"][0]["name"] == "local"


def test_hosts_are_registered_by_administrators_and_show_what_they_have(api, make_user, engineer, agent):
    listed = api(engineer).get("/api/v1/hosts/").json()["results"][0]
    assert (listed["reachable"], listed["cpu_count"], listed["gpus"]) == (True, 4, [])
    assert api(make_user("stakeholder")).get("/api/v1/hosts/").json()["results"] == []
    assert api(engineer).post("/api/v1/hosts/", {"name": "gpu", "public_key": "x"}).status_code == 403
    assert api(make_user("admin")).post("/api/v1/hosts/", {"name": "gpu", "public_key": "x"}).status_code == 400


def test_rolling_back_and_stopping_over_rest(api, engineer, stage):
    stage.live(1)
    second = stage.live(2)
    client = api(engineer)
    assert client.post(f"/api/v1/endpoints/{second.endpoint.slug}/roll-back/", {}).status_code == 400
    back = client.post(f"/api/v1/endpoints/{second.endpoint.slug}/roll-back/", {"reason": "Costs."})
    assert back.status_code == 200 and back.json()["state"] == "rolled_back"
    stopped = client.post(f"/api/v1/deployments/{second.id}/stop/", {})
    assert stopped.status_code == 200 and stopped.json()["desired"] == "stopped"


def test_a_rehearsal_is_accepted_and_followed_on_the_endpoint(api, engineer, stage):
    endpoint = stage.live(1).endpoint
    client = api(engineer)
    assert client.post(f"/api/v1/endpoints/{endpoint.slug}/rehearse-rollback/").status_code == 202
    assert client.get(f"/api/v1/endpoints/{endpoint.slug}/").json()["rehearsals"][0]["ok"] is None


@pytest.mark.parametrize("path", ["endpoints/", "deployments/", "rollouts/", "hosts/"])
def test_list_pages_take_a_bounded_number_of_queries(api, engineer, stage, path, django_assert_max_num_queries):
    client = api(engineer)
    for number in (1, 2, 3):
        stage.live(number)
    client.get(f"/api/v1/{path}")
    with django_assert_max_num_queries(14):
        assert client.get(f"/api/v1/{path}").status_code == 200


def test_running_engines_are_metered_by_the_rate_card(stage, rate_card, system, usecase):
    from apps.core import clock
    from apps.kpis.models import CostEntry

    began = clock.now()
    deployment = stage.live(1)
    stage.agent.report(deployment, "ready", memory_bytes=2**29)
    stage.agent.report(deployment, "ready", memory_bytes=2**28)
    with clock.fixed(later(3600)):
        entry = services.meter_cost(actor=system, usecase_id=usecase.id)
        assert services.meter_cost(actor=system, usecase_id=usecase.id) is None
    # One core and half a GiB for an hour.
    assert float(entry.amount) == pytest.approx(0.048 + 0.5 * 0.006, rel=0.01) and entry.currency == "USD"
    assert entry.period_start >= began and CostEntry.objects.count() == 1
    with clock.fixed(later(7200)):
        following = services.meter_cost(actor=system, usecase_id=usecase.id)
    assert following.period_start == entry.period_end

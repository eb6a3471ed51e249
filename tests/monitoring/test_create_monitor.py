"""Setting a monitor up, over REST and in words."""

import json

import pytest

from apps.core import clock
from apps.core.errors import Invalid, NotAllowed
from apps.monitoring import services
from apps.monitoring.models import Monitor
from tests.deployments.world import actions, later
from tests.monitoring.traffic import Traffic

pytestmark = pytest.mark.django_db
ROWS = [{"age": float(i % 7), "visits": float(i % 5)} for i in range(500)]


def test_a_drift_monitor_from_reference_to_window_over_rest(api, engineer, make_user, stage, settings, tmp_path):
    settings.CAPTURE_DIR = tmp_path
    deployment = stage.live(1)
    client, slug = api(engineer), deployment.endpoint.slug
    body = {
        "endpoint": slug,
        "kind": "drift",
        "config": {"min_rows": 100, "settle_s": 0},
        "reference": {"rows": ROWS, "source": "validation"},
    }
    made = client.post("/api/v1/monitors/", body)
    assert made.status_code == 201, made.json()
    assert made.json()["reference"] == {"n": 500, "source": "validation", "features": ["age", "visits"]}
    path = f"/api/v1/monitors/{made.json()['id']}/"
    waiting = client.post(f"{path}evaluate/").json()
    assert waiting["window"] is None and "0 rows" in waiting["detail"]
    Traffic(tmp_path, deployment.endpoint).write(
        [{"features": json.dumps(r), "deployment_id": str(deployment.id)} for r in ROWS[:200]], later(1)
    )
    with clock.fixed(later(10)):
        found = client.post(f"{path}evaluate/").json()
    assert (found["window"]["state"], found["window"]["n"], found["incident_id"]) == ("quiet", 200, "")
    assert [w["id"] for w in client.get(f"{path}windows/").json()["results"]] == [found["window"]["id"]]
    assert client.get(f"/api/v1/monitors/?endpoint={slug}").json()["results"][0]["active"] is True
    stranger = api(make_user("ml_engineer"))
    for address in (path, f"{path}windows/"):
        assert stranger.get(address).status_code == 404
    assert stranger.post(f"{path}evaluate/").status_code == 404 and stranger.get("/api/v1/monitors/").json()["results"] == []
    assert client.delete(path).json()["active"] is False and client.delete(path).status_code == 200
    assert client.post(f"{path}evaluate/").status_code == 409
    assert actions().count("monitoring.monitor.retired") == 1


def test_a_judgement_asked_for_with_a_key_is_given_again_and_not_made_again(api, engineer, stage, settings, tmp_path):
    settings.CAPTURE_DIR = tmp_path
    deployment = stage.live(1)
    client, slug = api(engineer), deployment.endpoint.slug
    body = {
        "endpoint": slug,
        "kind": "drift",
        "config": {"min_rows": 100, "settle_s": 0},
        "reference": {"rows": ROWS, "source": "validation"},
    }
    path = f"/api/v1/monitors/{client.post('/api/v1/monitors/', body).json()['id']}/"
    Traffic(tmp_path, deployment.endpoint).write(
        [{"features": json.dumps(r), "deployment_id": str(deployment.id)} for r in ROWS[:200]], later(1)
    )
    with clock.fixed(later(10)):
        first = client.post(f"{path}evaluate/", headers={"Idempotency-Key": "look-1"})
    with clock.fixed(later(20)):
        again = client.post(f"{path}evaluate/", headers={"Idempotency-Key": "look-1"})
    assert first.json()["window"]["n"] == 200 and "Idempotency-Replayed" not in first.headers
    assert again.json() == first.json() and again.headers["Idempotency-Replayed"] == "true"
    assert client.post(f"{path}evaluate/", {"now": True}, headers={"Idempotency-Key": "look-1"}).status_code in {400, 409}
    assert len(client.get(f"{path}windows/").json()["results"]) == 1


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ({}, "reference"), ({"rows": []}, "reference.rows"), ({"rows": [5]}, "reference.rows[0]"), ({"rows": [{"a": [1]}]}, "reference.rows[0]"),
        ({"since": "x", "until": "y"}, "reference.since"), ({"since": "2026-11-01T00:00:00", "until": "2026-11-02T00:00:00Z"}, "reference.since"),
        ({"since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z"}, "reference.since"),
    ],
)  # fmt: skip
def test_a_reference_that_cannot_be_used_is_named(elena, endpoints, settings, tmp_path, reference, name):
    settings.CAPTURE_DIR = tmp_path
    with pytest.raises(Invalid) as refusal:
        services.create_monitor(actor=elena, endpoint_id=endpoints().id, kind="drift", reference=reference)
    assert name in refusal.value.errors and not Monitor.objects.exists()


def test_only_a_drift_monitor_has_a_reference_and_only_known_kpis_are_fed(elena, endpoints):
    make = lambda **given: services.create_monitor(actor=elena, endpoint_id=endpoints().id, **given)  # noqa: E731
    with pytest.raises(Invalid, match="only a drift monitor"):
        make(kind="latency", reference={"rows": ROWS})
    with pytest.raises(Invalid, match="no KPI 'speed'"):
        make(kind="latency", config={"kpis": {"latency_p99_ms": "speed"}})
    latency = make(kind="latency")
    with pytest.raises(Invalid, match="no reference"):
        make(kind="drift", reference={"monitor": str(latency.id)})


def test_stakeholders_set_up_nothing(endpoints, make_user, actor_of):
    with pytest.raises(NotAllowed):
        services.create_monitor(actor=actor_of(make_user("stakeholder")), endpoint_id=endpoints().id, kind="latency")

"""Use cases over REST."""

import pytest

pytestmark = pytest.mark.django_db


def ok(response, code=200):
    assert response.status_code == code, (response.status_code, response.content[:2000])
    return response.json()


BODY = {
    "name": "Care outreach", "problem": "Calls reach the wrong members.", "decision_supported": "Whom the desk calls.", "output_users": "Nurses",
    "risk_tier": "high", "currency": "USD",
    "requirements": {"latency_p99_ms": 100, "availability_pct": 99.5, "freshness_hours": 24, "concurrent_users": 40, "projected_rps": 10},
    "integrations": [{"name": "Member register", "direction": "in", "owner": "Membership IT", "note": "nightly"}],
}  # fmt: skip


def test_a_use_case_is_written_read_found_and_changed(api, owner, make_user):
    client, sponsor = api(owner), make_user("stakeholder")
    made = ok(client.post("/api/v1/usecases/", BODY | {"sponsor": sponsor.email.upper()}, format="json"), 201)
    assert (made["slug"], made["stage"], made["next_stage"]) == ("care-outreach", "proposal", "poc")
    assert made["sponsor"]["email"] == sponsor.email and made["owner"]["email"] == owner.email
    assert made["requirements"]["projected_rps"] == 10 and made["requirements"]["peak_factor"] == 10
    assert made["integrations"][0]["owner"] == "Membership IT"
    assert ok(client.get(f"/api/v1/usecases/{made['id']}/"))["id"] == ok(client.get("/api/v1/usecases/care-outreach/"))["id"] == made["id"]
    assert [u["slug"] for u in ok(client.get("/api/v1/usecases/?stage=proposal&search=outreach"))["results"]] == ["care-outreach"]
    assert ok(client.get("/api/v1/usecases/?stage=poc"))["results"] == []
    assert ok(client.patch("/api/v1/usecases/care-outreach/", {"risk_tier": "limited"}, format="json"))["risk_tier"] == "limited"
    put = client.put("/api/v1/usecases/care-outreach/requirements/", {"latency_p99_ms": 60}, format="json")
    assert ok(put)["latency_p99_ms"] == 60 and ok(client.get("/api/v1/usecases/care-outreach/requirements/"))["availability_pct"] == 99.5


def test_access_models_and_integrations(api, owner, usecase, make_user, model):
    client, engineer = api(owner), make_user("ml_engineer")
    emil = api(engineer)
    assert emil.get("/api/v1/usecases/care-outreach/").status_code == 404
    ok(client.post("/api/v1/usecases/care-outreach/access/", {"user": engineer.email, "level": "change"}, format="json"), 201)
    assert ok(emil.post("/api/v1/usecases/care-outreach/models/", {"model": "care-outreach"}, format="json"), 201) == {
        "model": "care-outreach"
    }
    assert ok(client.get("/api/v1/usecases/care-outreach/models/"))["results"] == [{"model": "care-outreach"}]
    ok(emil.post("/api/v1/usecases/care-outreach/integrations/", {"name": "Desk", "direction": "out"}, format="json"), 201)
    assert [p["name"] for p in ok(client.get("/api/v1/usecases/care-outreach/integrations/"))["results"]] == ["Desk"]
    assert ok(client.get("/api/v1/usecases/care-outreach/access/"))["results"][0]["user"]["email"] == engineer.email


def test_hold_resume_fall_back_and_stop(api, owner, usecase, move_to):
    client = api(owner)
    move_to(usecase, "production")
    base = "/api/v1/usecases/care-outreach"
    assert ok(client.post(f"{base}/fall-back/", {"reason": "Too dear."}, format="json"))["stage"] == "pilot"
    assert ok(client.post(f"{base}/hold/", {"reason": "No budget."}, format="json"))["stage"] == "on_hold"
    assert ok(client.post(f"{base}/resume/"))["stage"] == "pilot"
    assert client.post(f"{base}/stop/", {"lesson": " "}, format="json").status_code == 400
    assert ok(client.post(f"{base}/stop/", {"lesson": "Labels come late."}, format="json"))["lesson"] == "Labels come late."
    moves = ok(client.get(f"{base}/moves/"))["results"]
    assert [m["to_stage"] for m in moves] == ["poc", "pilot", "production", "pilot", "on_hold", "pilot", "stopped"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"owner": "nobody@example.org"}, "owner"),
        ({"risk_tier": "huge"}, "risk_tier"),
        ({"requirements": {"projected_rps": 0}}, "projected_rps"),
        ({"requirements": {"projected_rps": "many"}}, "requirements.projected_rps"),
        ({"integrations": [{"name": "x"}]}, "integrations[0].direction"),
    ],
)
def test_a_bad_body_names_the_field(api, owner, changed, field):
    response = api(owner).post("/api/v1/usecases/", BODY | changed, format="json")
    assert response.status_code == 400 and field in response.json()["errors"], response.json()
    assert response["Content-Type"] == "application/problem+json"


def test_the_stage_cannot_be_sent(api, owner):
    refused = api(owner).post("/api/v1/usecases/", BODY | {"stage": "production"}, format="json")
    assert refused.status_code == 400 and "stage" in refused.json()["errors"]
    made = ok(api(owner).post("/api/v1/usecases/", BODY, format="json"), 201)
    assert api(owner).patch(f"/api/v1/usecases/{made['slug']}/", {"stage": "production"}, format="json").status_code == 400
    assert ok(api(owner).get(f"/api/v1/usecases/{made['slug']}/"))["stage"] == "proposal"


def test_nobody_and_readers(api, owner, usecase, make_user):
    assert api().get("/api/v1/usecases/").status_code == 401
    assert api(owner, scopes=("read",)).patch("/api/v1/usecases/care-outreach/", {"problem": "x"}, format="json").status_code == 403
    auditor = api(make_user("auditor"))
    assert auditor.patch("/api/v1/usecases/care-outreach/", {"problem": "x"}, format="json").status_code == 403
    assert ok(auditor.get("/api/v1/usecases/care-outreach/"))["slug"] == "care-outreach"

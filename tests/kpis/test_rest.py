"""KPIs over REST."""

import pytest

pytestmark = pytest.mark.django_db


def ok(response, code=200):
    assert response.status_code == code, (response.status_code, response.content[:2000])
    return response.json()


BODY = {
    "usecase": "care-outreach", "name": "Cost per 1,000 decisions", "dimension": "business", "unit": "USD", "direction": "lower",
    "aggregation": "ratio", "scale": 1000, "target": 8000, "floor": 10000, "primary": True,
}  # fmt: skip


def test_define_measure_freeze_and_compare(api, usecase, owner, rows):
    client = api(owner)
    kpi = ok(client.post("/api/v1/kpis/", BODY, format="json"), 201)
    base = f"/api/v1/kpis/{kpi['id']}"
    costs = [10 + (i % 5) / 10 for i in range(20)]
    report = ok(client.post(f"{base}/measurements/", {"rows": rows(costs)}, format="json"))
    assert report == {"accepted": 20, "corrected": 0, "repeated": 0, "refused": []}
    frozen = ok(
        client.post(f"{base}/baselines/", {"period_start": "2026-01-01T00:00:00Z", "period_end": "2026-01-21T00:00:00Z"}, format="json"),
        201,
    )
    assert frozen["value"] == pytest.approx(10_200) and frozen["n"] == 2000
    assert ok(client.get(f"{base}/effect/"))["enough"] is False
    ok(
        client.post(
            f"{base}/measurements/", {"rows": rows([c - 3 for c in costs], start=20, version="outreach/1"), "mode": "good"}, format="json"
        )
    )
    effect = ok(client.get(f"{base}/effect/?version=outreach/1"))
    assert effect["enough"] and effect["improvement"] == pytest.approx(3 / 10.2) and "bootstrap" in effect["method"]
    one = ok(client.get(f"{base}/"))
    assert one["current"]["attainment"]["state"] == "met" and one["in_force"]["digest"] == frozen["digest"]
    assert len(ok(client.get(f"{base}/series/?version=outreach/1"))["results"]) == 20
    assert len(ok(client.get(f"{base}/measurements/?page_size=30"))["results"]) == 30
    ok(client.post(f"{base}/value-conversion/", {"value_per_unit": "1.0", "currency": "USD", "per_n": 1000}, format="json"), 201)
    cost = {
        "period_start": "2026-01-21T00:00:00Z",
        "period_end": "2026-02-10T00:00:00Z",
        "amount": "12.5",
        "currency": "USD",
        "source": "meter",
        "external_id": "c1",
    }
    for _ in range(2):
        ok(client.post("/api/v1/usecases/care-outreach/costs/", cost, format="json"), 201)
    value = ok(client.get("/api/v1/usecases/care-outreach/value/"))
    assert value["value"] == pytest.approx(6000) and value["cost"] == 12.5 and value["net"] == pytest.approx(5987.5)


def test_bad_rows_come_back_by_number_and_field(api, usecase, owner, rows):
    client = api(owner)
    kpi = ok(client.post("/api/v1/kpis/", BODY, format="json"), 201)
    batch = rows([10.0, 11.0, 12.0])
    batch[1]["denominator"] = "many"
    refused = client.post(f"/api/v1/kpis/{kpi['id']}/measurements/", {"rows": batch}, format="json")
    assert refused.status_code == 400 and refused.json()["errors"] == {"rows[1].denominator": ["Give a finite number."]}
    report = ok(client.post(f"/api/v1/kpis/{kpi['id']}/measurements/", {"rows": batch, "mode": "good"}, format="json"))
    assert report["accepted"] == 2 and report["refused"] == [{"row": 1, "errors": {"denominator": "Give a finite number."}}]


def test_strangers_get_404_everywhere(api, measured, make_user):
    client = api(make_user("stakeholder"))
    base = f"/api/v1/kpis/{measured.id}"
    for path in ("/", "/measurements/", "/baselines/", "/effect/", "/series/", "/value-conversion/"):
        assert client.get(base + path).status_code == 404, path
    assert client.post(f"{base}/measurements/", {"rows": [{}]}, format="json").status_code == 404
    assert client.get("/api/v1/usecases/care-outreach/value/").status_code == 404
    assert client.get("/api/v1/kpis/?usecase=care-outreach").status_code == 404
    assert ok(client.get("/api/v1/kpis/"))["results"] == []


def test_a_kpi_is_changed_where_it_may(api, measured, owner):
    client = api(owner)
    assert ok(client.patch(f"/api/v1/kpis/{measured.id}/", {"target": 7000}, format="json"))["target"] == 7000
    fixed = client.patch(f"/api/v1/kpis/{measured.id}/", {"unit": "EUR"}, format="json")
    assert fixed.status_code == 409 and fixed.json()["errors"] == {"unit": ["Fixed."]}


def test_rate_cards(api, owner, make_user):
    card = {"cpu_hour": "0.048", "gpu_hour": "2.50", "memory_gib_hour": "0.006", "currency": "USD"}
    assert api(owner).post("/api/v1/rate-cards/", card, format="json").status_code == 403
    assert ok(api(make_user("admin")).post("/api/v1/rate-cards/", card, format="json"), 201)["name"] == "default"
    assert ok(api(owner).get("/api/v1/rate-cards/"))["results"][0]["cpu_hour"] == "0.048000"


def test_the_list_of_kpis_does_not_grow_queries(api, usecase, owner, define):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = api(owner)
    define()
    ok(client.get("/api/v1/kpis/"))  # the first use of a token is written down
    with CaptureQueriesContext(connection) as few:
        ok(client.get("/api/v1/kpis/?usecase=care-outreach"))
    for number in range(6):
        define(name=f"K{number}", primary=False)
    with CaptureQueriesContext(connection) as many:
        assert len(ok(client.get("/api/v1/kpis/?usecase=care-outreach"))["results"]) == 7
    assert len(many) == len(few) <= 12

"""Callers' departments, what gateways are told of rollout phases, and what they count."""

import json
import uuid
from datetime import date

import pytest

from apps.core.actor import Actor
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.decisions import services as decision_services
from apps.deployments import selectors, services
from apps.deployments.models import EndpointKey, GatewayState, PhaseTally
from apps.usecases import phase_selectors
from apps.usecases import services as usecases
from apps.usecases.models import RolloutPhase
from tests.deployments.world import actions, messages

pytestmark = pytest.mark.django_db
HOUR = "2026-11-28T10:00:00+00:00"


@pytest.fixture
def production(usecase, system, endpoints):
    """The use case in production, with its endpoint."""
    for step in ("poc", "pilot", "production"):
        decision = decision_services.issue(
            actor=system, usecase_id=usecase.id, kind="stage", stage_to=step, environment="", model_version_id=None, model_version_label="",
            artifact_digest="", gate_id=uuid.uuid4(), evidence_digest="sha256:" + "0" * 64, valid_days=9,
        )  # fmt: skip
        usecases.promote(actor=system, usecase_id=usecase.id, to_stage=step, decision=decision)
    return endpoints("production")


@pytest.fixture
def plan(usecase, elena):
    def make(name, **more):
        given = {"planned_on": date(2026, 12, 1), "entry_criteria": "Trained.", "closes_now": True} | more
        return usecases.plan_phase(actor=elena, usecase_id=usecase.id, name=name, **given)

    return make


@pytest.fixture
def open_it(system):
    def make(phase):
        decision = decision_services.issue(
            actor=system, usecase_id=phase.usecase_id, kind="phase", stage_to="", environment="", model_version_id=None, model_version_label="",
            artifact_digest="", gate_id=uuid.uuid4(), evidence_digest="sha256:" + "e" * 64, valid_days=30, phase_id=phase.id, phase_name=phase.name,
        )  # fmt: skip
        fresh = RolloutPhase.objects.select_related("owner").get(id=phase.id)
        return usecases.open_phase(actor=system, phase_id=phase.id, decision=decision, signed=phase_selectors.facts(fresh))

    return make


def routed(stage, slug):
    payload = json.loads(stage.publish().envelope["payload"])
    return next(e for e in payload["endpoints"] if e["slug"] == slug)


def test_a_key_is_given_a_department_and_the_trail_says_so(stage, elena, endpoints):
    key, _ = services.issue_key(actor=elena, endpoint_id=endpoints("pilot").id, name="claims system", department=" Claims ")
    assert key.department == "Claims"
    before = len(messages("deployments.publish_routing"))
    for _ in range(2):
        services.assign_key(actor=elena, key_id=key.id, department="Billing", team="North  team")
    key.refresh_from_db()
    assert (key.department, key.team) == ("Billing", "North team")
    assert actions().count("deployments.key.assigned") == 1 and len(messages("deployments.publish_routing")) == before + 1


def test_who_may_not_deploy_does_not_assign(elena, endpoints, make_user, actor_of, usecase):
    key, _ = services.issue_key(actor=elena, endpoint_id=endpoints("pilot").id, name="claims system")
    reader = make_user("stakeholder")
    usecases.give_access(actor=elena, usecase_id=usecase.id, user=reader, level="change")
    with pytest.raises(NotAllowed):
        services.assign_key(actor=actor_of(reader), key_id=key.id, department="Billing")
    with pytest.raises(NotFound):
        services.assign_key(actor=actor_of(make_user("ml_engineer")), key_id=key.id, department="Billing")
    with pytest.raises(Invalid, match="department"):
        services.assign_key(actor=elena, key_id=key.id, department="x" * 101)
    services.revoke_key(actor=elena, key_id=key.id)
    with pytest.raises(Conflict, match="revoked"):
        services.assign_key(actor=elena, key_id=key.id, department="Billing")
    assert EndpointKey.objects.get(id=key.id).department == ""


def test_without_a_plan_the_snapshot_says_open_to_all(stage, production):
    assert routed(stage, production.slug)["rollout"] is None


def test_the_snapshot_carries_the_open_cohorts_and_follows_them(stage, production, plan, open_it, elena, endpoints):
    services.issue_key(actor=elena, endpoint_id=production.id, name="claims system", department="Claims", team="North")
    claims = plan("claims", departments=["Claims"])
    plan("half", percent=50)
    said = routed(stage, production.slug)
    assert said["keys"][0]["groups"] == ["Claims", "North"]
    assert said["rollout"]["salt"] == str(production.usecase_id)
    assert [(p["name"], p["departments"], p["percent"], p["open"]) for p in said["rollout"]["phases"]] == [
        ("claims", ["Claims"], 100, False), ("half", [], 50, False),
    ]  # fmt: skip
    version = selectors.newest_routing_version()
    open_it(claims)
    assert [p["open"] for p in routed(stage, production.slug)["rollout"]["phases"]] == [True, False]
    assert selectors.newest_routing_version() == version + 1
    usecases.close_phase(actor=elena, phase_id=claims.id, reason="Odd.")
    first = routed(stage, production.slug)["rollout"]["phases"][0]
    assert (first["open"], first["closed"]) == (False, True)
    assert routed(stage, endpoints("pilot").slug)["rollout"] is None, "a pilot has no phases"


def test_a_snapshot_of_many_endpoints_asks_for_all_plans_at_once(stage, production, plan, django_assert_max_num_queries):
    plan("claims", departments=["Claims"])
    with django_assert_max_num_queries(4):
        phase_selectors.plans([production.usecase_id, uuid.uuid4()])


def row(of, **changed):
    return {"endpoint": str(of.id), "hour": HOUR, "key": "abcd1234", "phase": "", "admitted": 3, "refused": 0} | changed


def test_counts_of_a_run_replace_each_other_and_add_up_over_runs(production, plan, system):
    plan("claims", departments=["Claims"])
    first, second = uuid.uuid4(), uuid.uuid4()
    from apps.core.clock import now

    hour = now().replace(minute=0, second=0, microsecond=0).isoformat()
    rows = [row(production, hour=hour), row(production, hour=hour, phase="claims", admitted=0, refused=2)]
    for _ in range(2):
        assert services.take_tally(actor=system, run=first, rows=rows) == 2
    services.take_tally(actor=system, run=first, rows=[row(production, hour=hour, admitted=7)])
    services.take_tally(actor=system, run=second, rows=[row(production, hour=hour, key="other999")])
    found = selectors.openness(production)
    assert (found.admitted, found.refused, found.callers, found.callers_refused, found.waiting_for) == (10, 2, 2, 1, {"claims": 2})
    assert services.take_tally(actor=system, run=first, rows=[row(production, endpoint=str(uuid.uuid4()))]) == 0


@pytest.mark.parametrize(
    "changed",
    [{"admitted": -1}, {"admitted": True}, {"hour": "now"}, {"hour": "2026-11-28T10:00:00"}, {"endpoint": "x"}, {"phase": "\x00"}],
)
def test_a_row_that_is_none_is_refused_and_nothing_is_kept(production, system, changed):
    with pytest.raises(Invalid, match=r"rows\[1\]"):
        services.take_tally(actor=system, run=uuid.uuid4(), rows=[row(production), row(production, **changed)])
    assert not PhaseTally.objects.exists()


def test_only_a_gateway_counts(production, elena):
    with pytest.raises(NotAllowed):
        services.take_tally(actor=elena, run=uuid.uuid4(), rows=[])
    services.take_tally(actor=Actor("token", "t", "gw", scopes=frozenset({"routing"})), run=uuid.uuid4(), rows=[])


def test_the_gateways_door_takes_the_token_with_its_scope_alone(client, api, make_user, production, system):
    from apps.accounts import services as accounts

    admin = make_user("admin")
    _, secret = accounts.issue_token(actor=system, user=admin, name="gw", scopes=["routing"])
    body = json.dumps({"run": str(uuid.uuid4()), "rows": [row(production)]})
    def send(token, text):
        return client.post(
            "/internal/phase-tallies/", text, "application/json", headers={"Authorization": f"Bearer {token}"}
        )
    assert send(secret, body).status_code == 204
    assert send(secret, "[]").status_code == 400 and send(secret, "{").status_code == 400
    assert send("ghp_wrong", body).status_code == 401
    _, reader = accounts.issue_token(actor=system, user=admin, name="r", scopes=["read"])
    assert send(reader, body).status_code == 403
    assert PhaseTally.objects.count() == 1
    client.get("/internal/routing/?since=0&wait=0", headers={"Authorization": f"Bearer {secret}"})
    assert send(secret, body).status_code == 204 and GatewayState.objects.get().counts_since is None, "as gateways said it before"
    assert send(secret, json.dumps({"run": str(uuid.uuid4()), "rows": [], "counts": "all", "lost_before": None})).status_code == 204
    assert GatewayState.objects.get().counts_since is not None
    assert send(secret, json.dumps({"run": str(uuid.uuid4()), "rows": [], "counts": "all", "lost_before": "x"})).status_code == 400


def test_rest_says_to_whom_it_is_open(api, engineer, production, plan, elena):
    key, _ = services.issue_key(actor=elena, endpoint_id=production.id, name="claims system")
    assert api(engineer).get(f"/api/v1/endpoints/{production.slug}/").json()["openness"] is None
    plan("claims", departments=["Claims"])
    assigned = api(engineer).patch(f"/api/v1/endpoints/{production.slug}/keys/{key.id}/", {"department": "Claims"})
    assert assigned.status_code == 200 and assigned.json()["department"] == "Claims", assigned.content
    said = api(engineer).get(f"/api/v1/endpoints/{production.slug}/").json()["openness"]
    assert said["admitted"] == 0 and said["callers"] == 0

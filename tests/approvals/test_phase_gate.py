"""A rollout phase is opened by a gate like every other: frozen evidence, four eyes, signatures, a decision that ends."""

from datetime import date, timedelta

import pytest

from apps.approvals import documents, selectors, services
from apps.approvals.models import Gate
from apps.audit.models import Event
from apps.core.clock import fixed, now
from apps.core.errors import Conflict, FourEyesRequired, Invalid, NotFound, StaleEvidence
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.usecases import phase_selectors
from apps.usecases import services as usecases
from tests.approvals.conftest import policy
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
CHECKS = [{"check": "usecases.phase_planned"}, {"check": "usecases.earlier_phases_open"}, {"check": "monitoring.no_open_incident"}]


@pytest.fixture
def phase_policy(policies, system):
    return services.publish_policy(actor=system, text=policy("phase", {"business": 1, "risk": 1}, checks=CHECKS))[0]


@pytest.fixture
def plan(usecase, owner, actor_of):
    def make(name, **more):
        given = {"planned_on": date(2026, 12, 1), "entry_criteria": "The desk was trained.", "departments": [name]} | more
        return usecases.plan_phase(actor=actor_of(owner), usecase_id=usecase.id, name=name, **given)

    return make


@pytest.fixture
def phase(plan, at_stage, phase_policy):
    made = plan("claims")
    at_stage("production")
    return made


@pytest.fixture
def ask(usecase, engineer, actor_of):
    """ask(phase) -> its gate, requested by the engineer."""

    def make(phase):
        gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, phase_id=phase.id, note="Please.")
        return services.request_gate(actor=actor_of(engineer), gate_id=gate.id)

    return make


def test_signatures_open_the_phase_and_leave_a_decision(phase, ask, sign, business, risk, usecase):
    gate = ask(phase)
    frozen = documents.frozen(gate)
    assert frozen["phase"]["covers"] == "everybody in claims" and [c["state"] for c in frozen["checks"]] == ["pass"] * 3
    sign(gate, business, "business")
    assert not phase_selectors.plan(usecase.id)[0].serving
    gate = sign(gate, risk, "risk")
    decision = gate.decision
    assert gate.state == "approved" and (decision.kind, decision.phase_id, decision.phase_name) == ("phase", phase.id, "claims")
    assert (decision.environment, decision.artifact_digest, decision.stage_to) == ("", "", ""), "it lets nothing run and moves nothing"
    assert phase_selectors.plan(usecase.id)[0].serving
    assert Event.objects.filter(action="usecases.phase.opened", decision_id=str(decision.id)).count() == 1
    usecase.refresh_from_db()
    assert usecase.stage == "production"


def test_who_asks_does_not_sign(phase, usecase, owner, actor_of, make_user, sign):
    both = make_user("ml_engineer", "approver:risk")
    usecases.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=both, level="change")
    gate = services.open_gate(actor=actor_of(both), usecase_id=usecase.id, phase_id=phase.id)
    gate = services.request_gate(actor=actor_of(both), gate_id=gate.id)
    with pytest.raises(FourEyesRequired):
        sign(gate, both, "risk")


def test_a_phase_changed_after_freezing_is_not_signed_until_it_is_frozen_again(
    phase, ask, sign, business, risk, owner, engineer, actor_of, usecase
):
    gate = ask(phase)
    sign(gate, business, "business")
    usecases.change_phase(actor=actor_of(owner), phase_id=phase.id, departments=["claims", "billing"])
    with pytest.raises(StaleEvidence, match="Phase: covers changed"):
        sign(gate, risk, "risk")
    gate = services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
    sign(gate, business, "business")
    assert sign(gate, risk, "risk").state == "approved"
    assert phase_selectors.reached(phase_selectors.plan(usecase.id), ["billing"]) == 100


def test_a_later_phase_waits_for_the_earlier_one(phase, plan, ask, usecase, sign, business, risk):
    second = plan("billing")
    with pytest.raises(Conflict, match="Open “claims” first"):
        ask(second)
    first = ask(phase)
    sign(first, business, "business")
    sign(first, risk, "risk")
    gate = Gate.objects.get(phase=second, state="draft")
    services.withdraw(actor=_actor(gate.opened_by), gate_id=gate.id)
    assert ask(second).state == "open"


def _actor(user):
    from apps.accounts.selectors import actor_from_user

    return actor_from_user(user)


def test_a_phase_asks_for_its_own_checks_beside_those_of_the_policy(plan, at_stage, phase_policy, usecase, engineer, actor_of):
    phase = plan("claims", checks=[{"check": "kpis.effect", "with": {"minimum_pct": 5.0}}, {"check": "monitoring.no_open_incident"}])
    at_stage("production")
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, phase_id=phase.id)
    page = selectors.gate_page(actor_of(engineer), gate.id)
    assert [c["check"] for c in page.evidence] == [*(c["check"] for c in CHECKS), "kpis.effect"], "each once"
    assert page.evidence[-1]["with"] == {"minimum_pct": 5.0, "floor": True, "origin": "any", "during": ""} and page.evidence[-1]["state"] == "missing"
    with pytest.raises(Conflict, match="primary"):
        services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
    waiver = services.ask_waiver(
        actor=actor_of(engineer), gate_id=gate.id, subject="kpis.effect", reason="The period is short.", until=now() + timedelta(days=10)
    )
    assert waiver.title == "The KPI is better than the baseline"


def test_a_check_the_policy_asks_with_other_parameters_is_asked_with_both_and_waived_apart(
    plan, at_stage, policies, system, usecase, engineer, risk, actor_of
):
    asked_twice = [{"check": "kpis.effect", "with": {"minimum_pct": 1.0}, "waivable": False}]
    services.publish_policy(actor=system, text=policy("phase", {"business": 1, "risk": 1}, checks=asked_twice))
    phase = plan("claims", checks=[{"check": "kpis.effect", "with": {"minimum_pct": 5.0}}])
    at_stage("production")
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, phase_id=phase.id)
    page = selectors.gate_page(actor_of(engineer), gate.id)
    assert [c["with"]["minimum_pct"] for c in page.evidence] == [1.0, 5.0] and page.passing == 0
    assert set(page.open_points) == {"kpis.effect", "phase:kpis.effect"}
    assert [name for name, _ in page.may_waive] == ["phase:kpis.effect"], "the policy lets nobody waive its own"
    terms = {"gate_id": gate.id, "reason": "The period is short.", "until": now() + timedelta(days=10)}
    with pytest.raises(Conflict, match="lets nobody waive"):
        services.ask_waiver(actor=actor_of(engineer), subject="kpis.effect", **terms)
    waiver = services.ask_waiver(actor=actor_of(engineer), subject="phase:kpis.effect", **terms)
    services.sign_waiver(actor=actor_of(risk), waiver_id=waiver.id, password=PASSWORD)
    page = selectors.gate_page(actor_of(engineer), gate.id)
    assert [bool(c.get("waiver")) for c in page.evidence] == [False, True] and set(page.open_points) == {"kpis.effect"}


def test_an_approval_that_ends_soon_is_renewed_by_a_new_gate(phase, ask, sign, business, risk, usecase, actor_of):
    # The database asks its own clock whether a decision holds, so the first is of a while ago.
    with fixed(now() - timedelta(days=80)):
        gate = ask(phase)
        sign(gate, business, "business")
        first = sign(gate, risk, "risk").decision
    opened = phase_selectors.plan(usecase.id)[0].phase.opened_at
    gate = ask(phase)
    sign(gate, business, "business")
    second = sign(gate, risk, "risk").decision
    with fixed(now() + timedelta(days=20)):
        (row,) = phase_selectors.plan(usecase.id)
        assert row.serving and row.decision.id == second.id != first.id
        assert row.phase.opened_at == opened, "open without a break"
    assert not decisions.is_live(first.id), "what it replaces holds no longer"
    (renewal,) = Event.objects.filter(action="usecases.phase.renewed")
    assert renewal.decision_id == str(second.id) and renewal.facts["before"] == {"decision_id": str(first.id)}
    usecases.close_phase(actor=actor_of(usecase.owner), phase_id=phase.id, reason="Odd.")
    assert not decisions.live().filter(phase_id=phase.id).exists()


def test_one_gate_a_phase_at_a_time_and_only_in_production(plan, phase_policy, usecase, engineer, actor_of, at_stage):
    phase = plan("claims")
    with pytest.raises(Conflict, match="in production"):
        services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, phase_id=phase.id)
    at_stage("production")
    services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, phase_id=phase.id)
    with pytest.raises(Conflict, match="under way"):
        services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, phase_id=phase.id)


def test_without_a_policy_no_gate_is_begun(plan, policies, usecase, engineer, actor_of, at_stage):
    phase = plan("claims")
    at_stage("production")
    with pytest.raises(Conflict, match="no published policy for phase"):
        services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, phase_id=phase.id)


def test_revoking_the_decision_closes_the_phase(phase, ask, sign, business, risk, usecase, actor_of):
    gate = ask(phase)
    sign(gate, business, "business")
    decision = sign(gate, risk, "risk").decision
    services.revoke_decision(actor=actor_of(risk), decision_id=decision.id, reason="Odd answers.")
    (row,) = phase_selectors.plan(usecase.id)
    assert row.state == "closed" and row.phase.close_reason == "Odd answers."
    again = ask(phase)
    sign(again, business, "business")
    sign(again, risk, "risk")
    assert phase_selectors.plan(usecase.id)[0].serving and Decision.objects.filter(phase_id=phase.id).count() == 2


def test_people_are_told_before_it_ends(phase, ask, sign, business, risk, system):
    from apps.approvals.services.reminders import _ending

    gate = ask(phase)
    sign(gate, business, "business")
    decision = sign(gate, risk, "risk").decision
    assert decision.id not in {d.id for d in _ending()}
    with fixed(now() + timedelta(days=80)):
        assert decision.id in {d.id for d in _ending()}
    with fixed(now() + timedelta(days=91)):
        assert "expired" in decisions.state_of(decisions.decision(decision.id))


def test_a_phase_gate_is_not_for_building_anew(phase, ask, sign, business):
    with pytest.raises(Invalid, match="rebuilt when it shall go"):
        sign(ask(phase), business, "business", meaning="rebuild", comment="Proven.")


def test_the_shipped_policy_is_sound_and_not_of_attestations_alone(db, system):
    from django.core.management import call_command

    call_command("load_policies", verbosity=0)
    shipped = selectors.policy_for("phase", "high")
    assert shipped.quorum == {"business": 1, "risk": 1} and len(shipped.body["checks"]) == 3


def test_rest_plans_opens_and_closes(api, owner, engineer, at_stage, phase_policy, usecase, sign, business, risk):
    client = api(owner)
    body = {
        "name": "tenth",
        "percent": 10,
        "planned_on": "2026-12-01",
        "entry_criteria": "Trained.",
        "checks": [{"check": "monitoring.no_open_incident"}],
    }
    made = client.post(f"/api/v1/usecases/{usecase.slug}/phases/", body)
    assert made.status_code == 201 and made.json()["covers"] == "10% of the users", made.content
    ref = made.json()["id"]
    assert client.post(f"/api/v1/usecases/{usecase.slug}/phases/", body | {"name": "x", "percent": 5}).status_code == 400
    assert client.patch(f"/api/v1/phases/{ref}/", {"percent": 20}).json()["percent"] == 20
    at_stage("production")
    begun = api(engineer).post("/api/v1/gates/", {"usecase": usecase.slug, "phase": ref})
    assert begun.status_code == 201 and begun.json()["phase"] == {"id": ref, "name": "tenth"}, begun.content
    both = api(engineer).post("/api/v1/gates/", {"usecase": usecase.slug, "phase": ref, "to_stage": "pilot"})
    assert both.status_code == 400 and "to_stage" in both.json()["errors"]
    gate = api(engineer).post(f"/api/v1/gates/{begun.json()['id']}/request/")
    found = Gate.objects.get(id=gate.json()["id"])
    sign(found, business, "business")
    sign(found, risk, "risk")
    row = client.get(f"/api/v1/usecases/{usecase.slug}/phases/").json()["results"][0]
    assert row["state"] == "open" and row["serving"] and row["gate_id"] == str(found.id)
    decision = client.get(f"/api/v1/decisions/{row['decision_id']}/").json()
    assert decision["kind"] == "phase" and decision["phase_name"] == "tenth" and decision["live"]
    assert client.post(f"/api/v1/phases/{ref}/close/", {"reason": ""}).status_code == 400
    closed = client.post(f"/api/v1/phases/{ref}/close/", {"reason": "Odd."}).json()
    assert closed["state"] == "closed" and not closed["serving"]
    assert client.delete(f"/api/v1/phases/{ref}/").status_code == 409


def test_rest_hides_a_strangers_plan(api, plan, make_user):
    phase = plan("claims")
    assert api(make_user("ml_engineer")).get(f"/api/v1/phases/{phase.id}/").status_code == 404


def test_a_dropped_phase_is_gone(api, plan, owner, actor_of, usecase):
    phase = plan("claims")
    assert api(owner).delete(f"/api/v1/phases/{phase.id}/").status_code == 204
    assert api(owner).get(f"/api/v1/phases/{phase.id}/").status_code == 404
    with pytest.raises(NotFound):
        phase_selectors.row(actor_of(owner), phase.id)


def test_the_record_prints_the_phase_as_it_was_signed_and_the_plan_as_it_stands(phase, plan, ask, sign, business, risk, client, owner, actor_of):
    plan("everybody", departments=[])
    gate = ask(phase)
    sign(gate, business, "business")
    sign(gate, risk, "risk")
    usecases.change_phase(actor=actor_of(owner), phase_id=phase.id, entry_criteria="Changed afterwards.")
    client.force_login(owner)
    page = " ".join(client.get(f"/gates/{gate.id}/print/").content.decode().split())
    assert "opening rollout phase “claims”" in page and "for everybody in claims, planned for 2026-12-01" in page
    assert "Before it: The desk was trained." in page and "Changed afterwards." not in page
    table = page[page.index('id="plan"') :]
    assert "1. claims" in table and "2. everybody" in table and str(gate.decision_id or Gate.objects.get(id=gate.id).decision_id) in table

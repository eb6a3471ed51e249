"""Asking for a deployment: only with a live decision, only one rollout at a time, only by engineers of the use case."""

import pytest

from apps.core.errors import Conflict, Invalid, NoLiveDecision, NotAllowed, NotFound
from apps.decisions import services as decisions
from apps.deployments import services
from apps.deployments.models import Deployment, Host, Rollout
from tests.deployments.world import actions, later, messages

pytestmark = pytest.mark.django_db


def test_a_request_writes_what_should_be_and_puts_one_message(stage):
    rollout = stage.request(1)
    deployment = rollout.to_deployment
    assert (deployment.desired, deployment.observed, deployment.weight, deployment.role) == ("running", "unknown", 0, "standby")
    assert (rollout.state, rollout.step, rollout.steps, rollout.from_deployment) == ("in_progress", -1, [100], None)
    assert messages("deployments.reconcile") == [{"deployment_id": str(deployment.id)}]
    assert "deployments.deployment.requested" in actions()


def test_without_a_decision_nothing_is_requested_and_the_remedy_is_named(stage, versions, endpoints, elena):
    with pytest.raises(NoLiveDecision) as refusal:
        services.request_deployment(actor=elena, endpoint_id=endpoints().id, model_version_id=versions(1).id)
    assert "gate" in refusal.value.detail
    assert not Deployment.objects.exists()


def test_a_decision_for_pilot_does_not_open_production(stage, decide, endpoints, versions, elena):
    decide(1, "pilot")
    with pytest.raises(NoLiveDecision):
        services.request_deployment(actor=elena, endpoint_id=endpoints("production").id, model_version_id=versions(1).id)


def test_a_held_decision_opens_nothing(stage, decide, endpoints, versions, elena, system):
    decision = decide(1, "pilot")
    decisions.place_hold(actor=system, decision_id=decision.id, reason="Incident.", source_type="incident", source_id="1")
    with pytest.raises(NoLiveDecision) as refusal:
        services.request_deployment(actor=elena, endpoint_id=endpoints().id, model_version_id=versions(1).id)
    assert "hold" in refusal.value.detail


def test_a_decision_of_another_use_case_opens_nothing_here(stage, decide, endpoints, versions, elena, engineer):
    from apps.usecases import services as usecases

    decide(1, "pilot")
    other = usecases.create_usecase(
        actor=elena,
        name="Another",
        problem="p",
        risk_tier="high",
        decision_supported="d",
        output_users="u",
        sponsor=engineer,
        currency="USD",
    )
    endpoint = services.create_endpoint(actor=elena, usecase_id=other.id, environment="pilot")
    with pytest.raises(NoLiveDecision):
        services.request_deployment(actor=elena, endpoint_id=endpoint.id, model_version_id=versions(1).id)


def test_one_rollout_at_a_time(stage):
    stage.request(1)
    with pytest.raises(Conflict, match="under way"):
        stage.request(2)


def test_the_live_version_is_not_deployed_again(stage):
    stage.live(1)
    with pytest.raises(Conflict, match="live on this endpoint already"):
        stage.request(1)


def test_a_canary_brings_its_steps_and_bake_time(stage):
    stage.live(1)
    rollout = stage.request(2, strategy="canary", steps=[10, 50, 100], bake_s=6)
    assert (rollout.steps, rollout.bake_s, str(rollout.from_deployment)) == ([10, 50, 100], 6.0, "care-outreach/1")


def test_the_first_version_takes_all_traffic_whatever_the_strategy(stage):
    assert stage.request(1, strategy="canary", steps=[10, 100]).steps == [100]


@pytest.mark.parametrize(("field", "value"), [("strategy", "magic"), ("steps", [50]), ("bake_s", -1.0)])
def test_wrong_input_is_named(stage, field, value):
    with pytest.raises(Invalid) as refusal:
        stage.request(1, **({"strategy": "canary"} | {field: value}))
    assert field in refusal.value.errors


def test_stakeholders_do_not_deploy(stage, make_user, actor_of, decide, endpoints, versions):
    decide(1, "pilot")
    with pytest.raises(NotAllowed):
        services.request_deployment(actor=actor_of(make_user("stakeholder")), endpoint_id=endpoints().id, model_version_id=versions(1).id)


def test_an_engineer_who_cannot_see_the_use_case_does_not_find_the_endpoint(stage, make_user, actor_of, decide, endpoints, versions):
    decide(1, "pilot")
    with pytest.raises(NotFound):
        services.request_deployment(actor=actor_of(make_user("ml_engineer")), endpoint_id=endpoints().id, model_version_id=versions(1).id)


def test_an_engineer_who_may_only_see_it_is_told_so(stage, make_user, actor_of, decide, endpoints, versions, usecase, elena):
    from apps.usecases import services as usecases

    decide(1, "pilot")
    other = make_user("ml_engineer")
    usecases.give_access(actor=elena, usecase_id=usecase.id, user=other, level="view")
    with pytest.raises(NotAllowed, match="not change it"):
        services.request_deployment(actor=actor_of(other), endpoint_id=endpoints().id, model_version_id=versions(1).id)


def test_without_a_host_the_remedy_is_named(stage):
    Host.objects.update(state="retired")
    with pytest.raises(Conflict, match="register_host"):
        stage.request(1)


def test_a_host_that_reports_is_preferred(stage, system):
    Host.objects.create(name="away", public_key="x", key_id="0" * 16, last_seen_at=later(-3600))
    assert stage.request(1).to_deployment.host.name == "local"


def test_stopping_what_answers_needs_a_reason_and_stopping_twice_is_quiet(stage, elena):
    deployment = stage.live(1)
    with pytest.raises(Invalid, match="reason"):
        services.stop_deployment(actor=elena, deployment_id=deployment.id)
    services.stop_deployment(actor=elena, deployment_id=deployment.id, reason="The desk is closed.")
    services.stop_deployment(actor=elena, deployment_id=deployment.id, reason="Again.")
    deployment.refresh_from_db()
    assert (deployment.desired, deployment.weight) == ("stopped", 0)
    assert actions().count("deployments.deployment.stopped") == 1


def test_stopping_a_version_that_is_being_rolled_out_ends_the_rollout(stage, elena):
    stage.live(1)
    rollout = stage.request(2)
    services.stop_deployment(actor=elena, deployment_id=rollout.to_deployment_id)
    stage.advance(rollout.endpoint)
    assert Rollout.objects.get(id=rollout.id).state == "failed"

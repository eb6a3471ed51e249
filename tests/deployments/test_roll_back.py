"""Going back: one snapshot, measured, audited, and only to what may still serve."""

from datetime import timedelta

import pytest

from apps.core import clock
from apps.core.errors import Conflict, Invalid, NoLiveDecision, NotAllowed
from apps.decisions import services as decisions
from apps.deployments import services
from apps.deployments.models import Deployment, Rollout, RoutingSnapshot, TrafficShift
from tests.deployments.world import events, later, messages

pytestmark = pytest.mark.django_db


@pytest.fixture
def after_canary(stage):
    """v2 live in production after a canary, v1 its shadow."""
    stage.live(1, "production")
    rollout = stage.request(2, "production", strategy="canary", bake_s=1)
    stage.make_ready(rollout.to_deployment, port=9002)
    stage.advance(rollout.endpoint)
    with clock.fixed(later(2)):
        stage.advance(rollout.endpoint)
    rollout.refresh_from_db()
    assert rollout.state == "completed"
    return rollout


def placed(endpoint):
    return [(d.model_version_label[-1], d.role, d.weight) for d in Deployment.objects.filter(endpoint=endpoint).order_by("id")]


def test_all_traffic_goes_back_in_one_snapshot_and_the_seconds_are_measured(stage, after_canary, elena):
    stage.gateway_takes_up()
    count = RoutingSnapshot.objects.count()
    asked = clock.now()
    with clock.fixed(asked):
        rollout = services.roll_back(actor=elena, endpoint_id=after_canary.endpoint_id, reason="It costs too much.")
    with clock.fixed(asked + timedelta(seconds=1.5)):
        newest = stage.gateway_takes_up()
    assert RoutingSnapshot.objects.count() == count + 1
    assert placed(rollout.endpoint) == [("1", "live", 100), ("2", "standby", 0)]
    shift = TrafficShift.objects.get(kind="roll_back")
    assert (shift.snapshot_version, shift.seconds) == (newest.version, 1.5)
    rollout.refresh_from_db()
    assert (rollout.state, rollout.reason) == ("rolled_back", "It costs too much.")


def test_the_trail_and_the_alias_follow(stage, after_canary, elena):
    services.roll_back(actor=elena, rollout_id=after_canary.id, reason="It costs too much.")
    event = events("deployments.rollout.rolled_back")[0]
    assert event["before"]["live"] == "care-outreach/2" and event["after"]["live"] == "care-outreach/1"
    assert event["reason"] == "It costs too much." and event["actor"]["label"] == "Elena Engineer"
    assert messages("registry.alias")[-1]["version"] == 1


def test_a_canary_in_its_first_step_goes_back(stage, elena):
    stage.live(1)
    rollout = stage.request(2, strategy="canary")
    stage.make_ready(rollout.to_deployment, port=9002)
    stage.advance(rollout.endpoint)
    services.roll_back(actor=elena, rollout_id=rollout.id, reason="Errors.")
    assert placed(rollout.endpoint) == [("1", "live", 100), ("2", "standby", 0)]
    assert Rollout.objects.get(id=rollout.id).state == "rolled_back"


def test_a_rollout_without_traffic_yet_is_called_off(stage, elena):
    stage.live(1)
    rollout = stage.request(2, strategy="canary")
    services.roll_back(actor=elena, rollout_id=rollout.id, reason="Not today.")
    assert Rollout.objects.get(id=rollout.id).state == "failed"
    assert placed(rollout.endpoint) == [("1", "live", 100), ("2", "standby", 0)]


def test_going_back_twice_is_refused(stage, after_canary, elena):
    services.roll_back(actor=elena, endpoint_id=after_canary.endpoint_id, reason="Once.")
    with pytest.raises(Conflict, match="rolled back already"):
        services.roll_back(actor=elena, endpoint_id=after_canary.endpoint_id, reason="Twice.")


def test_the_first_version_has_nothing_to_go_back_to(stage, elena):
    deployment = stage.live(1)
    with pytest.raises(Conflict, match="first version"):
        services.roll_back(actor=elena, endpoint_id=deployment.endpoint_id, reason="Why not.")


def test_a_version_that_is_not_warm_any_more_is_not_given_traffic(stage, after_canary, elena):
    Deployment.objects.filter(id=after_canary.from_deployment_id).update(observed="stopped", url="")
    with pytest.raises(Conflict, match="not running any more"):
        services.roll_back(actor=elena, endpoint_id=after_canary.endpoint_id, reason="Back.")


def test_a_version_whose_decision_was_revoked_is_not_given_traffic(stage, after_canary, elena, system):
    old = Deployment.objects.get(id=after_canary.from_deployment_id)
    decisions.revoke(actor=system, decision_id=old.decision_id, reason="Wrong evidence.")
    with pytest.raises(NoLiveDecision):
        services.roll_back(actor=elena, endpoint_id=after_canary.endpoint_id, reason="Back.")


def test_a_hold_on_the_new_version_does_not_hinder_going_back(stage, after_canary, elena, system):
    decisions.place_hold(actor=system, decision_id=after_canary.decision_id, reason="Drift.", source_type="incident", source_id="1")
    services.roll_back(actor=elena, endpoint_id=after_canary.endpoint_id, reason="Drift.")
    assert placed(after_canary.endpoint)[0] == ("1", "live", 100)


def test_a_reason_is_needed(stage, after_canary, elena):
    with pytest.raises(Invalid, match="reason"):
        services.roll_back(actor=elena, endpoint_id=after_canary.endpoint_id, reason=" ")


def test_approvers_do_not_move_traffic(stage, after_canary, make_user, actor_of):
    with pytest.raises(NotAllowed):
        services.roll_back(actor=actor_of(make_user("approver:risk")), endpoint_id=after_canary.endpoint_id, reason="Back.")


def test_an_older_rollout_cannot_be_taken_back_past_a_newer_one(stage, after_canary, elena):
    first = Rollout.objects.filter(endpoint=after_canary.endpoint).order_by("id").first()
    with pytest.raises(Conflict, match="later one"):
        services.roll_back(actor=elena, rollout_id=first.id, reason="Back.")

"""Traffic moves step by step, each step baked, recorded and audited."""

from datetime import timedelta

import pytest

from apps.core import clock
from apps.decisions import services as decisions
from apps.deployments import selectors
from apps.deployments.models import Deployment, Rollout, TrafficShift
from tests.deployments.world import actions, events, later, messages

pytestmark = pytest.mark.django_db


def placed(endpoint):
    rows = Deployment.objects.filter(endpoint=endpoint).order_by("id")
    return [(d.model_version_label[-1], d.role, d.weight) for d in rows]


def canary(stage, **options):
    stage.live(1, options.pop("environment", "pilot"))
    rollout = stage.request(2, options.pop("env", "pilot"), strategy="canary", bake_s=600, **options)
    stage.make_ready(rollout.to_deployment, port=9002)
    return rollout


def test_the_first_version_goes_live_at_once_when_ready(stage):
    rollout = stage.request(1)
    stage.advance(rollout.endpoint)
    assert placed(rollout.endpoint) == [("1", "standby", 0)]
    stage.make_ready(rollout.to_deployment)
    stage.advance(rollout.endpoint)
    rollout.refresh_from_db()
    assert placed(rollout.endpoint) == [("1", "live", 100)] and rollout.state == "completed"


def test_all_at_once_keeps_the_old_version_warm(stage):
    stage.live(1)
    second = stage.live(2)
    assert placed(second.endpoint) == [("1", "standby", 0), ("2", "live", 100)]


def test_a_canary_bakes_each_step_and_leaves_the_old_version_as_shadow(stage):
    rollout = canary(stage, steps=[10, 50, 100])
    began = clock.now()
    for at_s, expected in [
        (0, [("1", "live", 90), ("2", "canary", 10)]),
        (599, [("1", "live", 90), ("2", "canary", 10)]),
        (601, [("1", "live", 50), ("2", "canary", 50)]),
        (1200, [("1", "live", 50), ("2", "canary", 50)]),
        (1202, [("1", "shadow", 0), ("2", "live", 100)]),
    ]:
        with clock.fixed(began + timedelta(seconds=at_s)):
            stage.advance(rollout.endpoint)
            assert placed(rollout.endpoint) == expected, at_s
    rollout.refresh_from_db()
    assert (rollout.state, rollout.step) == ("completed", 2)
    shifts = TrafficShift.objects.filter(rollout=rollout).order_by("id")
    assert [sorted(s.weights.values()) for s in shifts] == [[10, 90], [50, 50], [0, 100]]
    assert [e["after"]["percent"] for e in events("deployments.rollout.stepped")][-3:] == [10, 50, 100]
    assert events("deployments.rollout.stepped")[-1]["after"]["bake_s"] == 600
    assert actions().count("deployments.rollout.completed") == 2


def test_the_next_step_is_put_in_the_outbox_for_the_moment_it_is_due(stage):
    from apps.outbox.models import Message

    rollout = canary(stage)
    stage.advance(rollout.endpoint)
    rollout.refresh_from_db()
    due = Message.objects.filter(topic="deployments.advance").order_by("due_at").last()
    assert due.due_at == rollout.step_started_at + timedelta(seconds=600)


def test_a_step_is_watched_from_when_the_gateways_took_it_up(stage):
    stage.gateway_takes_up()
    rollout = canary(stage)
    stage.advance(rollout.endpoint)
    began = clock.now()
    with clock.fixed(began + timedelta(seconds=30)):
        stage.gateway_takes_up()
    with clock.fixed(began + timedelta(seconds=620)):
        stage.advance(rollout.endpoint)
        rollout.refresh_from_db()
        assert rollout.step == 0 and "watch" in rollout.waiting_for
    with clock.fixed(began + timedelta(seconds=631)):
        stage.advance(rollout.endpoint)
    rollout.refresh_from_db()
    assert rollout.state == "completed"


def test_a_step_that_gateways_have_not_taken_up_is_not_followed_by_the_next(stage):
    stage.gateway_takes_up()
    rollout = canary(stage)
    stage.gateway_takes_up()
    stage.advance(rollout.endpoint)
    stage.advance(rollout.endpoint)
    rollout.refresh_from_db()
    assert rollout.step == 0 and "gateways" in rollout.waiting_for


def test_a_hold_stops_the_next_step_and_lifting_it_lets_it_go_on(stage, system):
    rollout = canary(stage)
    stage.advance(rollout.endpoint)
    hold = decisions.place_hold(actor=system, decision_id=rollout.decision_id, reason="Drift.", source_type="incident", source_id="1")
    with clock.fixed(later(601)):
        stage.advance(rollout.endpoint)
        rollout.refresh_from_db()
        assert rollout.step == 0 and "on hold" in rollout.waiting_for
        decisions.lift_hold(actor=system, hold_id=hold.id, reason="Dealt with.")
        stage.advance(rollout.endpoint)
    rollout.refresh_from_db()
    assert rollout.state == "completed"


def test_a_revoked_canary_loses_its_traffic(stage, system):
    rollout = canary(stage)
    stage.advance(rollout.endpoint)
    decisions.revoke(actor=system, decision_id=rollout.decision_id, reason="Wrong evidence.")
    assert stage.reconcile(rollout.to_deployment).kind == "stop"
    stage.advance(rollout.endpoint)
    rollout.refresh_from_db()
    assert rollout.state == "rolled_back"
    assert placed(rollout.endpoint)[0] == ("1", "live", 100)
    assert Deployment.objects.get(id=rollout.to_deployment_id).weight == 0


def test_a_version_that_will_not_start_ends_the_rollout_after_three_tries(stage):
    stage.live(1)
    rollout = stage.request(2)
    for attempt in range(3):
        with clock.fixed(later(120 * attempt)):
            stage.agent.heartbeat()
            assert stage.reconcile(rollout.to_deployment).kind == "start"
            stage.agent.report(rollout.to_deployment, "failed", detail="it left no message")
    stage.advance(rollout.endpoint)
    rollout.refresh_from_db()
    assert rollout.state == "failed" and "3 times" in rollout.reason
    assert placed(rollout.endpoint) == [("1", "live", 100), ("2", "standby", 0)]
    assert Deployment.objects.get(id=rollout.to_deployment_id).desired == "stopped"


def test_a_canary_that_keeps_crashing_is_taken_back_by_itself(stage):
    rollout = canary(stage)
    stage.advance(rollout.endpoint)
    Deployment.objects.filter(id=rollout.to_deployment_id).update(failures=3, observed="failed", url="")
    stage.advance(rollout.endpoint)
    rollout.refresh_from_db()
    assert rollout.state == "rolled_back"
    assert placed(rollout.endpoint) == [("1", "live", 100), ("2", "standby", 0)]


def test_looking_twice_steps_once(stage):
    rollout = canary(stage)
    for _ in range(3):
        stage.advance(rollout.endpoint)
    rollout.refresh_from_db()
    assert rollout.step == 0 and TrafficShift.objects.filter(rollout=rollout).count() == 1


def test_only_endpoints_with_something_under_way_are_looked_at(stage):
    rollout = canary(stage)
    assert selectors.to_advance() == [rollout.endpoint_id]
    stage.advance(rollout.endpoint)
    with clock.fixed(later(601)):
        stage.advance(rollout.endpoint)
    assert selectors.to_advance() == []


def test_the_production_alias_follows_what_is_live_there(stage):
    stage.live(1, "pilot")
    assert messages("registry.alias") == []
    deployment = stage.live(1, "production")
    assert messages("registry.alias") == [
        {"model": "care-outreach", "alias": "production", "version": 1, "decision_id": str(deployment.decision_id)}
    ]


def test_a_third_version_lets_the_oldest_go(stage):
    first = stage.live(1)
    stage.live(2)
    stage.live(3)
    first.refresh_from_db()
    assert first.desired == "stopped"
    assert placed(first.endpoint)[1:] == [("2", "standby", 0), ("3", "live", 100)]
    assert Rollout.objects.filter(state="completed").count() == 3


def test_an_alias_that_lags_behind_is_asked_for_again(stage, system):
    from apps.deployments import services
    from apps.registry.services import record_alias

    deployment = stage.live(1, "production")
    assert services.remind_of_aliases(actor=system) == 1
    record_alias(actor=system, model="care-outreach", alias="production", version=1, decision_id=deployment.decision_id)
    assert services.remind_of_aliases(actor=system) == 0

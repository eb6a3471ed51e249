"""Desired and observed come to agree, by signed orders alone."""

from datetime import timedelta

import pytest

from apps.core import clock
from apps.decisions import services as decisions
from apps.deployments import selectors, services
from apps.deployments.models import Deployment, EngineStart, WorkOrder
from celery_worker import orders
from tests.deployments.world import DIGESTS, actions, events, later, messages

pytestmark = pytest.mark.django_db


def read(order, control):
    public = orders.load_private_key(control.ORDER_KEY).public_key()
    return orders.verify(order.envelope, keys={orders.key_id(public): public})


def test_a_start_order_carries_decision_digest_audience_and_expiry_and_is_signed(stage, control):
    deployment = stage.request(1).to_deployment
    assert stage.reconcile(deployment).kind == "start"
    order = WorkOrder.objects.get(deployment=deployment)
    payload = read(order, control)
    orders.check_order(payload, audience="local", now=clock.now())
    assert payload["kind"] == "start" and payload["generation"] == 1 and payload["order_id"] == str(order.id)
    assert payload["decision"]["id"] == str(deployment.decision_id) and payload["decision"]["environment"] == "pilot"
    assert payload["artifact"]["digest"] == DIGESTS[1] == payload["decision"]["artifact_digest"]
    assert payload["artifact"]["url"].endswith(f"/artifacts/v1/{deployment.model_version_id}/archive")
    assert payload["engine"] == {"kind": "kserve", "options": {"model_name": "care-outreach", "threads": 1}}
    public = orders.load_private_key(control.ORDER_KEY).public_key()
    token = orders.read_artifact_token(payload["artifact"]["token"], {orders.key_id(public): public}, clock.now())
    assert (token["version_id"], token["audience"]) == (str(deployment.model_version_id), "local")


def test_the_order_leaves_through_the_outbox_in_the_same_transaction(stage):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    order = WorkOrder.objects.get()
    assert messages("deployments.send_order") == [{"order_id": str(order.id)}]
    outgoing = selectors.order_to_send(order.id)
    assert outgoing is not None and outgoing.host == "local" and outgoing.envelope == order.envelope


def test_looking_again_sends_no_second_order(stage):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    assert stage.reconcile(deployment).kind == "wait"
    assert stage.reconcile(deployment).kind == "wait"
    assert WorkOrder.objects.count() == 1
    assert actions().count("deployments.order.issued") == 1


def test_an_order_nobody_answers_is_sent_again_as_it_is(stage):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    with clock.fixed(later(16)):
        stage.agent.heartbeat()
        assert stage.reconcile(deployment).kind == "wait"
        assert stage.reconcile(deployment).kind == "wait"
    assert WorkOrder.objects.count() == 1
    assert len(messages("deployments.send_order")) == 2


def test_an_expired_order_is_issued_anew_with_the_next_generation(stage):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    with clock.fixed(later(301)):
        stage.agent.heartbeat()
        assert stage.reconcile(deployment).kind == "start"
    states = list(WorkOrder.objects.order_by("generation").values_list("generation", "state"))
    assert states == [(1, "expired"), (2, "sent")]


def test_an_order_that_was_taken_up_is_not_issued_again_when_its_time_is_over(stage):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    stage.agent.report(deployment, "downloading")
    with clock.fixed(later(230)):
        stage.agent.heartbeat()
        assert stage.reconcile(deployment).kind == "wait"
    assert WorkOrder.objects.get().state == "accepted"
    with clock.fixed(later(400)):
        stage.agent.heartbeat()
        assert stage.reconcile(deployment).kind == "start"
    assert list(WorkOrder.objects.order_by("generation").values_list("state", flat=True)) == ["superseded", "sent"]


def test_a_ready_engine_is_left_alone_and_counted_once(stage):
    deployment = stage.make_ready(stage.request(1).to_deployment)
    assert stage.reconcile(deployment).kind == "none"
    assert (deployment.engine_starts, EngineStart.objects.count(), WorkOrder.objects.get().state) == (1, 1, "done")
    assert actions().count("deployments.deployment.ready") == 1


def test_an_engine_that_the_host_no_longer_knows_is_lost_and_started_again(stage):
    deployment = stage.live(1)
    stage.agent.states.clear()
    with clock.fixed(later(10)):
        stage.agent.heartbeat()
        assert stage.reconcile(deployment).kind == "start"
        assert deployment.observed == "lost" and deployment.url == ""
        assert EngineStart.objects.get().ended_at is not None
        stage.agent.report(deployment, "ready")
    deployment.refresh_from_db()
    assert (deployment.observed, deployment.engine_starts) == ("ready", 2)


def test_nothing_starts_without_a_live_decision(stage, system):
    deployment = stage.request(1).to_deployment
    decisions.place_hold(actor=system, decision_id=deployment.decision_id, reason="An incident.", source_type="incident", source_id="1")
    step = stage.reconcile(deployment)
    assert step.kind == "wait" and "on hold" in deployment.detail
    assert not WorkOrder.objects.exists()


def test_an_expired_decision_starts_nothing_and_stops_nothing(stage):
    deployment = stage.live(1)
    waiting = stage.request(2).to_deployment
    with clock.fixed(later(31 * 86400)):
        stage.agent.heartbeat()
        assert stage.reconcile(deployment).kind == "none"
        assert stage.reconcile(waiting).kind == "wait" and "expired" in waiting.detail
    assert WorkOrder.objects.filter(deployment=waiting).count() == 0


def test_a_hold_keeps_what_runs_and_a_revocation_stops_it(stage, system):
    deployment = stage.live(1)
    decisions.place_hold(actor=system, decision_id=deployment.decision_id, reason="An incident.", source_type="incident", source_id="1")
    assert stage.reconcile(deployment).kind == "none"
    decisions.revoke(actor=system, decision_id=deployment.decision_id, reason="The contract ended.")
    assert stage.reconcile(deployment).kind == "stop"
    assert (deployment.desired, deployment.weight) == ("stopped", 0)
    assert events("deployments.deployment.withdrawn")[0]["reason"].startswith("The decision was revoked")
    stage.agent.report(deployment, "stopped")
    assert stage.reconcile(deployment).kind == "none"
    assert WorkOrder.objects.filter(kind="stop").get().state == "done"


def test_a_newer_decision_about_the_same_artifact_takes_the_place_of_a_revoked_one(stage, system, decide):
    deployment = stage.request(1).to_deployment
    decisions.revoke(actor=system, decision_id=deployment.decision_id, reason="Wrong evidence.")
    newer = decide(1, "pilot")
    assert stage.reconcile(deployment).kind == "start"
    assert deployment.decision_id == newer.id


def test_a_decision_for_another_environment_starts_nothing(stage, decide):
    deployment = stage.request(1).to_deployment
    other = decide(1, "production")
    Deployment.objects.filter(id=deployment.id).update(decision_id=other.id)
    decisions.revoke(actor=stage.system, decision_id=selectors.Decision.objects.get(environment="pilot").id, reason="Gone.")
    assert stage.reconcile(deployment).kind == "wait"
    assert not WorkOrder.objects.exists()


def test_a_failed_start_is_tried_again_after_a_growing_pause(stage):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    stage.agent.report(deployment, "failed", detail="no memory")
    deployment.refresh_from_db()
    assert (deployment.failures, deployment.detail) == (1, "no memory")
    assert stage.reconcile(deployment).kind == "wait"
    with clock.fixed(later(2.5)):
        assert stage.reconcile(deployment).kind == "start"
    assert list(WorkOrder.objects.order_by("generation").values_list("state", flat=True)) == ["failed", "sent"]


def test_a_host_that_does_not_report_gets_no_orders(stage):
    deployment = stage.request(1).to_deployment
    with clock.fixed(later(60)):
        assert stage.reconcile(deployment).kind == "wait"
    assert "does not report" in deployment.detail
    assert not WorkOrder.objects.exists()


def test_a_stop_takes_the_place_of_a_start_that_was_not_finished(stage, elena):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    services.stop_deployment(actor=elena, deployment_id=deployment.id)
    assert stage.reconcile(deployment).kind == "stop"
    assert list(WorkOrder.objects.order_by("generation").values_list("kind", "state")) == [("start", "superseded"), ("stop", "sent")]


def test_a_settled_deployment_is_not_looked_at_again(stage, elena):
    deployment = stage.live(1)
    assert selectors.to_reconcile() == [deployment.id]
    services.stop_deployment(actor=elena, deployment_id=deployment.id, reason="Not needed.")
    stage.reconcile(deployment)
    stage.agent.report(deployment, "stopped")
    assert selectors.to_reconcile() == []


def test_a_version_kept_for_comparison_is_stopped_when_its_time_is_over(stage):
    first = stage.live(1)
    stage.live(2)
    first.refresh_from_db()
    assert (first.role, first.desired) == ("standby", "running")
    assert first.stop_at is not None
    with clock.fixed(first.stop_at + timedelta(seconds=1)):
        stage.agent.heartbeat()
        assert stage.reconcile(first).kind == "stop"
    assert first.desired == "stopped"


def test_only_control_can_sign(stage, settings):
    from apps.deployments.gateways.keys import NoOrderKey

    deployment = stage.request(1).to_deployment
    settings.ORDER_KEY = ""
    with pytest.raises(NoOrderKey):
        services.reconcile(actor=stage.system, deployment_id=deployment.id)

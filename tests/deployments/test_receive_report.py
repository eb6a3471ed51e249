"""A report counts once, and only if the host's own registered key signed it."""

import copy
import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.core import clock
from apps.deployments import services
from apps.deployments.models import AgentReport, Deployment, EngineStart, Host, WorkOrder
from celery_worker import orders
from tests.deployments.world import Agent, actions, events, later, messages

pytestmark = pytest.mark.django_db


@pytest.fixture
def ordered(stage):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    return deployment


def untouched(deployment):
    before = Deployment.objects.get(id=deployment.id)
    return (before.observed, before.url, before.engine_starts) == ("unknown", "", 0) and not AgentReport.objects.exists()


def refused():
    return [e["after"]["reason"] for e in events("deployments.report.refused")]


def test_a_report_signed_with_another_key_is_refused_and_changes_nothing(stage, ordered):
    forger = Agent("local", Ed25519PrivateKey.generate())
    receipt = forger.report(ordered, "ready")
    assert receipt.report_ids == [] and refused() == ["unknown_key"] and untouched(ordered)


def test_a_report_that_claims_the_hosts_key_without_having_it_is_refused(stage, ordered):
    envelope = Agent("local", Ed25519PrivateKey.generate()).envelope("deployment", stage.agent.body(ordered, "ready"))
    envelope["key_id"] = orders.key_id(stage.agent.key.public_key())
    assert services.receive_report(envelope=envelope).report_ids == []
    assert refused() == ["bad_signature"] and untouched(ordered)


def test_an_altered_report_is_refused(stage, ordered):
    envelope = stage.agent.envelope("deployment", stage.agent.body(ordered, "failed"))
    envelope["payload"] = envelope["payload"].replace('"failed"', '"ready"')
    services.receive_report(envelope=envelope)
    assert refused() == ["bad_signature"] and untouched(ordered)


@pytest.mark.parametrize("message", [None, "text", 5, [], {}, {"v": 1}, {"payload": "{}", "v": 1}, {"key_id": {"a": 1}, "signature": "x"}])
def test_an_unsigned_or_shapeless_message_is_refused_and_audited_by_its_hash(stage, message):
    services.receive_report(envelope=message)
    assert refused()[0] in {"unsigned", "malformed"}
    assert len(events("deployments.report.refused")[0]["object"]["id"]) == 64
    assert not AgentReport.objects.exists()


def test_a_report_in_the_name_of_another_host_is_refused(stage, ordered, system):
    key = Ed25519PrivateKey.generate()
    services.register_host(actor=system, name="other", public_key=orders.public_to_text(key.public_key()))
    envelope = Agent("other", key).envelope("deployment", stage.agent.body(ordered, "ready"), host="local")
    services.receive_report(envelope=envelope)
    assert refused() == ["misaddressed"] and untouched(ordered)


def test_a_host_cannot_report_on_a_deployment_of_another_host(stage, ordered, system):
    key = Ed25519PrivateKey.generate()
    services.register_host(actor=system, name="other", public_key=orders.public_to_text(key.public_key()))
    receipt = Agent("other", key).send("deployment", stage.agent.body(ordered, "ready"))
    assert refused() == ["misaddressed"]
    ordered.refresh_from_db()
    assert ordered.observed == "unknown"
    # Rightly signed: kept and acknowledged, so that it does not come for ever.
    assert len(receipt.report_ids) == 1 and AgentReport.objects.count() == 1


def test_a_retired_host_is_not_believed(stage, ordered):
    Host.objects.update(state="retired")
    stage.agent.report(ordered, "ready")
    assert refused() == ["unknown_key"] and untouched(ordered)


def test_a_replayed_report_is_acknowledged_again_and_counts_once(stage, ordered):
    envelope = stage.agent.envelope("deployment", stage.agent.body(ordered, "ready"))
    first = services.receive_report(envelope=copy.deepcopy(envelope))
    count = len(actions())
    assert services.receive_report(envelope=envelope) == first
    ordered.refresh_from_db()
    assert (ordered.engine_starts, EngineStart.objects.count(), AgentReport.objects.count()) == (1, 1, 1)
    assert len(actions()) == count


def test_the_same_start_in_two_reports_is_one_start(stage, ordered):
    start = {"engine_start_id": str(uuid.uuid4())}
    stage.agent.report(ordered, "starting", **start)
    stage.agent.report(ordered, "ready", **start)
    stage.agent.report(ordered, "ready", **start)
    ordered.refresh_from_db()
    assert ordered.engine_starts == 1 and actions().count("deployments.deployment.ready") == 1


def test_older_news_does_not_undo_newer(stage, ordered):
    late = stage.agent.body(ordered, "starting")
    stage.agent.report(ordered, "ready")
    with clock.fixed(later(-5)):
        stage.agent.send("deployment", late)
    ordered.refresh_from_db()
    assert ordered.observed == "ready" and ordered.url


def test_news_of_an_older_generation_counts_its_start_and_nothing_else(stage, ordered):
    old = stage.agent.body(ordered, "ready", engine_start_id=str(uuid.uuid4()))
    stage.agent.report(ordered, "failed")
    with clock.fixed(later(5)):
        stage.reconcile(ordered)
        stage.agent.report(ordered, "downloading")
        stage.agent.send("deployment", old)
    ordered.refresh_from_db()
    assert (ordered.observed, ordered.observed_generation, ordered.engine_starts) == ("downloading", 2, 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"state": "perfect"}, {"generation": 99}, {"generation": 0}, {"generation": True}, {"deployment_id": "x"}, {"engine_start_id": "x"},
        {"url": "file:///etc/passwd"}, {"url": None},
    ],
)  # fmt: skip
def test_a_rightly_signed_report_that_makes_no_sense_changes_nothing(stage, ordered, changed):
    stage.agent.send("deployment", stage.agent.body(ordered, "ready") | changed)
    ordered.refresh_from_db()
    assert ordered.observed == "unknown" and refused() == ["malformed"]


def test_a_report_dated_in_the_future_is_refused(stage, ordered):
    with clock.fixed(later(3600)):
        envelope = stage.agent.envelope("deployment", stage.agent.body(ordered, "ready"))
    services.receive_report(envelope=envelope)
    assert refused() == ["not_yet_valid"] and untouched(ordered)


def test_other_messages_of_the_same_key_are_not_reports(stage, control):
    stage.agent.send("start", {})
    envelope = stage.agent.envelope("heartbeat", {}, purpose="acknowledgement")
    services.receive_report(envelope=envelope)
    assert refused() == ["malformed", "malformed"]


def test_a_heartbeat_says_what_the_host_has_and_is_not_kept(stage):
    stage.agent.heartbeat()
    host = Host.objects.get()
    assert (host.cpu_count, host.engines, host.facts["agent_version"]) == (4, ["kserve"], "1")
    assert host.last_seen_at is not None and not AgentReport.objects.exists()


def test_a_replayed_heartbeat_does_not_keep_a_dead_host_alive(stage):
    envelope = stage.agent.envelope("heartbeat", {"cpu_count": 99})
    services.receive_report(envelope=envelope)
    seen = Host.objects.get().last_seen_at
    with clock.fixed(later(30)):
        services.receive_report(envelope=envelope)
    assert Host.objects.get().last_seen_at == seen


def test_a_refused_order_is_audited_and_settles_the_very_order_it_quotes(stage, ordered):
    order = WorkOrder.objects.get()
    digest = orders.sha256_of_envelope(order.envelope)
    body = {"order_id": str(order.id), "deployment_id": str(ordered.id), "reason": "expired", "detail": "Too late.", "order_sha256": digest}
    stage.agent.send("order_refused", body)
    order.refresh_from_db()
    assert (order.state, order.detail) == ("refused", "expired: Too late.")
    event = events("deployments.order.refused")[0]
    assert event["after"] == {"host": "local", "order_sha256": digest, "reason": "expired"} and event["actor"]["id"] == "agent:local"
    ordered.refresh_from_db()
    assert ordered.failures == 1


def test_a_forged_order_that_quotes_a_real_id_is_audited_and_settles_nothing(stage, ordered):
    order = WorkOrder.objects.get()
    body = {
        "order_id": str(order.id),
        "deployment_id": str(ordered.id),
        "reason": "bad_signature",
        "detail": "No.",
        "order_sha256": "f" * 64,
    }
    stage.agent.send("order_refused", body)
    stage.agent.send(
        "order_refused", {"order_id": None, "deployment_id": None, "reason": "unsigned", "detail": "", "order_sha256": "0" * 64}
    )
    order.refresh_from_db()
    assert order.state == "sent"
    assert [e["after"]["reason"] for e in events("deployments.order.refused")] == ["bad_signature", "unsigned"]


def test_an_order_written_off_as_expired_counts_if_the_host_took_it_up_after_all(stage, ordered):
    WorkOrder.objects.update(state="expired")
    stage.agent.report(ordered, "ready")
    assert WorkOrder.objects.get().state == "done"
    ordered.refresh_from_db()
    assert ordered.observed == "ready"


def test_a_crash_soon_after_ready_counts_as_failure_and_a_later_one_does_not(stage, ordered):
    stage.agent.report(ordered, "ready")
    with clock.fixed(later(5)):
        stage.agent.report(ordered, "failed", detail="The engine ended.")
    ordered.refresh_from_db()
    assert (ordered.failures, ordered.url, ordered.detail) == (1, "", "The engine ended.")
    with clock.fixed(later(10)):
        stage.reconcile(ordered)
        stage.agent.report(ordered, "ready")
    with clock.fixed(later(100)):
        stage.agent.report(ordered, "failed")
    ordered.refresh_from_db()
    assert ordered.failures == 0
    assert [s.ended_at is not None for s in EngineStart.objects.all()] == [True, True]


def test_a_ready_engine_asks_for_routes_and_the_rollouts_next_step(stage, ordered):
    stage.agent.report(ordered, "ready")
    assert messages("deployments.publish_routing") and messages("deployments.advance")


def test_the_acknowledgement_is_signed_for_the_host(stage, ordered, control):
    receipt = stage.agent.report(ordered, "downloading")
    envelope = services.acknowledgement(receipt=receipt)
    public = orders.load_private_key(control.ORDER_KEY).public_key()
    assert orders.read_acknowledgement(envelope, keys={orders.key_id(public): public}, audience="local") == receipt.report_ids

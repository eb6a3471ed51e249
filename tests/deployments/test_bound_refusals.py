"""Whoever can write to the broker cannot fill the trail: the first refusals of a minute are told, the rest counted, none is lost."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.core import clock
from apps.deployments import rules, services
from apps.deployments.models import RefusalTally
from celery_worker import orders
from tests.deployments.world import Agent, events

pytestmark = pytest.mark.django_db
MOST = rules.REFUSALS_TOLD_A_MINUTE


@pytest.fixture
def minute():
    """A moment at the beginning of a minute, and a way to the next one."""
    start = clock.now().replace(second=5, microsecond=0)
    return lambda minutes=0: clock.fixed(start + timedelta(minutes=minutes))


def forge(times):
    for number in range(times):
        services.receive_report(envelope={"payload": f"forged {number}", "key_id": "0" * 16, "signature": "AAAA"})


def summed(action="deployments.report.refused"):
    return [e["after"] for e in events(action) if "count" in e["after"]]


def told(action="deployments.report.refused"):
    return [e["after"] for e in events(action) if "count" not in e["after"]]


def test_a_flood_of_forged_reports_becomes_a_bounded_number_of_events_with_the_count(db, system, minute):
    with minute():
        forge(MOST + 190)
        assert len(told()) == MOST and summed() == []
        assert services.sum_up_refusals(actor=system) == 0, "the minute is not over"
    with minute(1):
        assert services.sum_up_refusals(actor=system) == 1 and services.sum_up_refusals(actor=system) == 0
    (count,) = summed()
    assert count["count"] == MOST + 190 and count["told"] == MOST and count["source"] == "unknown"
    assert count["reason"] == told()[0]["reason"] and len(count["last_sha256"]) == 64


def test_few_are_told_each_and_not_summed_up_and_the_next_minute_begins_anew(db, system, minute):
    with minute():
        forge(2)
    with minute(1):
        forge(MOST)
        assert services.sum_up_refusals(actor=system) == 0
    assert len(told()) == MOST + 2
    with minute(2):
        services.sum_up_refusals(actor=system)
    assert summed() == []


def test_another_reason_and_another_source_are_told_though_one_floods(stage, minute):
    with minute():
        forge(MOST + 5)
        services.receive_report(envelope="no report at all")
        stage.agent.send("deployment", {"deployment_id": "nonsense"})
        stranger = Agent("local", Ed25519PrivateKey.generate())
        stranger.send("order_refused", {"reason": "unsigned"})
    reasons = {e["reason"] for e in told()}
    assert len(reasons) >= 2
    assert set(RefusalTally.objects.values_list("source", flat=True)) == {"unknown", "local"}


def test_a_host_that_is_sent_forged_orders_is_counted_but_its_own_orders_end_is_always_told(stage, system, minute):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    order = deployment.orders.get()
    forged = {"order_id": None, "deployment_id": None, "reason": "bad_signature", "detail": "", "order_sha256": "0" * 64}
    own = {"order_id": str(order.id), "reason": "bad_signature", "detail": "", "order_sha256": orders.sha256_of_envelope(order.envelope)}
    with minute():
        for _ in range(MOST + 20):
            stage.agent.send("order_refused", forged)
        stage.agent.send("order_refused", own)
        assert [e["order_sha256"] for e in told("deployments.order.refused")] == ["0" * 64] * MOST + [own["order_sha256"]]
    order.refresh_from_db()
    assert order.state == "refused"
    with minute(1):
        services.sum_up_refusals(actor=system)
    assert summed("deployments.order.refused")[0]["count"] == MOST + 20


def test_tallies_are_deleted_when_they_are_summed_up_and_old(db, system, minute):
    with minute():
        forge(1)
    with minute(60 * 25):
        services.sum_up_refusals(actor=system)
        services.sum_up_refusals(actor=system)
    assert not RefusalTally.objects.exists()

"""The relay: what was committed arrives, whatever dies in between."""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection, transaction

from apps.core import clock
from apps.deployments.models import WorkOrder
from apps.outbox import services as outbox
from apps.outbox.models import Message
from celery_worker import orders
from celery_worker.control import relay as module
from celery_worker.control import topics
from tests.deployments.world import later

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def relay():
    return module.Relay()


@pytest.mark.django_db
def test_a_message_becomes_its_task_and_is_settled(relay, broker):
    outbox.put("deployments.advance", {"endpoint_id": "e-1"})
    assert relay.pass_on() == 1
    assert broker.received("control") == [{"task": "control.advance", "args": [], "kwargs": {"endpoint_id": "e-1"}, "expires": None}]
    assert Message.objects.get().sent_at is not None and relay.pass_on() == 0


@pytest.mark.django_db
def test_an_order_goes_to_its_host_as_it_was_signed(relay, broker, stage):
    deployment = stage.request(1).to_deployment
    stage.reconcile(deployment)
    order = WorkOrder.objects.get()
    relay.pass_on()
    sent = broker.received("agent.local")
    assert [s["task"] for s in sent] == [orders.EXECUTE_TASK]
    assert sent[0]["args"] == [order.envelope] and sent[0]["expires"].startswith(order.expires_at.isoformat()[:16])


@pytest.mark.django_db
def test_an_order_that_is_settled_by_now_goes_nowhere(relay, broker, stage):
    stage.reconcile(stage.request(1).to_deployment)
    WorkOrder.objects.update(state="superseded")
    relay.pass_on()
    assert broker.received("agent.local") == [] and Message.objects.filter(topic="deployments.send_order").get().sent_at is not None


@pytest.mark.django_db
def test_dying_between_commit_and_send_delays_and_loses_nothing(relay, broker, stage):
    stage.reconcile(stage.request(1).to_deployment)
    order = WorkOrder.objects.get()
    # The first relay claims and dies before it sends.
    assert any(m.topic == "deployments.send_order" for m in outbox.claim())
    assert relay.pass_on() == 0 and broker.received("agent.local") == []
    with clock.fixed(later(outbox.CLAIM_S + 1)):
        relay.pass_on()
    assert [s["args"] for s in broker.received("agent.local")] == [[order.envelope]]
    assert WorkOrder.objects.count() == 1


@pytest.mark.django_db
def test_dying_between_send_and_mark_sends_the_same_order_again_and_nothing_else(relay, broker, stage, monkeypatch):
    stage.reconcile(stage.request(1).to_deployment)
    order = WorkOrder.objects.get()
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "mark_sent", lambda ids: 0)
        relay.pass_on()
    with clock.fixed(later(outbox.CLAIM_S + 1)):
        relay.pass_on()
    assert [s["args"][0]["payload"] for s in broker.received("agent.local")] == [order.envelope["payload"]] * 2


@pytest.mark.django_db
def test_a_broker_that_is_away_makes_messages_wait(relay, broker):
    for number in range(3):
        outbox.put("deployments.advance", {"endpoint_id": str(number)})
    url = broker.app.conf.broker_url
    broker.app.conf.broker_url = "redis://127.0.0.1:1/0"
    assert relay.pass_on() == 0
    assert set(Message.objects.values_list("tries", "sent_at")) == {(1, None)}
    broker.app.conf.broker_url = url
    broker.app.pool.force_close_all()
    broker.app._pool = broker.app.amqp._producer_pool = None
    with clock.fixed(later(5)):
        relay.pass_on()
    assert [s["kwargs"]["endpoint_id"] for s in broker.received("control")] == ["0", "1", "2"]


@pytest.mark.django_db
def test_an_unknown_topic_waits_and_does_not_hold_up_the_others(relay, broker):
    outbox.put("nobody.knows", {})
    outbox.put("deployments.publish_routing", {})
    relay.pass_on()
    assert [s["task"] for s in broker.received("control")] == ["control.publish_routing"]
    assert Message.objects.get(topic="nobody.knows").sent_at is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("point", "arrived"), [("relay.claimed", 0), ("relay.sent", 1)])
def test_a_relay_killed_hard_leaves_its_messages_to_the_next(point, arrived, relay, broker, tmp_path, settings):
    fault = tmp_path / "fault"
    fault.write_text(point)
    with transaction.atomic():
        outbox.put("deployments.advance", {"endpoint_id": uuid.uuid4()})
    message = Message.objects.get()
    database = connection.settings_dict
    url = f"postgresql://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    # The killed process speaks to a Valkey database that nothing else reads.
    done = subprocess.run(
        [sys.executable, "-m", "celery_worker.control.relay"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "DATABASE_URL": url, "GATEHOUSE_FAULT_FILE": str(fault), "REDIS_URL": apart(settings.REDIS_URL, arrived)},
    )  # fmt: skip
    assert done.returncode == -9, done.stderr[-2000:]
    message.refresh_from_db()
    assert message.sent_at is None and message.claimed_until is not None and not fault.exists()
    with clock.fixed(later(outbox.CLAIM_S + 1)):
        assert relay.pass_on() == 1
    assert len(broker.received("control")) == 1
    _drain(apart(settings.REDIS_URL, arrived), arrived)


def apart(url, number):
    """Another database of the same Valkey, for each case its own: they may run at the same time."""
    return urlsplit(url)._replace(path=f"/{6 + number}").geturl()


def _drain(url, expected):
    import redis

    client = redis.Redis.from_url(url)
    assert client.llen("control") == expected
    client.flushdb()
    client.close()


@pytest.mark.django_db
def test_it_stops_when_told_to_and_finishes_what_it_holds(relay, broker, monkeypatch):
    outbox.put("deployments.advance", {"endpoint_id": "e-1"})
    monkeypatch.setattr(module, "close_old_connections", relay.stop.set)
    relay.run()
    assert len(broker.received("control")) == 1


def test_every_topic_that_is_put_has_a_task_and_every_task_exists():
    import re

    from celery_worker.control.app import app

    app.loader.import_default_modules()
    put = set()
    for path in (ROOT / "apps").rglob("*.py"):
        put |= set(re.findall(r"""outbox\.put\(\s*["']([a-z_.]+)["']""", path.read_text()))
    assert put and not put - set(topics.TOPICS), "put and not known to the relay"
    for topic in set(topics.TOPICS) - {"deployments.send_order"}:
        assert topics.route(topic, {}).task in app.tasks, topic
    with pytest.raises(topics.UnknownTopic):
        topics.route("nobody.knows", {})

"""A report is kept until it is acknowledged, sent again until then, and numbered for ever upwards."""

from pathlib import Path
from typing import Any

import pytest

from celery_worker import orders
from celery_worker.agent import reports
from celery_worker.agent.own_key import OwnKey
from celery_worker.agent.reports import Reporter

from .conftest import Keys


class Broker:
    """Collects what is sent; away when told so."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.away = False

    def __call__(self, envelope: dict[str, Any], expires_s: float | None) -> None:
        if self.away:
            raise ConnectionError("away")
        self.sent.append(envelope)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def reporter(tmp_path: Path, keys: Keys, broker: Broker) -> Reporter:
    return Reporter(tmp_path, host="h", sign=OwnKey(keys.folder / "agent.pem").sign, send=broker)


def test_a_report_is_sent_with_back_off_until_it_is_acknowledged(reporter: Reporter, broker: Broker, keys: Keys) -> None:
    report_id = reporter.report("deployment", {"state": "ready"})
    sent_at = []
    now = 0.0
    while now < 40:
        before = len(broker.sent)
        now_sent = reporter.send_due(now)
        if len(broker.sent) > before:
            sent_at.append(now)
        now += now_sent
    assert sent_at == pytest.approx([0, 2, 6, 14, 30])
    payload = orders.verify(broker.sent[0], keys=keys.agent_public)
    assert (payload["kind"], payload["host"], payload["report_id"]) == ("deployment", "h", report_id)
    assert reporter.acknowledge([report_id, "unknown"]) == 1
    assert reporter.acknowledge([report_id]) == 0
    assert reporter.waiting() == []


def test_a_report_survives_the_agent_and_an_absent_broker(reporter: Reporter, broker: Broker, tmp_path: Path, keys: Keys) -> None:
    broker.away = True
    reporter.report("deployment", {"state": "ready"})
    reporter.report("load_test", {"run_id": "r"})
    reporter.send_due(0.0)
    broker.away = False
    again = Reporter(tmp_path, host="h", sign=OwnKey(keys.folder / "agent.pem").sign, send=broker)
    again.send_due(0.0)
    kinds = [orders.verify(envelope, keys=keys.agent_public)["kind"] for envelope in broker.sent]
    assert kinds == ["deployment", "load_test"]


def test_a_heartbeat_is_not_kept(reporter: Reporter, broker: Broker) -> None:
    reporter.heartbeat({"cpu_count": 2})
    assert len(broker.sent) == 1
    assert reporter.waiting() == []


def test_numbers_grow_over_a_restart(reporter: Reporter, broker: Broker, tmp_path: Path, keys: Keys) -> None:
    for _ in range(3):
        reporter.heartbeat({})
    Reporter(tmp_path, host="h", sign=OwnKey(keys.folder / "agent.pem").sign, send=broker).heartbeat({})
    numbers = [orders.verify(envelope, keys=keys.agent_public)["seq"] for envelope in broker.sent]
    assert numbers == sorted(set(numbers))


def test_refusals_cannot_fill_the_disk(reporter: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_SPOOLED_REFUSALS", 2)
    for _ in range(4):
        reporter.report("order_refused", {"reason": "unsigned"})
    reporter.report("deployment", {"state": "ready"})
    assert [path.name.split(".")[1] for path in reporter.waiting()] == ["order_refused", "order_refused", "deployment"]

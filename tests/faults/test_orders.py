"""The broker's password is not enough: orders and reports that control and agents did not sign change nothing, and are written down."""

import base64
import json
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from celery_worker import orders
from demo import traffic
from demo.steps.serve import alias, answers_with
from gatehouse_cli.programs import HOST_NAME
from tests.journeys.portals import RunningPortal, copy_of, until

from .counting import ONE_DEPLOYMENT, engines, events
from .forging import Forger, Message, ago

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.stack, pytest.mark.xdist_group("faults")]


@pytest.fixture(scope="module")
def portal(half_way: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    """Version 1 on the pilot; all forgeries of this file are tried on it."""
    with copy_of(half_way, tmp_path_factory.mktemp("orders") / "p", without=("seal",)) as running:
        running.tell(5)
        yield running


@pytest.fixture
def forger(portal: RunningPortal) -> Forger:
    return Forger(portal)


@pytest.fixture(autouse=True)
def nothing_has_changed(portal: RunningPortal) -> Iterator[None]:
    """After each test: the engine that was started is the one that runs and answers, and nothing else was begun."""
    before = portal.rows("SELECT id, desired, observed, generation, weight, url, pid, engine_starts, failures FROM deployments_deployment")
    yield
    now = portal.rows("SELECT id, desired, observed, generation, weight, url, pid, engine_starts, failures FROM deployments_deployment")
    assert now == before
    assert engines(portal) == [before[0]["pid"]]
    assert portal.count("SELECT count(*) FROM deployments_enginestart") == 1
    assert {action: times for action, times in events(portal).items() if not action.endswith(".refused")} == ONE_DEPLOYMENT
    (row, *_) = traffic.load_rows(portal.ctx.rows / "control.json")
    assert answers_with(portal.ctx["pilot"], row, portal.ctx["versions"][1]["label"])


def written_down(portal: RunningPortal, action: str, digest: str) -> dict[str, Any]:
    """The one event about the message of this hash, once it is there."""
    query = "SELECT id, payload FROM audit_event WHERE action = %s AND (payload::jsonb -> 'after' ->> %s) = %s"
    name = "order_sha256" if action == "deployments.order.refused" else "sha256"
    until(f"{action} of {digest[:12]}", lambda: portal.rows(query, action, name, digest))
    (row,) = portal.rows(query, action, name, digest)
    return {"id": str(row["id"]), **json.loads(row["payload"])}


ORDERS: dict[str, tuple[str, Callable[[Forger], Message]]] = {
    "an order without a signature": ("unsigned", lambda f: {**f.signed(f.payload()), "signature": ""}),
    "a bare order": ("unsigned", lambda f: f.payload()),
    "no order at all": ("malformed", lambda f: "start it"),
    "a real order, altered": (
        "bad_signature",
        lambda f: {**f.real, "payload": orders.canonical({**json.loads(f.real["payload"]), "generation": 1_000_000})},
    ),
    "an order signed by a stranger": ("unknown_key", lambda f: f.signed(f.payload())),
    "an order signed by a stranger in control's name": ("bad_signature", lambda f: f.passed_off(f.payload(), f.real["key_id"])),
    "an order signed by the agent itself": ("unknown_key", lambda f: f.signed(f.payload(), f.agent_key)),
    "a real order, replayed": ("replayed", lambda f: f.real),
    "an order for another host": ("misaddressed", lambda f: f.signed(f.payload(audience="elsewhere"), f.order_key)),
    "an order that has expired": (
        "expired",
        lambda f: f.signed(f.payload(issued_at=ago(minutes=10), expires_at=ago(minutes=5)), f.order_key),
    ),
    "an order dated in the future": ("not_yet_valid", lambda f: f.signed(f.payload(issued_at=ago(minutes=-10)), f.order_key)),
    "an old order that was never carried out": ("stale_generation", lambda f: f.signed(f.payload(generation=1), f.order_key)),
    "an order without a decision": ("no_decision", lambda f: f.signed(f.payload(decision=None), f.order_key)),
    "an order whose decision has expired": (
        "expired",
        lambda f: f.signed(f.payload(decision={**f.payload()["decision"], "expires_at": ago(minutes=1)}), f.order_key),
    ),
    "an order for an environment that nobody decides about": (
        "no_decision",
        lambda f: f.signed(f.payload(decision={**f.payload()["decision"], "environment": "laptop"}), f.order_key),
    ),
    "an order with the address of another engine kind": (
        "malformed",
        lambda f: f.signed(f.payload(engine={"kind": "shell", "options": {}}), f.order_key),
    ),
    "an order under a key that handed over to itself": (
        "unknown_key",
        lambda f: {**f.signed(f.payload()), "handovers": [f.handed_over(f.own_key)]},
    ),
    "an order under a key that was handed over in control's name": (
        "unknown_key",
        lambda f: {**f.signed(f.payload()), "handovers": [{**f.handed_over(f.own_key), "key_id": f.real["key_id"]}]},
    ),
    "an order under a key that the agent's own key handed over to": (
        "unknown_key",
        lambda f: {**f.signed(f.payload()), "handovers": [f.handed_over(f.agent_key)]},
    ),
    "a hand-over, sent as an order": ("malformed", lambda f: f.handed_over(f.order_key)),
    "an acknowledgement, sent as an order": (
        "malformed",
        lambda f: orders.make_acknowledgement(report_ids=[], audience=HOST_NAME, issued_at=datetime.now(UTC), private_key=f.order_key),
    ),
    "an order for an artifact that was not decided": ("digest_mismatch", lambda f: f.signed(another_artifact(f), f.order_key)),
}


def another_artifact(forger: Forger) -> dict[str, Any]:
    """The decision of version 1 with the files of version 2."""
    order = forger.payload()
    return {**order, "artifact": {**order["artifact"], "digest": forger.portal.ctx["versions"][2]["digest"]}}


@pytest.mark.parametrize("what", ORDERS)
def test_the_agent_refuses_and_reports(what: str, forger: Forger, portal: RunningPortal) -> None:
    reason, forge = ORDERS[what]
    digest = forger.order(forge(forger))
    event = written_down(portal, "deployments.order.refused", digest)
    assert event["after"] == {"reason": reason, "order_sha256": digest, "host": HOST_NAME}
    assert (event["actor"]["kind"], event["actor"]["id"]) == ("agent", f"agent:{HOST_NAME}")
    # The refusal came as a report under the agent's own signature, stored once.
    query = "SELECT count(*) FROM deployments_agentreport WHERE kind = 'order_refused' AND body ->> 'order_sha256' = %s"
    assert portal.count(query, digest) == 1
    read = portal.ctx.auditor.get(f"audit/events/{event['id']}/")
    assert read["action"] == "deployments.order.refused"


REPORTS: dict[str, tuple[str, Callable[[Forger], Message]]] = {
    "a report without a signature": ("unsigned", lambda f: {**f.signed(f.said(), f.agent_key), "signature": None}),
    "a bare report": ("unsigned", lambda f: f.said()),
    "no report at all": ("malformed", lambda f: ["failed"]),
    "a report signed by a stranger": ("unknown_key", lambda f: f.signed(f.said())),
    "a report signed by a stranger in the agent's name": (
        "bad_signature",
        lambda f: f.passed_off(f.said(), orders.key_id(f.agent_key.public_key())),
    ),
    "a real report, altered": (
        "bad_signature",
        lambda f: {**f.signed(f.said(), f.agent_key), "payload": orders.canonical(f.said(seq=1_000_001))},
    ),
    "a report signed with the order key": ("unknown_key", lambda f: f.signed(f.said(), f.order_key)),
    "a report in another host's name": ("misaddressed", lambda f: f.signed(f.said(host="elsewhere"), f.agent_key)),
    "a report about a deployment that this host was not given": (
        "misaddressed",
        lambda f: f.signed(f.said(body={**f.said()["body"], "deployment_id": str(uuid4())}), f.agent_key),
    ),
    "a real order, sent as a report": ("unknown_key", lambda f: f.real),
}


@pytest.mark.parametrize("what", REPORTS)
def test_control_does_not_believe(what: str, forger: Forger, portal: RunningPortal) -> None:
    reason, forge = REPORTS[what]
    digest = forger.report(forge(forger))
    event = written_down(portal, "deployments.report.refused", digest)
    assert event["after"] == {"reason": reason, "sha256": digest}


def test_a_report_that_is_sent_again_counts_once(forger: Forger, portal: RunningPortal) -> None:
    spoken = forger.said(kind="order_refused", body={"order_id": None, "reason": "unsigned", "detail": "Once.", "order_sha256": "0" * 64})
    message = forger.signed(spoken, forger.agent_key)
    forger.report(message)
    written_down(portal, "deployments.order.refused", "0" * 64)
    forger.report(message)
    forger.all_read()
    written_down(portal, "deployments.order.refused", "0" * 64)
    assert portal.count("SELECT count(*) FROM deployments_agentreport WHERE report_id = %s", spoken["report_id"]) == 1


def test_control_moves_no_alias_without_a_decision_whoever_asks(forger: Forger, portal: RunningPortal) -> None:
    assert alias(portal.ctx) is None
    forger.control(
        "control.apply_alias",
        model=portal.ctx.model_name,
        alias="production",
        version=portal.ctx["versions"][2]["number"],
        decision_id=None,
    )
    until("the refusal", lambda: "apply_alias was refused" in (portal.stack.data.logs / "control.log").read_text())
    forger.all_read()
    assert alias(portal.ctx) is None
    assert portal.count("SELECT count(*) FROM registry_aliasrecord") == 0


class _Touch:
    """Unpickled, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("queue", [orders.agent_queue(HOST_NAME), orders.CONTROL_QUEUE])
def test_what_is_not_json_is_thrown_away_unread(queue: str, forger: Forger, portal: RunningPortal, tmp_path: Path) -> None:
    trap, name = tmp_path / "opened", "control" if queue == orders.CONTROL_QUEUE else "agent"
    message = {
        "body": base64.b64encode(pickle.dumps(((_Touch(trap),), {}, {}))).decode(),
        "content-type": "application/x-python-serialize",
        "content-encoding": "binary",
        "headers": {"lang": "py", "task": orders.REPORT_TASK if name == "control" else orders.EXECUTE_TASK, "id": str(uuid4())},
        "properties": {
            "delivery_mode": 2, "delivery_tag": str(uuid4()), "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }  # fmt: skip
    with redis.Redis.from_url(portal.stack.layout.redis_url) as broker:
        broker.lpush(queue, json.dumps(message))
    until("the worker's complaint", lambda: "Refusing to deserialize" in (portal.stack.data.logs / f"{name}.log").read_text())
    # Whatever comes after it is read as ever.
    if name == "control":
        written_down(portal, "deployments.report.refused", forger.report(f"after {uuid4()}"))
    else:
        written_down(portal, "deployments.order.refused", forger.order(f"after {uuid4()}"))
    assert not trap.exists()


def test_workers_take_no_remote_commands(forger: Forger, portal: RunningPortal) -> None:
    pids = {name: portal.stack.pid(name) for name in ("agent", "control")}
    forger.broker.control.shutdown()
    assert forger.broker.control.ping(timeout=1.0) == []
    written_down(portal, "deployments.report.refused", forger.report(f"after {uuid4()}"))
    written_down(portal, "deployments.order.refused", forger.order(f"after {uuid4()}"))
    assert {name: portal.stack.pid(name) for name in pids} == pids

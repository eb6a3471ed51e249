"""What somebody can write who has the broker's password and nothing else, or a message that was meant for another purpose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import redis
from celery import Celery
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from celery_worker import orders
from celery_worker.handover import make_handover
from gatehouse_cli import keyring
from gatehouse_cli.programs import HOST_NAME
from tests.journeys.portals import RunningPortal, until

Message = Any


@dataclass
class Forger:
    """The broker's password, a look at one real order, and for what control itself once signed, its key."""

    portal: RunningPortal

    def __post_init__(self) -> None:
        data = self.portal.stack.data
        self.broker = Celery(broker=self.portal.stack.layout.redis_url)
        (row,) = self.portal.rows("SELECT envelope FROM deployments_workorder WHERE kind = 'start'")
        self.real: dict[str, Any] = row["envelope"]
        self.order_key = orders.load_private_key(keyring.private_key_path(data, "order"))
        self.agent_key = orders.load_private_key(keyring.private_key_path(data, "agent"))
        self.own_key = Ed25519PrivateKey.generate()

    # writing to the broker

    def order(self, message: Message) -> str:
        """Put it into the agent's queue; returns the hash under which the trail would name it."""
        self.broker.send_task(orders.EXECUTE_TASK, args=[message], queue=orders.agent_queue(HOST_NAME), ignore_result=True)
        return orders.sha256_of_envelope(message)

    def report(self, message: Message) -> str:
        """Put it into control's queue; returns the hash under which the trail would name it."""
        self.control(orders.REPORT_TASK, message)
        return orders.sha256_of_envelope(message)

    def control(self, task: str, *arguments: Any, **named: Any) -> None:
        """Ask control for any of its tasks."""
        self.broker.send_task(task, args=arguments, kwargs=named, queue=orders.CONTROL_QUEUE, ignore_result=True)

    def all_read(self) -> None:
        """Wait until workers have nothing of control's and the agent's queue before them or in their hands."""
        with redis.Redis.from_url(self.portal.stack.layout.redis_url) as broker:
            queues = (orders.CONTROL_QUEUE, orders.agent_queue(HOST_NAME))
            until("the queues to be read", lambda: not any(broker.llen(q) for q in queues) and broker.hlen("unacked") == 0)

    # orders

    def payload(self, **changes: Any) -> dict[str, Any]:
        """A start order like the real one, new and in time, with changes."""
        moment = datetime.now(UTC)
        fresh = {
            "order_id": str(uuid4()),
            "generation": 1_000_000,
            "issued_at": orders.time_to_text(moment),
            "expires_at": orders.time_to_text(moment + timedelta(minutes=5)),
        }
        return {**json.loads(self.real["payload"]), **fresh, **changes}

    def signed(self, payload: dict[str, Any], key: Ed25519PrivateKey | None = None) -> dict[str, Any]:
        """Signed by the forger's own key unless another is given."""
        return orders.sign(payload, private_key=key or self.own_key)

    def passed_off(self, payload: dict[str, Any], key_id: str) -> dict[str, Any]:
        """Signed by the forger's own key under somebody else's name."""
        return {**self.signed(payload), "key_id": key_id}

    def handed_over(self, old: Ed25519PrivateKey) -> dict[str, Any]:
        """A hand-over to the forger's own key that `old` signed."""
        moment, other = datetime.now(UTC), Ed25519PrivateKey.generate()
        until = moment + timedelta(hours=1)
        right = make_handover(old=other, new=self.own_key, issued_at=moment, old_accepted_until=until)
        claimed = {**json.loads(right["payload"]), "old": orders.key_id(old.public_key())}
        return orders.sign(claimed, private_key=old)

    # reports

    def said(self, **changes: Any) -> dict[str, Any]:
        """A report that the pilot's engine failed, as the agent would write it, with changes."""
        (deployment,) = self.portal.rows("SELECT id, observed_generation FROM deployments_deployment")
        body = {
            "order_id": json.loads(self.real["payload"])["order_id"],
            "deployment_id": str(deployment["id"]),
            "generation": deployment["observed_generation"],
            "state": "failed",
            "detail": "The engine process ended.",
            "url": None,
            "pid": None,
            "engine_start_id": None,
            "started_at": None,
        }
        report = {
            "v": orders.VERSION,
            "report_id": str(uuid4()),
            "host": HOST_NAME,
            "seq": 1_000_000,
            "reported_at": orders.time_to_text(datetime.now(UTC)),
            "kind": "deployment",
            "body": body,
        }
        return {**report, **changes}


def ago(**span: float) -> str:
    """A moment in the past, as messages write it."""
    return orders.time_to_text(datetime.now(UTC) - timedelta(**span))

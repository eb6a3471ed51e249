"""Which task an outbox message becomes, and on which queue. A topic that is not here is an error that the relay shows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.deployments import selectors as deployments
from celery_worker import orders

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Send:
    """One Celery message."""

    task: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    args: tuple[Any, ...] = ()
    queue: str = orders.CONTROL_QUEUE
    expires_at: datetime | None = None


def _order(body: Body) -> Send | None:
    """A signed order goes straight to the host's queue; one that is settled by now goes nowhere."""
    order = deployments.order_to_send(body["order_id"])
    if order is None:
        return None
    return Send(orders.EXECUTE_TASK, args=(order.envelope,), queue=orders.agent_queue(order.host), expires_at=order.expires_at)


def _to(task: str) -> Callable[[Body], Send]:
    return lambda body: Send(task, kwargs=dict(body))


TOPICS: Mapping[str, Callable[[Body], Send | None]] = {
    "deployments.reconcile": _to("control.reconcile"),
    "deployments.advance": _to("control.advance"),
    "deployments.publish_routing": _to("control.publish_routing"),
    "deployments.send_order": _order,
    "loadtests.dispatch": _to("control.dispatch_load_test"),
    "loadtests.record": _to("control.record_load_test"),
    "loadtests.settle": _to("control.settle_load_test"),
    "notices.deliver": _to("control.deliver_notices"),
    "registry.alias": _to("control.apply_alias"),
    "registry.discover": _to("control.discover_models"),
    "registry.look": _to("control.look_at_version"),
    "registry.mirror": _to("control.look_at_model"),
    "registry.scan": _to("control.scan_model"),
    "registry.sync": _to("control.sync_model"),
}


class UnknownTopic(Exception):
    """A message speaks of something that no task does."""


def route(topic: str, body: Body) -> Send | None:
    """What to send for a message; None when there is nothing left to say. Raises UnknownTopic."""
    try:
        make = TOPICS[topic]
    except KeyError as error:
        raise UnknownTopic(f"no task for the topic {topic!r}; add it to celery_worker/control/topics.py") from error
    return make(body)

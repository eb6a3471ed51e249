"""Take on an order or refuse it, by what this host has seen before. What is taken on is on disk first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from celery_worker import orders
from celery_worker.agent.load import LoadPlan
from celery_worker.agent.state import DeploymentState, Store


def accept(store: Store, order: Mapping[str, Any], envelope: dict[str, Any], *, engine_kinds: Collection[str]) -> None:
    """Remember a verified order durably before anything is done for it.

    Raises OrderRefused: `replayed` for one that is finished, `stale_generation` for one that is not above the last seen,
    `malformed` for what this host cannot do. An unfinished order that is delivered again is accepted again, unchanged.
    """
    try:
        deployment_id = str(UUID(order["deployment_id"]))
    except ValueError as error:
        raise orders.OrderRefused("malformed", "deployment_id is not a UUID.") from error
    if deployment_id != order["deployment_id"]:
        raise orders.OrderRefused("malformed", "deployment_id is not written as a lower-case UUID.")
    is_load = order["kind"] == "load_test"
    if is_load:
        LoadPlan.from_order(order["load"])
    if order["kind"] == "start" and order["engine"]["kind"] not in engine_kinds:
        raise orders.OrderRefused("malformed", f"This host has no engine of kind {order['engine']['kind']!r}.")

    def change(state: DeploymentState) -> None:
        order_id, generation = order["order_id"], order["generation"]
        if order_id in state.seen:
            if order_id in state.load_orders or (state.order is not None and state.order_id == order_id):
                return  # whoever delivers it once more only wakes us up
            raise orders.OrderRefused("replayed", "This order was carried out before; it is not done twice.")
        if generation <= state.generation:
            raise orders.OrderRefused("stale_generation", f"Generation {generation} is not above {state.generation}, the last one seen.")
        if is_load and state.phase != "ready":
            raise orders.OrderRefused("malformed", "There is no ready engine of this deployment to put load on.")
        state.generation = generation
        state.seen.append(order_id)
        if is_load:
            state.load_orders[order_id] = envelope
        else:
            state.order, state.order_id, state.work_generation = envelope, order_id, generation

    store.update(deployment_id, change)

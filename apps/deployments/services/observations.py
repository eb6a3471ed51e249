"""What a verified report about a deployment changes: its observed state, its orders, its counted engine starts."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import plain
from apps.core.clock import now
from apps.deployments import rules
from apps.deployments.models import Deployment, EngineStart, Host, WorkOrder
from apps.deployments.services.work_orders import ENGINE_THREADS
from apps.outbox import services as outbox
from celery_worker import orders
from celery_worker.orders import OrderRefused

STATES = frozenset({"downloading", "verifying", "starting", "ready", "failed", "stopped"})
# An engine that ran this long before it died was a good start: its death does not count towards giving up.
STEADY_S = 60.0
_OBSERVED_FIELDS = [
    "observed", "observed_generation", "observed_at", "detail", "pid", "url", "ready_at", "timings_ms", "failures",
]  # fmt: skip


def identifier(value: Any, name: str) -> UUID:
    """A UUID of a message. Raises OrderRefused naming the field."""
    try:
        return UUID(str(value))
    except ValueError as error:
        raise OrderRefused("malformed", f"{name} is not a UUID.") from error


def whole_or_none(value: Any, *, most: int) -> int | None:
    """A whole number from 0 to `most`, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def plain_list(value: Any, *, most: int) -> list[Any]:
    """A list of a message, cut at `most` entries; empty for anything else."""
    return plain(value[:most]) if isinstance(value, list) else []


def words(value: Any) -> str:
    """Text of a message, cut, without characters that a database cannot hold."""
    return value[:2000].replace("\x00", "") if isinstance(value, str) else ""


def observe(host: Host, body: Mapping[str, Any], reported_at: datetime) -> None:
    """Take over a deployment's state. Older news than what is known only counts its engine start. Raises OrderRefused."""
    rows = Deployment.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint", "host")
    deployment = rows.filter(id=identifier(body.get("deployment_id"), "deployment_id"), host=host).first()
    if deployment is None:
        raise OrderRefused("misaddressed", f"No deployment of this id was given to {host.name}.")
    state, generation = body.get("state"), body.get("generation")
    if state not in STATES:
        raise OrderRefused("malformed", "state is none of the agreed ones.")
    if not isinstance(generation, int) or isinstance(generation, bool) or not 1 <= generation <= deployment.generation:
        raise OrderRefused("malformed", "generation is none that was ordered.")
    start = _count_start(deployment, body, generation)
    if generation < deployment.observed_generation:
        return
    if generation == deployment.observed_generation and deployment.observed_at and reported_at < deployment.observed_at:
        return
    order = _settle(deployment, body, generation, state)
    before = (deployment.observed, deployment.url)
    deployment.observed, deployment.observed_generation, deployment.observed_at = state, generation, reported_at
    deployment.detail = words(body.get("detail"))
    deployment.pid = whole_or_none(body.get("pid"), most=2**31 - 1)
    if state == "ready":
        _ready(deployment, body, reported_at, start)
    elif state in {"failed", "stopped"}:
        _ended(deployment, state, before[0], order, reported_at)
    deployment.save(update_fields=_OBSERVED_FIELDS)
    if (deployment.observed, deployment.url) == before:
        return
    if state in {"ready", "failed", "stopped"} or before[0] == "ready":
        outbox.put("deployments.publish_routing", {})
        outbox.put("deployments.advance", {"endpoint_id": deployment.endpoint_id})
    if state in {"failed", "stopped"}:
        due_at = now() + timedelta(seconds=rules.back_off_s(deployment.failures)) if state == "failed" else None
        outbox.put("deployments.reconcile", {"deployment_id": deployment.id}, due_at=due_at)


def _count_start(deployment: Deployment, body: Mapping[str, Any], generation: int) -> EngineStart | None:
    """The engine start a report speaks of, counted the first time it is heard of."""
    if body.get("engine_start_id") is None or body.get("started_at") is None:
        return None
    start_id = identifier(body["engine_start_id"], "engine_start_id")
    started_at = orders.time_from_text(body["started_at"], field="started_at")
    start, fresh = EngineStart.objects.get_or_create(
        engine_start_id=start_id,
        defaults={
            "deployment": deployment, "generation": generation, "started_at": started_at, "cpu_cores": float(ENGINE_THREADS),
            "pid": whole_or_none(body.get("pid"), most=2**31 - 1),
        },
    )  # fmt: skip
    if start.deployment_id != deployment.id:
        raise OrderRefused("malformed", "engine_start_id belongs to another deployment.")
    if fresh:
        EngineStart.objects.filter(deployment=deployment, ended_at=None, started_at__lt=started_at).exclude(id=start.id).update(
            ended_at=started_at
        )
        Deployment.objects.filter(id=deployment.id).update(engine_starts=F("engine_starts") + 1)
    memory = whole_or_none(body.get("memory_bytes"), most=2**62)
    if memory is not None and memory > (start.memory_bytes or 0):
        start.memory_bytes = memory
        start.save(update_fields=["memory_bytes"])
    return start


def _settle(deployment: Deployment, body: Mapping[str, Any], generation: int, state: str) -> WorkOrder | None:
    """Note on the order what became of it; returns it if it was open until now."""
    order = WorkOrder.objects.filter(deployment=deployment, generation=generation, kind__in=["start", "stop"]).first()
    # An order written off as expired may have been taken up in the last moment: the agent's word counts.
    if order is None or order.state not in {*WorkOrder.OPEN, WorkOrder.State.EXPIRED}:
        return None
    end = {"ready": "done", "stopped": "done" if order.kind == "stop" else "failed", "failed": "failed"}.get(state)
    has_successor = (
        WorkOrder.objects.filter(deployment=deployment, kind__in=["start", "stop"], state__in=WorkOrder.OPEN).exclude(id=order.id).exists()
    )
    if end is None and has_successor:
        return order
    order.state = end or WorkOrder.State.ACCEPTED
    order.progress_at, order.detail = now(), words(body.get("detail"))
    order.save(update_fields=["state", "progress_at", "detail"])
    return order


def _ready(deployment: Deployment, body: Mapping[str, Any], reported_at: datetime, start: EngineStart | None) -> None:
    deployment.url = rules.engine_url(body.get("url"))
    if not deployment.url:
        raise OrderRefused("malformed", "url is not http(s)://host:port.")
    timings = body.get("timings_ms")
    if isinstance(timings, dict):
        deployment.timings_ms = {str(k)[:30]: v for k, v in list(timings.items())[:10] if isinstance(v, int | float)}
    deployment.ready_at = deployment.ready_at if start is not None and start.ready_at else reported_at
    if start is None or start.ready_at is not None:
        return
    start.ready_at, start.pid = reported_at, deployment.pid
    start.save(update_fields=["ready_at", "pid"])
    audit.record(
        "deployments.deployment.ready", actor=Actor.agent(deployment.host.name), obj_type="deployment", obj_id=str(deployment.id),
        obj_label=str(deployment), usecase_id=str(deployment.endpoint.usecase_id), decision_id=str(deployment.decision_id),
        after={
            "engine_start_id": start.engine_start_id, "generation": deployment.observed_generation, "pid": deployment.pid,
            "artifact_digest": deployment.artifact_digest, "timings_ms": deployment.timings_ms,
        },
    )  # fmt: skip


def _ended(deployment: Deployment, state: str, before: str, order: WorkOrder | None, reported_at: datetime) -> None:
    EngineStart.objects.filter(deployment=deployment, ended_at=None).update(ended_at=reported_at)
    was_ready = before in {"ready", "lost"}
    if state == "stopped":
        deployment.url, deployment.pid, deployment.failures = "", None, 0
        return
    deployment.url, deployment.pid = "", None
    if was_ready and deployment.ready_at and (reported_at - deployment.ready_at).total_seconds() >= STEADY_S:
        deployment.failures = 0
    elif was_ready or order is not None:
        deployment.failures += 1
    audit.record(
        "deployments.deployment.failed", actor=Actor.agent(deployment.host.name), obj_type="deployment", obj_id=str(deployment.id),
        obj_label=str(deployment), usecase_id=str(deployment.endpoint.usecase_id), decision_id=str(deployment.decision_id),
        reason=deployment.detail, after={"generation": deployment.observed_generation, "failures": deployment.failures, "before": before},
    )  # fmt: skip

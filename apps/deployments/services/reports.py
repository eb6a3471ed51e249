"""What agents say. Believed only if the registered key of the very host signed it; each report counts once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.ids import new_id
from apps.deployments import rules
from apps.deployments.gateways import keys
from apps.deployments.models import AgentReport, Deployment, Host, WorkOrder
from apps.deployments.services import agent_keys, observations, refusals
from apps.outbox import services as outbox
from celery_worker import orders
from celery_worker.orders import OrderRefused


@dataclass(frozen=True, slots=True)
class Receipt:
    """What to acknowledge to which host; nothing for a heartbeat or a refused report."""

    host: str = ""
    report_ids: list[str] = field(default_factory=list)


@transaction.atomic
def receive_report(*, envelope: Any) -> Receipt:
    """Take in one signed report, once. A report that is forged, unsigned, or sent for another host is audited and nothing else.

    A hand-over of the host's own key that travels beside it is taken up first. A report that was seen before is acknowledged again and changes nothing. Never raises for what a message says.
    """
    host = None
    agent_keys.take_carried(envelope=envelope)
    try:
        host, payload = _authenticate(envelope)
        body, reported_at = _read(payload)
    except OrderRefused as refusal:
        _refuse(refusal, envelope, host)
        return Receipt()
    if payload["kind"] == "heartbeat":
        _beat(host, body, reported_at)
        return Receipt()
    receipt = Receipt(host.name, [payload["report_id"]])
    _, fresh = AgentReport.objects.get_or_create(
        host=host, report_id=payload["report_id"],
        defaults={
            "id": new_id(), "kind": payload["kind"], "seq": payload["seq"], "body": body, "reported_at": reported_at, "received_at": now(),
        },
    )  # fmt: skip
    if not fresh:
        return receipt
    try:
        with transaction.atomic():
            _take_in(host, payload, body, reported_at)
    except OrderRefused as refusal:
        # Rightly signed and still not believable: kept and acknowledged, so that it is not sent for ever.
        _refuse(refusal, envelope, host)
    return receipt


def _authenticate(envelope: Any) -> tuple[Host, dict[str, Any]]:
    """The host whose key signed the envelope, and the payload. Raises OrderRefused."""
    named = envelope.get("key_id") if isinstance(envelope, Mapping) else None
    host = None
    if isinstance(named, str) and named and len(named) <= 16:
        mine = Q(key_id=named) | Q(previous_key_id=named, previous_until__gt=now())
        host = Host.objects.filter(mine, state="active").first()
    known = {named: keys.public_key(host.public_key if host.key_id == named else host.previous_public_key)} if host and named else {}
    payload = orders.verify(envelope, keys=known)
    assert host is not None
    if payload.get("host") != host.name:
        raise OrderRefused("misaddressed", f"The report is for another host than {host.name}, whose key signed it.")
    return host, payload


def _read(payload: Mapping[str, Any]) -> tuple[dict[str, Any], datetime]:
    """The body and moment of a report of the agreed form. Raises OrderRefused."""
    if payload.get("v") != orders.VERSION or payload.get("kind") not in orders.REPORT_KINDS or "purpose" in payload:
        raise OrderRefused("malformed", "This signed message is not a report.")
    body, seq = payload.get("body"), payload.get("seq")
    if not isinstance(body, dict) or not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq < 2**62:
        raise OrderRefused("malformed", "body is not an object, or seq not a whole number.")
    observations.identifier(payload.get("report_id"), "report_id")
    reported_at = orders.time_from_text(payload.get("reported_at"), field="reported_at")
    if reported_at > now() + orders.CLOCK_SKEW:
        raise OrderRefused("not_yet_valid", "The report is dated in the future; compare the hosts' clocks.")
    return body, reported_at


def _refuse(refusal: OrderRefused, envelope: Any, host: Host | None) -> None:
    """Audit it, naming the message by its hash: nothing it says is taken over, not even the host it claims. `host` is whose key signed it."""
    digest = orders.sha256_of_envelope(envelope)
    refusals.tell(
        "deployments.report.refused", source=host.name if host else "unknown", reason=refusal.reason, digest=digest, detail=refusal.detail,
        actor=Actor.system("reports"), obj_type="message", obj_id=digest, obj_label="agent report",
        after={"reason": refusal.reason, "sha256": digest},
    )  # fmt: skip


def _beat(host: Host, body: Mapping[str, Any], reported_at: datetime) -> None:
    """Take over a heartbeat unless a later one, or nothing newer than a minute, was seen. Its numbers are only shown."""
    moment = now()
    if (host.heartbeat_at is not None and reported_at <= host.heartbeat_at) or moment - reported_at > timedelta(seconds=60):
        return
    whole = observations.whole_or_none
    running = body.get("deployments")
    Host.objects.filter(id=host.id).update(
        last_seen_at=moment,
        heartbeat_at=reported_at,
        cpu_count=whole(body.get("cpu_count"), most=2**31 - 1),
        memory_bytes=whole(body.get("memory_bytes"), most=2**62),
        gpus=observations.plain_list(body.get("gpus"), most=64),
        engines=observations.plain_list(body.get("engines"), most=20),
        running=observations.plain_list(running, most=2000),
        facts={name: body.get(name) for name in ("memory_available_bytes", "load_1m", "agent_version") if name in body},
    )


def _take_in(host: Host, payload: Mapping[str, Any], body: dict[str, Any], reported_at: datetime) -> None:
    if payload["kind"] == "deployment":
        observations.observe(host, body, reported_at)
    elif payload["kind"] == "order_refused":
        _order_refused(host, body)
    else:
        # Load tests lie above this app: a control task takes the stored report to them.
        order = (
            WorkOrder.objects.select_for_update(no_key=True)
            .filter(host=host, kind="load_test", id=observations.identifier(body.get("order_id"), "order_id"))
            .first()
        )
        if order is None:
            raise OrderRefused("misaddressed", "No load test was ordered from this host under this id.")
        if order.state in {*WorkOrder.OPEN, WorkOrder.State.EXPIRED}:
            order.state = WorkOrder.State.DONE
            order.save(update_fields=["state"])
            outbox.put("loadtests.record", {"host_id": host.id, "report_id": payload["report_id"]})


def _order_refused(host: Host, body: Mapping[str, Any]) -> None:
    """Write down that the host would not do it; if it was an order of ours that is open, it is settled."""
    reason = body.get("reason") if body.get("reason") in orders.REASONS else "malformed"
    detail = observations.words(body.get("detail"))
    order = deployment = None
    try:
        order_id: UUID | None = observations.identifier(body.get("order_id"), "order_id")
    except OrderRefused:
        order_id = None
    rows = WorkOrder.objects.none() if order_id is None else WorkOrder.objects.filter(id=order_id, host=host)
    found = rows.values_list("deployment_id", flat=True).first()
    if found is not None:
        deployment = Deployment.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint").get(id=found)
        order = rows.select_for_update(no_key=True).get()
    digest = observations.words(body.get("order_sha256"))[:64]
    # Only the very message we sent settles the order: a forged one that quotes its id says nothing about it.
    settles = (
        order is not None and deployment is not None and digest == orders.sha256_of_envelope(order.envelope)
        and order.state in WorkOrder.OPEN and reason != "replayed"
    )  # fmt: skip
    event: dict[str, Any] = {
        "actor": Actor.agent(host.name), "obj_type": "workorder" if order else "message",
        "obj_id": str(order.id) if order else digest or "unknown", "obj_label": f"{order.kind} {deployment}" if order else "order",
        "usecase_id": str(deployment.endpoint.usecase_id) if deployment else None,
        "after": {"reason": reason, "order_sha256": digest, "host": host.name},
    }  # fmt: skip
    if not settles:
        refusals.tell("deployments.order.refused", source=host.name, reason=str(reason), digest=digest or "unknown", detail=detail, **event)
        return
    # An order of ours that comes to its end is always told by itself.
    audit.record("deployments.order.refused", reason=detail, **event)
    assert order is not None and deployment is not None
    order.state, order.detail = WorkOrder.State.REFUSED, f"{reason}: {detail}"
    order.save(update_fields=["state", "detail"])
    if order.kind == "load_test":
        outbox.put("loadtests.settle", {"order_id": order.id})
        return
    deployment.failures += 1
    deployment.detail = f"The host refused the order: {detail}"
    deployment.save(update_fields=["failures", "detail"])
    outbox.put(
        "deployments.reconcile", {"deployment_id": deployment.id}, due_at=now() + timedelta(seconds=rules.back_off_s(deployment.failures))
    )
    outbox.put("deployments.advance", {"endpoint_id": deployment.endpoint_id})


def acknowledgement(*, receipt: Receipt) -> dict[str, Any]:
    """The signed message by which a host learns that its reports are stored (control only)."""
    said = orders.make_acknowledgement(report_ids=receipt.report_ids, audience=receipt.host, issued_at=now(), private_key=keys.order_key())
    return keys.with_handovers(said)

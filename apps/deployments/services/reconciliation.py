"""Make what runs agree with what should run: one deployment, one look, at most one order."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.deployments import rules, selectors
from apps.deployments.models import Deployment, EngineStart, WorkOrder
from apps.deployments.services import work_orders
from apps.outbox import services as outbox


@transaction.atomic
def reconcile(*, actor: Actor, deployment_id: Any) -> rules.Step:
    """Compare desired with observed and order what is missing. Safe to call at any time, twice, or by two processes at once.

    The locked row is the lease. Asks decisions again each time: without a live decision nothing starts, a revoked one stops.
    Returns the step that was taken. Control only (it signs).
    """
    rows = Deployment.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint", "host", "model_version__model")
    deployment = rows.one("deployment", id=deployment_id)
    moment = now()
    _stop_when_due(actor, deployment, moment)
    order = _settle_order(deployment, moment)
    standing = selectors.standing(deployment, at=moment)
    if standing.verdict == "revoked" and deployment.desired == "running":
        _withdraw(actor, deployment, standing)
    step = rules.next_step(_facts(deployment, order, standing, moment))
    changed: list[str] = []
    if step.lost and deployment.observed == Deployment.Observed.READY:
        _mark_lost(deployment, moment)
    if step.kind in {"start", "stop"}:
        if step.kind == "start" and standing.decision is not None and standing.decision.id != deployment.decision_id:
            deployment.decision_id = standing.decision.id
            changed.append("decision_id")
        work_orders.issue(actor=actor, deployment=deployment, kind=step.kind, decision=standing.decision if step.kind == "start" else None)
    if step.reason and step.reason != deployment.detail and deployment.observed != Deployment.Observed.READY:
        deployment.detail = step.reason
        changed.append("detail")
    if changed:
        deployment.save(update_fields=changed)
    return step


def _facts(deployment: Deployment, order: WorkOrder | None, standing: selectors.Standing, moment: datetime) -> rules.Facts:
    listed = rules.is_listed(
        deployment.host.running, str(deployment.id), heartbeat_at=deployment.host.heartbeat_at, observed_at=deployment.observed_at
    )
    back_off = 0.0
    if deployment.observed == Deployment.Observed.FAILED or deployment.failures:
        last = (
            WorkOrder.objects.filter(deployment=deployment, kind="start")
            .order_by("-generation")
            .values_list("issued_at", flat=True)
            .first()
        )
        if last is not None:
            back_off = rules.back_off_s(deployment.failures) - (moment - last).total_seconds()
    open_order = None
    if order is not None:
        silent_since = order.progress_at or order.issued_at
        stalled = order.state == WorkOrder.State.ACCEPTED and (moment - silent_since).total_seconds() > rules.PROGRESS_TIMEOUT_S
        open_order = rules.OpenOrder(order.kind, stalled=stalled)
    return rules.Facts(
        desired=deployment.desired,
        observed=deployment.observed,
        verdict=standing.verdict,
        verdict_detail=standing.detail,
        host_fresh=selectors.host_is_fresh(deployment.host, at=moment) and deployment.host.state == "active",
        host_name=deployment.host.name,
        order=open_order,
        listed=listed,
        back_off_s=max(0.0, back_off),
    )


def _settle_order(deployment: Deployment, moment: datetime) -> WorkOrder | None:
    """The open start or stop order; one that no agent took up in time is written off first."""
    order = WorkOrder.objects.filter(deployment=deployment, kind__in=["start", "stop"], state__in=WorkOrder.OPEN).first()
    if order is not None and order.state == WorkOrder.State.SENT and order.expires_at <= moment:
        order.state, order.detail = WorkOrder.State.EXPIRED, "The host did not take it up in time."
        order.save(update_fields=["state", "detail"])
        return None
    _send_again(deployment, order, moment)
    return order


def _send_again(deployment: Deployment, order: WorkOrder | None, moment: datetime) -> None:
    """Send the same order once more when a host that reports says nothing about it: the broker may have lost it.

    An agent takes an order up once, so this cannot make anything happen twice.
    """
    if order is None or order.state != WorkOrder.State.SENT or not selectors.host_is_fresh(deployment.host, at=moment):
        return
    if (moment - (order.progress_at or order.issued_at)).total_seconds() >= rules.SEND_AGAIN_AFTER_S:
        order.progress_at = moment
        order.save(update_fields=["progress_at"])
        outbox.put("deployments.send_order", {"order_id": order.id})


def _stop_when_due(actor: Actor, deployment: Deployment, moment: datetime) -> None:
    """A version that was kept for comparison or going back is stopped when its time is over, unless it serves again."""
    if deployment.stop_at and deployment.stop_at <= moment and deployment.desired == "running" and deployment.weight == 0:
        until = deployment.stop_at
        set_stopped(deployment)
        audit.record(
            "deployments.deployment.retired", actor=actor, obj_type="deployment", obj_id=str(deployment.id), obj_label=str(deployment),
            usecase_id=str(deployment.endpoint.usecase_id), decision_id=str(deployment.decision_id),
            before={"desired": "running", "stop_at": until}, after={"desired": "stopped"},
        )  # fmt: skip
        outbox.put("deployments.publish_routing", {})


def set_stopped(deployment: Deployment) -> None:
    """Write that a deployment is to stop and takes no traffic; the caller holds its row."""
    deployment.desired, deployment.weight, deployment.stop_at = "stopped", 0, None
    deployment.fence += 1
    deployment.save(update_fields=["desired", "weight", "stop_at", "fence"])


def set_running(deployment: Deployment) -> None:
    """Write that a deployment is to run; the caller holds its row."""
    deployment.desired, deployment.stop_at = "running", None
    deployment.fence += 1
    deployment.save(update_fields=["desired", "stop_at", "fence"])


def _withdraw(actor: Actor, deployment: Deployment, standing: selectors.Standing) -> None:
    set_stopped(deployment)
    audit.record(
        "deployments.deployment.withdrawn", actor=actor, obj_type="deployment", obj_id=str(deployment.id), obj_label=str(deployment),
        usecase_id=str(deployment.endpoint.usecase_id), decision_id=str(deployment.decision_id), reason=standing.detail,
        before={"desired": "running"}, after={"desired": "stopped"},
    )  # fmt: skip
    outbox.put("deployments.publish_routing", {})
    outbox.put("deployments.advance", {"endpoint_id": deployment.endpoint_id})


def _mark_lost(deployment: Deployment, moment: datetime) -> None:
    deployment.observed, deployment.url, deployment.pid = Deployment.Observed.LOST, "", None
    deployment.save(update_fields=["observed", "url", "pid"])
    EngineStart.objects.filter(deployment=deployment, ended_at=None).update(ended_at=moment)
    outbox.put("deployments.publish_routing", {})
    outbox.put("deployments.reconcile", {"deployment_id": deployment.id}, due_at=moment + timedelta(seconds=1))

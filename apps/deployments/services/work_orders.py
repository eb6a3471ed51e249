"""Signed orders to agents. Only control can sign; everybody else writes what should be and puts a message."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, NoLiveDecision
from apps.core.ids import new_id, slugify
from apps.decisions.models import Decision
from apps.deployments import selectors
from apps.deployments.gateways import keys
from apps.deployments.models import Deployment, WorkOrder
from apps.outbox import services as outbox
from celery_worker import orders

ENGINE_KIND = "kserve"
ENGINE_THREADS = 1


def engine_model(deployment: Deployment) -> str:
    """The model's name inside its engine."""
    return slugify(deployment.model_version.model.name)


def issue(
    *, actor: Actor, deployment: Deployment, kind: str, decision: Decision | None = None, load: dict[str, Any] | None = None
) -> WorkOrder:
    """Sign the next order for a deployment whose row the caller has locked; it leaves through the outbox when this commits.

    A start or stop takes the place of the one before. Raises NoOrderKey outside control.
    """
    moment = now()
    deployment.generation += 1
    deployment.save(update_fields=["generation"])
    order_id, expires_at = new_id(), moment + timedelta(seconds=settings.ORDER_VALIDITY_S)
    payload: dict[str, Any] = {
        "v": orders.VERSION,
        "order_id": str(order_id),
        "kind": kind,
        "audience": deployment.host.name,
        "issued_at": orders.time_to_text(moment),
        "expires_at": orders.time_to_text(expires_at),
        "generation": deployment.generation,
        "deployment_id": str(deployment.id),
        "fence": deployment.fence,
    }
    if kind == "start":
        payload |= _start_sections(deployment, decision, expires_at)
    if kind == "load_test":
        payload["load"] = load
    if kind != "load_test":
        WorkOrder.objects.filter(deployment=deployment, kind__in=["start", "stop"], state__in=WorkOrder.OPEN).update(
            state=WorkOrder.State.SUPERSEDED
        )
    order = WorkOrder.objects.create(
        id=order_id, deployment=deployment, host=deployment.host, kind=kind, generation=deployment.generation,
        envelope=keys.signed(payload), issued_at=moment, expires_at=expires_at,
    )  # fmt: skip
    outbox.put("deployments.send_order", {"order_id": order.id})
    audit.record(
        "deployments.order.issued", actor=actor, obj_type="workorder", obj_id=str(order.id), obj_label=f"{kind} {deployment}",
        usecase_id=str(deployment.endpoint.usecase_id), decision_id=str(decision.id) if decision else None,
        after={
            "kind": kind, "host": deployment.host.name, "deployment_id": deployment.id, "generation": deployment.generation,
            "artifact_digest": deployment.artifact_digest, "order_sha256": orders.sha256_of_envelope(order.envelope),
        },
    )  # fmt: skip
    return order


def _start_sections(deployment: Deployment, decision: Decision | None, expires_at: datetime) -> dict[str, Any]:
    if decision is None or decision.artifact_digest != deployment.artifact_digest:
        raise NoLiveDecision("A start order needs a live decision about this very artifact.")
    version_id = str(deployment.model_version_id)
    token = orders.make_artifact_token(
        version_id=version_id,
        digest=deployment.artifact_digest,
        audience=deployment.host.name,
        expires_at=expires_at,
        private_key=keys.order_key(),
    )
    return {
        "decision": {
            "id": str(decision.id),
            "environment": decision.environment,
            "artifact_digest": decision.artifact_digest,
            "expires_at": orders.time_to_text(decision.expires_at),
        },
        "artifact": {
            "url": f"{settings.BASE_URL}/artifacts/v1/{version_id}/archive",
            "token": token,
            "digest": deployment.artifact_digest,
            "model_version": deployment.model_version_label,
        },
        "engine": {"kind": ENGINE_KIND, "options": {"model_name": engine_model(deployment), "threads": ENGINE_THREADS}},
    }


@transaction.atomic
def issue_load_order(*, actor: Actor, deployment_id: Any, load: dict[str, Any]) -> WorkOrder:
    """Order load on a ready deployment (control only). Raises Conflict when it is not ready or takes production traffic."""
    rows = Deployment.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint", "host", "model_version__model")
    deployment = rows.one("deployment", id=deployment_id)
    if not deployment.is_ready:
        raise Conflict("deployment: its engine is not ready. Wait until it is, or look at its detail.")
    if not selectors.host_is_fresh(deployment.host):
        raise Conflict(f"host: {deployment.host} does not report. Start its agent.")
    return issue(actor=actor, deployment=deployment, kind="load_test", load=load)

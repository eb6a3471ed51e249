"""Incidents: while one is open, the decision of what it is about is on hold."""

from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Invalid, NotAllowed
from apps.decisions import services as decisions
from apps.deployments import rules as deployment_rules
from apps.deployments import selectors as deployments
from apps.deployments.models import Deployment, Endpoint
from apps.monitoring import selectors
from apps.monitoring.models import Incident, Monitor, MonitorWindow
from apps.monitoring.rules import settings as rules
from apps.outbox import services as outbox


@transaction.atomic
def open_incident(
    *,
    actor: Actor,
    endpoint_id: Any,
    severity: str,
    title: str,
    detail: str,
    numbers: dict[str, Any] | None = None,
    deployment_id: Any = None,
    monitor: Monitor | None = None,
    window: MonitorWindow | None = None,
    hold: bool = True,
) -> Incident:
    """Open an incident about an endpoint; with `hold` the decision of the deployment that answers (or the given one) is suspended.

    What runs keeps serving; nothing starts and no traffic moves towards it until the incident is closed. A monitor that has an
    open incident about the same deployment gets that one back. Raises Invalid, NotAllowed, NotFound.
    """
    rules.check_incident(severity=severity, title=title, detail=detail)
    endpoint = deployments.changeable_endpoint(actor, endpoint_id, lock=True)
    if not (actor.is_system or actor.has_scope("write")):
        raise NotAllowed("This token may only read. Use one with the scope 'write'.")
    deployment = _subject(actor, endpoint, deployment_id)
    if monitor is not None:
        known = Incident.objects.filter(monitor=monitor, deployment=deployment, closed_at=None).first()
        if known is not None:
            return known
    incident = Incident.objects.create(
        usecase_id=endpoint.usecase_id, endpoint=endpoint, deployment=deployment, monitor=monitor, window=window, severity=severity,
        title=title.strip(), detail=detail.strip(), numbers=numbers or {}, opened_at=now(), opened_by=actor.label,
        source=f"monitor:{monitor.id}" if monitor else actor.id, decision_id=deployment.decision_id if deployment else None,
    )  # fmt: skip
    audit.record(
        "monitoring.incident.opened", actor=actor, obj_type="incident", obj_id=str(incident.id), obj_label=incident.title,
        usecase_id=str(endpoint.usecase_id), decision_id=str(incident.decision_id) if incident.decision_id else None, reason=incident.detail,
        after={
            "severity": severity, "endpoint": endpoint.slug, "deployment": str(deployment) if deployment else None,
            "numbers": incident.numbers, "monitor_id": monitor.id if monitor else None,
        },
    )  # fmt: skip
    if hold and deployment is not None:
        held = decisions.place_hold(
            actor=actor,
            decision_id=deployment.decision_id,
            reason=f"Incident: {incident.title}",
            source_type="incident",
            source_id=str(incident.id),
        )
        incident.hold_id = held.id
        incident.save(update_fields=["hold_id"])
    return incident


def _subject(actor: Actor, endpoint: Endpoint, deployment_id: Any) -> Deployment | None:
    if deployment_id is None:
        return deployments.serving_of(endpoint)
    found = deployments.deployment(actor, deployment_id)
    if found.endpoint_id != endpoint.id:
        raise Invalid("deployment: it belongs to another endpoint.", errors={"deployment": ["Wrong endpoint."]})
    return found


@transaction.atomic
def close_incident(*, actor: Actor, incident_id: Any, resolution: str) -> Incident:
    """Close it with what was done about it; its hold is lifted. Repeating it changes nothing.

    Only who may change the use case, and an engineer or administrator: lifting the hold lets things start again.
    """
    found = selectors.incident(actor, incident_id)
    deployments.check_may_change(actor, found.usecase_id)
    deployment_rules.check_may_deploy(actor)
    if not resolution.strip():
        raise Invalid("resolution: say what was done about it.", errors={"resolution": ["Needed."]})
    incident = Incident.objects.select_for_update(no_key=True).get(id=found.id)
    if incident.closed_at is not None:
        return incident
    incident.closed_at, incident.closed_by, incident.resolution = now(), actor.label, resolution.strip()
    incident.save(update_fields=["closed_at", "closed_by", "resolution"])
    audit.record(
        "monitoring.incident.closed", actor=actor, obj_type="incident", obj_id=str(incident.id), obj_label=incident.title,
        usecase_id=str(incident.usecase_id), decision_id=str(incident.decision_id) if incident.decision_id else None,
        reason=incident.resolution,
    )  # fmt: skip
    if incident.hold_id is not None:
        decisions.lift_hold(actor=actor, hold_id=incident.hold_id, reason=f"Incident closed: {incident.resolution}")
        if incident.deployment_id:
            outbox.put("deployments.reconcile", {"deployment_id": incident.deployment_id})
    if incident.endpoint_id:
        outbox.put("deployments.advance", {"endpoint_id": incident.endpoint_id})
    return incident

"""Reads of monitoring."""

from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet

from apps.core.actor import Actor
from apps.core.clock import now
from apps.deployments import selectors as deployments
from apps.deployments.models import Deployment, Rollout
from apps.monitoring.gateways import captures
from apps.monitoring.models import Incident, Monitor, MonitorWindow, PredictionLabel


def monitors(actor: Actor, *, endpoint_id: Any = None) -> QuerySet[Monitor]:
    """Monitors the actor may see, newest first."""
    rows = Monitor.objects.visible_to(actor).select_related("endpoint__usecase")
    return (rows.filter(endpoint_id=endpoint_id) if endpoint_id is not None else rows).order_by("-id")


def monitor(actor: Actor, monitor_id: Any) -> Monitor:
    """One monitor, or NotFound."""
    return monitors(actor).one("monitor", id=monitor_id)  # type: ignore[attr-defined]


def windows(actor: Actor, *, monitor_id: Any = None) -> QuerySet[MonitorWindow]:
    """Windows the actor may see, newest first."""
    rows = MonitorWindow.objects.visible_to(actor).select_related("monitor")
    return (rows.filter(monitor_id=monitor_id) if monitor_id is not None else rows).order_by("-id")


def incidents(actor: Actor, *, usecase_id: Any = None, endpoint_id: Any = None, open_only: bool = False) -> QuerySet[Incident]:
    """Incidents the actor may see, newest first."""
    rows = Incident.objects.visible_to(actor).select_related("usecase", "endpoint", "deployment", "monitor", "rollout")
    if usecase_id is not None:
        rows = rows.filter(usecase_id=usecase_id)
    if endpoint_id is not None:
        rows = rows.filter(endpoint_id=endpoint_id)
    return (rows.filter(closed_at=None) if open_only else rows).order_by("-id")


def incident(actor: Actor, incident_id: Any) -> Incident:
    """One incident, or NotFound."""
    return incidents(actor).one("incident", id=incident_id)  # type: ignore[attr-defined]


def open_incidents_of(usecase_id: Any, *, at: datetime | None = None) -> QuerySet[Incident]:
    """Incidents of a use case that were open at `at` (now). Not filtered by person: checks and services ask."""
    at = at or now()
    return Incident.objects.filter(usecase_id=usecase_id, opened_at__lte=at).filter(Q(closed_at=None) | Q(closed_at__gt=at)).order_by("id")


def capture_counts(actor: Actor, endpoint_ref: Any, *, since: datetime | None = None, until: datetime | None = None) -> dict[str, Any]:
    """What each version of an endpoint answered: `{"endpoint", "since", "until", "total", "versions": [... with "share"]}`.

    share: of the rows that callers got an answer for, copies left out.
    """
    endpoint = deployments.endpoint(actor, endpoint_ref)
    rows = captures.counts(endpoint.id, since=since, until=until)
    total = sum(r["rows"] for r in rows if not r["shadow"])
    for row in rows:
        row["share"] = row["rows"] / total if total and not row["shadow"] else None
    return {"endpoint": str(endpoint.id), "since": since, "until": until, "total": total, "versions": rows}


def pair_of(endpoint_id: Any) -> tuple[Deployment | None, Deployment | None, Rollout | None]:
    """The version that answers, the one it is compared with (it gets copies), and the rollout between them that can be taken back."""
    rows = Deployment.objects.filter(endpoint_id=endpoint_id, desired="running").select_related("model_version__model", "endpoint")
    live = rows.filter(weight__gt=0).order_by("-weight", "-id").first()
    old = rows.filter(role=Deployment.Role.SHADOW).order_by("-id").first()
    rollout = None
    if live is not None and old is not None:
        rollout = Rollout.objects.filter(to_deployment=live, from_deployment=old, state=Rollout.State.COMPLETED).order_by("-id").first()
    return live, old, rollout


LABEL_STATES = ("unmatched", "corrected", "in_force")


def labels(actor: Actor, endpoint_ref: Any, *, state: str = "") -> QuerySet[PredictionLabel]:
    """Labels of an endpoint, newest first. unmatched: no prediction is captured for them; corrected: another took their place."""
    rows = PredictionLabel.objects.filter(endpoint=deployments.endpoint(actor, endpoint_ref)).select_related("superseded_by")
    if state == "corrected":
        rows = rows.exclude(superseded_by=None)
    elif state:
        rows = rows.filter(superseded_by=None)
    return (rows.filter(matched_at=None) if state == "unmatched" else rows).order_by("-id")


def label_counts(endpoint_id: Any) -> dict[str, int]:
    """How many rows of an endpoint have a label, for how many of them no prediction is captured, how many labels were corrected."""
    rows = PredictionLabel.objects.filter(endpoint_id=endpoint_id)
    in_force = Q(superseded_by=None)
    return rows.aggregate(
        in_force=Count("id", filter=in_force),
        unmatched=Count("id", filter=in_force & Q(matched_at=None)),
        corrected=Count("id", filter=~in_force),
    )

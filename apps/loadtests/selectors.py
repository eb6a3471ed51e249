"""Reads of load tests."""

import uuid
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from apps.core.actor import Actor
from apps.core.clock import now
from apps.deployments.models import AgentReport
from apps.loadtests.models import LoadRun

# Messages bring runs and results on their way at once; what they have not after this long is looked for.
OVERDUE = timedelta(seconds=10)


def runs(actor: Actor, *, deployment_id: Any = None, usecase_id: Any = None) -> QuerySet[LoadRun]:
    """Runs the actor may see, newest first, without their example rows."""
    rows = LoadRun.objects.visible_to(actor).select_related("deployment__endpoint__usecase", "deployment__host").defer("examples")
    if deployment_id is not None:
        rows = rows.filter(deployment_id=deployment_id)
    if usecase_id is not None:
        rows = rows.filter(deployment__endpoint__usecase_id=usecase_id)
    return rows.order_by("-id")


def run(actor: Actor, run_id: Any) -> LoadRun:
    """One run, or NotFound."""
    return runs(actor).one("load test", id=run_id)  # type: ignore[attr-defined]


def to_dispatch() -> list[uuid.UUID]:
    """Runs that were asked for a while ago and not ordered. Not filtered by person."""
    return list(LoadRun.objects.filter(state="requested", created_at__lt=now() - OVERDUE).order_by("id").values_list("id", flat=True))


def to_record() -> list[tuple[uuid.UUID, uuid.UUID]]:
    """(host id, report id) of results that were stored a while ago and not taken in. Not filtered by person."""
    waiting = [str(o) for o in LoadRun.objects.filter(state="sent", order_id__isnull=False).values_list("order_id", flat=True)]
    rows = AgentReport.objects.filter(kind="load_test", received_at__lt=now() - OVERDUE, body__order_id__in=waiting)
    return list(rows.order_by("id").values_list("host_id", "report_id")) if waiting else []

"""Look at the traffic since a monitor's last window, judge it once, and act on what is found.

Reading captures and computing happen before the transaction; what was found is written only if nobody else has judged that
window meanwhile.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import plain
from apps.core.clock import iso, now
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.deployments import selectors as deployments
from apps.deployments import services as deployment_services
from apps.kpis import selectors as kpis
from apps.kpis import services as kpi_services
from apps.monitoring import selectors
from apps.monitoring.models import Monitor, MonitorWindow
from apps.monitoring.services import judging, labels, reactions
from apps.monitoring.services.monitors import check_may_evaluate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a look gave: a window, or None with the reason in `detail` (too few rows yet)."""

    window: MonitorWindow | None
    detail: str = ""
    incident_id: str = ""


_JUDGES: dict[str, Callable[[Monitor, datetime, datetime], judging.Judged]] = {
    "drift": judging.drift,
    "cost": judging.cost,
    "latency": judging.latency,
}


def evaluate_monitor(*, actor: Actor, monitor_id: Any) -> Evaluation:
    """Judge everything since the last window, up to a few seconds ago; windows follow each other without gaps.

    With fewer rows than the monitor needs nothing is written and the rows wait, until the window is `max_age_s` old: then it is
    closed as `too_few`. Safe to repeat and to run twice at once. Opens its own transaction: do not call it in one.
    """
    monitor = selectors.monitor(actor, monitor_id)
    check_may_evaluate(actor, monitor)
    started_at, ended_at = monitor.cursor_at, now() - timedelta(seconds=monitor.config["settle_s"])
    if ended_at <= started_at:
        return Evaluation(None, "The last window ended just now.")
    if monitor.kind == Monitor.Kind.COST:
        labels.match_labels(actor=actor, endpoint_id=monitor.endpoint_id)
    judged = _JUDGES[monitor.kind](monitor, started_at, ended_at)
    old_enough = (ended_at - started_at).total_seconds() >= monitor.config["max_age_s"]
    if judged.n < monitor.config["min_rows"] and not old_enough:
        return Evaluation(None, f"{judged.n} rows since {iso(started_at)}; {monitor.config['min_rows']} are needed to judge.")
    return call(_record, actor, monitor, judged, started_at, ended_at)


@transaction.atomic
def _record(actor: Actor, monitor: Monitor, judged: judging.Judged, started_at: datetime, ended_at: datetime) -> Evaluation:
    # The endpoint before the monitor, as everywhere: what follows may roll back.
    deployments.locked_endpoint(monitor.endpoint_id)
    locked = Monitor.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint__usecase").get(id=monitor.id)
    if locked.cursor_at != started_at or not locked.active:
        return Evaluation(None, "Somebody else has just judged this window.")
    state = judged.state if judged.n >= locked.config["min_rows"] else MonitorWindow.State.TOO_FEW
    window = MonitorWindow.objects.create(
        monitor=locked, started_at=started_at, ended_at=ended_at, n=judged.n, state=state, statistics=plain(judged.statistics)
    )
    locked.cursor_at = ended_at
    locked.save(update_fields=["cursor_at"])
    audit.record(
        "monitoring.window.recorded", actor=actor, obj_type="monitorwindow", obj_id=str(window.id), obj_label=locked.name,
        usecase_id=str(locked.endpoint.usecase_id),
        after={"kind": locked.kind, "state": state, "n": judged.n, "started_at": started_at, "ended_at": ended_at},
    )  # fmt: skip
    _measure(actor, locked, window, judged)
    if locked.kind == Monitor.Kind.COST:
        # What decisions cost and what running them costs are read side by side: bring both up to the same moment.
        deployment_services.meter_cost(actor=actor, usecase_id=locked.endpoint.usecase_id)
    incident = reactions.react(actor=actor, monitor=locked, window=window)
    return Evaluation(window, incident_id=str(incident.id) if incident else "")


def _measure(actor: Actor, monitor: Monitor, window: MonitorWindow, judged: judging.Judged) -> None:
    """Record what was measured under the KPIs the monitor feeds, one row a model version and window."""
    known = {k.slug: k for k in kpis.of_usecase(monitor.endpoint.usecase_id)}
    for metric, slug in monitor.config["kpis"].items():
        kpi = known.get(slug)
        rows = [
            measured.row(metric, aggregation=kpi.aggregation, scale=kpi.scale)
            | {
                "source": f"portal: {monitor.name}"[:300],
                "external_id": f"monitor:{monitor.id}:{iso(window.started_at)}:{measured.version_label}"[:200],
            }
            for measured in judged.measured
            if kpi is not None and metric in measured.figures
        ]
        if kpi is not None and rows:
            kpi_services.record_measurements(actor=actor, kpi_id=kpi.id, rows=rows, measured_from=judged.counted)


def evaluate_due(*, actor: Actor) -> int:
    """Have every active monitor look; returns how many windows were written. One that fails does not stop the others."""
    try:
        labels.match_waiting(actor=actor)
    except Exception:
        log.exception("labels could not be matched")
    count = 0
    for monitor_id in Monitor.objects.filter(active=True).order_by("id").values_list("id", flat=True):
        try:
            count += evaluate_monitor(actor=actor, monitor_id=monitor_id).window is not None
        except DomainError as error:
            log.warning("monitor %s was not evaluated: %s", monitor_id, error.detail)
        except Exception:
            log.exception("monitor %s could not be evaluated", monitor_id)
    return count

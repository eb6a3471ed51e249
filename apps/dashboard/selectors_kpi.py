"""What the page of one KPI reads, and the chart that the use-case page shows too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core import figures
from apps.core.actor import Actor
from apps.dashboard.selectors_events import Happening, for_chart, happenings
from apps.deployments.models import Deployment
from apps.kpis import selectors as kpis
from apps.kpis.models import Baseline, Kpi, Measurement, ValueConversion
from apps.kpis.rules.effects import Effect
from apps.usecases import selectors as usecases
from apps.usecases.models import UseCase

Z95 = 1.96
TABLE_ROWS = 200


@dataclass(slots=True)
class KpiPage:
    """One KPI with its history. `head` is a row of kpis.selectors.headlines; `effect` is of the version measured last."""

    kpi: Kpi
    usecase: UseCase
    head: dict[str, Any]
    effect: Effect
    by_version: dict[str, Effect]
    baseline: Baseline | None
    baselines: list[Baseline]
    rows: list[Measurement]
    row_count: int
    conversion: ValueConversion | None
    money: dict[str, Any] | None
    happenings: list[Happening]
    chart: figures.Figure | None
    may_change: bool
    live: list[str]
    since: datetime | None

    @property
    def half(self) -> float | None:
        """Half the width of the baseline's 95% interval; None where it has no spread."""
        return Z95 * self.baseline.spread if self.baseline and self.baseline.spread is not None else None


def page(actor: Actor, kpi_id: Any) -> KpiPage:
    """The KPI, or NotFound when the actor may not see it."""
    kpi = kpis.kpi(actor, kpi_id)
    usecase = usecases.usecase(actor, kpi.usecase_id)
    head = kpis.headlines([kpi])[kpi.id]
    baselines = list(kpis.baselines(kpi.id))
    in_force = next((b for b in baselines if b.superseded_at is None), None)
    rows = kpis.series(kpi)
    told = happenings(usecase)
    worth = kpis.value(usecase)
    return KpiPage(
        kpi=kpi,
        usecase=usecase,
        head=head,
        effect=kpis.effect(kpi, head["version_label"] or None),
        by_version=kpis.effects_by_version(kpi),
        baseline=in_force,
        baselines=baselines,
        rows=rows[::-1][:TABLE_ROWS],
        row_count=len(rows),
        conversion=kpis.conversions(kpi.id).first(),
        money=next((e for e in worth["kpis"] if e["kpi"].id == kpi.id), None),
        happenings=told[::-1],
        chart=chart(kpi, rows, in_force, told),
        may_change=usecases.may_change(actor, usecase.id),
        live=live_labels(usecase),
        since=min((r.period_start for r in rows if r.version_label == head["version_label"]), default=None),
    )


def live_labels(usecase: UseCase) -> list[str]:
    """Versions that answer callers now: in production, or in pilot while nothing answers there; the largest share first."""
    rows = Deployment.objects.filter(endpoint__usecase=usecase, desired="running", weight__gt=0).order_by("-weight", "-id")
    found = list(rows.values_list("endpoint__environment", "model_version_label"))
    first = [label for environment, label in found if environment == "production"] or [label for _, label in found]
    return list(dict.fromkeys(first))


def chart(kpi: Kpi, rows: Sequence[Measurement], baseline: Baseline | None, told: Sequence[Happening]) -> figures.Figure | None:
    """Measurements by model version with the baseline's 95% band, target, floor and what happened; None without measurements."""
    if not rows:
        return None
    labels = sorted({r.version_label for r in rows})
    lines = [(label or "without a model", *_line([r for r in rows if r.version_label == label])) for label in labels]
    band = (baseline.value, Z95 * baseline.spread if baseline.spread else 0.0) if baseline else None
    events = for_chart(told, rows[0].period_start, max(r.period_end for r in rows))
    return figures.kpi(lines, unit=kpi.unit, baseline=band, target=kpi.target, floor=kpi.floor, events=events)


def _line(rows: Sequence[Measurement]) -> tuple[list[tuple[datetime, float]], list[tuple[float, float]] | None]:
    """Points at the end of each period, with 95% intervals where every period has its variance."""
    points = [(r.period_end, r.value) for r in rows]
    if not all(r.variance is not None and r.n > 1 for r in rows):
        return points, None
    halves = [Z95 * math.sqrt((r.variance or 0.0) / r.n) for r in rows]
    return points, [(r.value - h, r.value + h) for r, h in zip(rows, halves, strict=True)]

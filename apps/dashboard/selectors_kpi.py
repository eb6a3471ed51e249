"""What the page of one KPI reads, and the chart that the use-case page shows too."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.core import figures
from apps.core.actor import Actor
from apps.dashboard.selectors_events import Happening, for_chart, happenings
from apps.deployments.models import Deployment
from apps.kpis import selectors as kpis
from apps.kpis.models import Baseline, Kpi, Measurement, ValueConversion
from apps.kpis.rules.effects import Effect
from apps.kpis.rules.origins import told
from apps.usecases import selectors as usecases
from apps.usecases.models import UseCase

Z95 = 1.96
TABLE_ROWS = 200


@dataclass(slots=True)
class KpiPage:
    """One KPI with its history. `head` is a row of kpis.selectors.headlines; `effect` is of the version it names.

    origins: version label -> who measured its rows, in words.
    """

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
    origins: dict[str, str]

    @property
    def half(self) -> float | None:
        """Half the width of the baseline's 95% interval; None where it has no spread."""
        return Z95 * self.baseline.spread if self.baseline and self.baseline.spread is not None else None


def page(actor: Actor, kpi_id: Any) -> KpiPage:
    """The KPI, or NotFound when the actor may not see it."""
    kpi = kpis.kpi(actor, kpi_id)
    usecase = usecases.usecase(actor, kpi.usecase_id)
    live = live_labels([usecase.id])
    head = headlines([kpi], live)[kpi.id]
    baselines = list(kpis.baselines(kpi.id))
    in_force = next((b for b in baselines if b.superseded_at is None), None)
    rows = kpis.series(kpi)
    happened = happenings(usecase)
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
        happenings=happened[::-1],
        chart=chart(kpi, rows, in_force, happened),
        may_change=usecases.may_change(actor, usecase.id),
        live=live.get(usecase.id, []),
        origins={label: told(kpis.origins_of(r for r in rows if r.version_label == label)) for label in {r.version_label for r in rows}},
        since=min((r.period_start for r in rows if r.version_label == head["version_label"]), default=None),
    )


def live_labels(usecase_ids: Any) -> dict[UUID, list[str]]:
    """use case -> versions that answer callers now: in production, or in pilot while nothing answers there; the largest share first."""
    rows = Deployment.objects.filter(endpoint__usecase_id__in=usecase_ids, desired="running", weight__gt=0).order_by("-weight", "-id")
    found: dict[UUID, dict[str, list[str]]] = {}
    for usecase_id, environment, label in rows.values_list("endpoint__usecase_id", "endpoint__environment", "model_version_label"):
        found.setdefault(usecase_id, {}).setdefault(environment, []).append(label)
    return {u: list(dict.fromkeys(by.get("production") or [label for each in by.values() for label in each])) for u, by in found.items()}


def headlines(kpi_rows: Iterable[Kpi], live: Mapping[UUID, Sequence[str]]) -> dict[UUID, dict[str, Any]]:
    """kpis.selectors.headlines for the version that answers most callers now."""
    return kpis.headlines(kpi_rows, {usecase_id: labels[0] for usecase_id, labels in live.items() if labels})


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

"""What each kind of monitor finds in a window. Reads captures, labels and earlier windows; writes nothing."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from django.db.models import Q, QuerySet

from apps.core.clock import iso
from apps.deployments.models import Deployment
from apps.monitoring import selectors
from apps.monitoring.gateways import captures
from apps.monitoring.models import Monitor, MonitorWindow, PredictionLabel
from apps.monitoring.rules import costs
from apps.monitoring.rules import drift as drift_rules
from apps.usecases import selectors as usecases


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one model version over the rows of [period_start, period_end)."""

    version_label: str
    period_start: datetime
    period_end: datetime
    figures: dict[str, costs.Figure]
    percentiles: frozenset[str] = frozenset()

    def row(self, metric: str, *, aggregation: str, scale: float) -> dict[str, Any]:
        """A KPI measurement of one metric."""
        figure = self.figures[metric]
        content = (
            {"value": figure.value, "n": figure.n}
            if metric in self.percentiles or aggregation in {"percentile", "sum"}
            else costs.measurement(figure, aggregation=aggregation, scale=scale)
        )
        return content | {"version_label": self.version_label, "period_start": self.period_start, "period_end": self.period_end}


@dataclass(frozen=True, slots=True)
class Judged:
    """A window's content: n rows judged, the state, figures for people, and measurements for KPIs.

    counted: what the observations behind those measurements are, in the words of a gate's evidence.
    """

    n: int
    state: str
    statistics: dict[str, Any]
    measured: list[Measured] = field(default_factory=list)
    counted: str = "requests"


def drift(monitor: Monitor, started_at: datetime, ended_at: datetime) -> Judged:
    """Compare what callers sent in the window with the reference, feature by feature."""
    table = captures.read(monitor.endpoint_id, since=started_at, until=ended_at, shadow=False, columns=["features", "deployment_id"])
    if len(table) < monitor.config["min_rows"]:
        return Judged(len(table), MonitorWindow.State.TOO_FEW, {"n": len(table)})
    found = drift_rules.judge(monitor.reference, captures.feature_columns(table.column("features")), settings=monitor.config)
    answered = Counter(table.column("deployment_id").to_pylist())
    more = {"reference_rows": monitor.reference["n"], "reference_digest": monitor.reference_digest, "answered_by": dict(answered)}
    return Judged(len(table), found["state"], found | more)


def latency(monitor: Monitor, started_at: datetime, ended_at: datetime) -> Judged:
    """The 99th percentile of the answer time of each version against what is asked."""
    table = captures.read(
        monitor.endpoint_id,
        since=started_at,
        until=ended_at,
        shadow=False,
        columns=["request_id", "model_version", "latency_ms", "received_at", "row"],
    )
    # One answer time a request: its rows share it.
    table = table.filter(pa.compute.equal(table.column("row"), 0))
    asked = usecases.requirements(monitor.endpoint.usecase_id)
    target = monitor.config["p99_ms"] or (asked.latency_p99_ms if asked else None)
    values = table.column("latency_ms").to_numpy()
    if len(values) == 0:
        return Judged(0, MonitorWindow.State.TOO_FEW, {"n": 0, "target_ms": target})
    p99 = float(np.percentile(values, 99))
    labels = np.array(table.column("model_version").to_pylist())
    times = table.column("received_at").to_pylist()
    measured = []
    for label in sorted(set(labels.tolist())):
        mask = labels == label
        mine = values[mask]
        at = [t for t, m in zip(times, mask.tolist(), strict=True) if m]
        mean = costs.Figure(
            float(mine.mean()), len(mine), float(mine.var(ddof=1)) if len(mine) > 1 else 0.0, float(mine.sum()), float(len(mine))
        )
        high = costs.Figure(float(np.percentile(mine, 99)), len(mine), 0.0, 0.0, 0.0)
        measured.append(
            Measured(label, *_period(at), {"latency_p99_ms": high, "latency_mean_ms": mean}, percentiles=frozenset({"latency_p99_ms"}))
        )
    statistics = {"n": len(values), "p50_ms": float(np.percentile(values, 50)), "p99_ms": p99, "target_ms": target}
    return Judged(len(values), "worse" if target and p99 > target else "quiet", statistics, measured, "answered requests")


def _period(moments: Sequence[datetime]) -> tuple[datetime, datetime]:
    """The span of moments as [start, end), in UTC."""
    return min(moments).astimezone(UTC), (max(moments) + timedelta(microseconds=1)).astimezone(UTC)


# --- cost -------------------------------------------------------------------------------------------

Key = tuple[str, int]
SENDERS_NAMED = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """One version's answer to one labelled row."""

    deployment_id: str
    model_version: str
    shadow: bool
    received_at: datetime
    predicted: bool
    actual: bool


def cost(monitor: Monitor, started_at: datetime, ended_at: datetime) -> Judged:
    """Join the labels that arrived in the window with the answers they belong to.

    Each version's own figures go to the KPIs; the paired difference between the answering version and the one that got copies
    is added to that of earlier windows of the same pair, and judged together, newest first up to `pool_pairs`.
    """
    config = monitor.config
    labels = _labels(monitor, started_at, ended_at)
    answers = _joined(monitor, labels, started_at, ended_at)
    money = {"miss_cost": config["miss_cost"], "false_alarm_cost": config["false_alarm_cost"]}
    served: dict[str, list[Answer]] = defaultdict(list)
    for rows in answers.values():
        for answer in rows:
            if not answer.shadow:
                served[answer.model_version].append(answer)
    measured, versions = [], {}
    for label, rows in sorted(served.items()):
        figures = costs.figures(np.array([r.predicted for r in rows]), np.array([r.actual for r in rows]), **money)
        measured.append(Measured(label, *_period([r.received_at for r in rows]), figures))
        versions[label] = {"n": len(rows)} | {name: round(f.value, 6) for name, f in figures.items()}
    statistics: dict[str, Any] = {
        "n": len(answers),
        "labels": len(labels),
        "without_prediction": len(labels) - len(answers),
        "corrections_of_earlier_windows": _arrived(monitor, started_at, ended_at).filter(first_received_at__lt=started_at).count(),
        "versions": versions,
    }
    new, old, _ = selectors.pair_of(monitor.endpoint_id)
    state: str = MonitorWindow.State.QUIET
    if new is not None and old is not None:
        statistics |= _compared(monitor, answers, new, old, money)
        state = statistics["comparison"]["state"]
    return Judged(
        len(answers), state, statistics, measured, f"labelled predictions, labels sent by {_senders(monitor, started_at, ended_at)}"
    )


def _labels(monitor: Monitor, started_at: datetime, ended_at: datetime) -> dict[Key, float]:
    """Labels that arrived in the window, as they stood at its end. One that corrects what an earlier window counted is not counted twice."""
    then = Q(superseded_by=None) | Q(superseded_by__received_at__gte=ended_at)
    rows = _arrived(monitor, started_at, ended_at).filter(then, first_received_at__gte=started_at)
    return {(r, i): v for r, i, v in rows.values_list("request_id", "row", "label")}


def _senders(monitor: Monitor, started_at: datetime, ended_at: datetime) -> str:
    """Who sent the window's labels: whoever signs on figures has to know whose truth they rest on."""
    rows = _arrived(monitor, started_at, ended_at).order_by("received_from").values_list("received_from", flat=True).distinct()
    names = [name or "somebody whose name was not kept" for name in rows]
    return ", ".join(names) if len(names) <= SENDERS_NAMED else f"{len(names)} senders"


def _arrived(monitor: Monitor, started_at: datetime, ended_at: datetime) -> QuerySet[PredictionLabel]:
    return PredictionLabel.objects.filter(endpoint_id=monitor.endpoint_id, received_at__gte=started_at, received_at__lt=ended_at)


def _joined(monitor: Monitor, labels: dict[Key, float], started_at: datetime, ended_at: datetime) -> dict[Key, list[Answer]]:
    """(request id, row) -> the answers of all versions, for every labelled row that was answered."""
    if not labels:
        return {}
    table = captures.read(
        monitor.endpoint_id, since=started_at - timedelta(seconds=monitor.config["lookback_s"]), until=ended_at,
        request_ids={key[0] for key in labels},
        columns=["request_id", "client_id", "deployment_id", "model_version", "shadow", "received_at", "row", "prediction"],
    )  # fmt: skip
    predicted = captures.predictions(table)
    positive = costs.decisions_of(predicted, monitor.config["positive"]).tolist()
    out: dict[Key, list[Answer]] = defaultdict(list)
    for row, value, is_positive in zip(table.drop_columns(["prediction"]).to_pylist(), predicted.tolist(), positive, strict=True):
        key = (row["request_id"], row["row"])
        label = labels.get(key, labels.get((row["client_id"] or "", row["row"])))
        if label is None or math.isnan(value):
            continue
        actual = math.isclose(label, monitor.config["positive"])
        out[key].append(Answer(row["deployment_id"], row["model_version"], row["shadow"], row["received_at"], is_positive, actual))
    return out


def _compared(
    monitor: Monitor, answers: dict[Key, list[Answer]], new: Deployment, old: Deployment, money: dict[str, float]
) -> dict[str, Any]:
    """The pair's sums in this window, and the judgement over all windows of this pair."""
    new_id, old_id = str(new.id), str(old.id)
    pairs = []
    for rows in answers.values():
        by = {r.deployment_id: r for r in rows}
        if new_id in by and old_id in by:
            pairs.append((by[new_id].predicted, by[old_id].predicted, by[new_id].actual))
    table = np.array(pairs, bool).reshape(-1, 3)
    new_costs = costs.row_costs(table[:, 0], table[:, 2], **money)
    old_costs = costs.row_costs(table[:, 1], table[:, 2], **money)
    here = costs.Sums.of(new_costs, old_costs)
    total = here
    config = monitor.config
    # Newest first, and no further back than needed: what traffic once was like must not hide what it is like now.
    for stored in MonitorWindow.objects.filter(monitor=monitor).order_by("-started_at").values_list("statistics", flat=True):
        if total.n >= config.get("pool_pairs", 1500):
            break
        pair = stored.get("pair", {})
        if (pair.get("new"), pair.get("old")) == (new_id, old_id):
            total += costs.Sums.read(pair["sums"])
    comparison = costs.compare(total, bound_per_1k=config["bound_per_1k"], min_pairs=config["min_pairs"], confidence=config["confidence"])
    first = min((r.received_at for rows in answers.values() for r in rows), default=None)
    return {
        "pair": {"new": new_id, "old": old_id, "new_version": str(new), "old_version": str(old), "sums": here.as_dict()},
        "comparison": comparison
        | {
            "new_cost_per_1k": round(float(new_costs.mean()) * 1000, 6) if len(table) else None,
            "old_cost_per_1k": round(float(old_costs.mean()) * 1000, 6) if len(table) else None,
            "pairs_in_window": here.n,
            "first_row_at": iso(first) if first else None,
        },
    }

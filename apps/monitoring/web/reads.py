"""What the monitoring page reads, in a bounded number of queries; everything starts from what the actor may see."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from apps.core import figures
from apps.core.actor import Actor
from apps.core.clock import now
from apps.decisions import selectors as decisions
from apps.deployments import selectors as deployments
from apps.deployments.models import Endpoint, TrafficShift
from apps.kpis import selectors as kpis
from apps.kpis.models import Kpi
from apps.monitoring import selectors
from apps.monitoring.models import Incident, Monitor, MonitorWindow, PredictionLabel
from apps.monitoring.web import wording
from apps.usecases import selectors as usecases

RECENT, CLOSED = 40, 20


@dataclass(slots=True)
class Watch:
    """A monitor in service: its last window, and the last one that had enough rows to judge."""

    monitor: Monitor
    windows: list[MonitorWindow]
    required_ms: float | None = None

    @property
    def last(self) -> MonitorWindow | None:
        """The newest window, judged or not."""
        return self.windows[0] if self.windows else None

    @property
    def judged(self) -> MonitorWindow | None:
        """The newest window that says something."""
        return next((w for w in self.windows if w.state != MonitorWindow.State.TOO_FEW), None)

    @property
    def title(self) -> str:
        """What it watches."""
        return wording.KINDS[self.monitor.kind][0]

    @property
    def question(self) -> str:
        """What it asks."""
        return wording.question(self.monitor, self.required_ms)

    @property
    def state(self) -> str:
        """The word for the ledger."""
        return wording.STATES[self.last.state] if self.last else "waits for rows"


@dataclass(slots=True)
class Line:
    """A window in the ledger."""

    window: MonitorWindow
    says: str
    state: str


@dataclass(slots=True)
class Case:
    """An incident with its numbers in words, what is on hold for it, and whether traffic went back."""

    incident: Incident
    facts: list[tuple[str, str]]
    held: bool

    @property
    def key(self) -> str:
        """The incident's id as text, for names of forms."""
        return str(self.incident.id)


@dataclass(slots=True)
class Inputs:
    """The newest comparison of inputs with the reference."""

    window: MonitorWindow
    rows: list[dict[str, Any]]
    chart: figures.Figure
    reference: dict[str, Any]


@dataclass(slots=True)
class Costs:
    """The newest costs: of each version on its own rows, and of two versions on the same rows."""

    window: MonitorWindow
    versions: list[tuple[str, dict[str, Any]]]
    comparison: dict[str, Any] | None
    pair: dict[str, Any]
    amount: str
    ends: str
    chart: figures.Figure | None
    compared_at: MonitorWindow | None


@dataclass(slots=True)
class Answers:
    """The newest answer times, and how they went."""

    window: MonitorWindow
    chart: figures.Figure


@dataclass(slots=True)
class Page:
    """All that the page shows."""

    endpoint: Endpoint
    currency: str
    watches: list[Watch]
    open: list[Case]
    closed: list[Incident]
    lines: list[Line]
    may_change: bool
    inputs: Inputs | None = None
    costs: Costs | None = None
    answers: Answers | None = None
    kpis: list[Kpi] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    unmatched: list[PredictionLabel] = field(default_factory=list)
    corrected: list[PredictionLabel] = field(default_factory=list)

    @property
    def answer(self) -> tuple[str, str]:
        """The first sentence."""
        judged = [w.judged for w in self.watches if w.judged]
        return wording.answer(watched=len(self.watches), open_incidents=[c.incident for c in self.open], judged=judged)

    @property
    def shown(self) -> set[str]:
        """The kinds that have findings on the page."""
        return {k for k, f in (("drift", self.inputs), ("cost", self.costs), ("latency", self.answers)) if f}

    def watch(self, kind: str) -> Watch | None:
        """The monitor of a kind that is in service."""
        return next((w for w in self.watches if w.monitor.kind == kind), None)


def page(actor: Actor, slug: str) -> Page:
    """The monitoring page of one endpoint; NotFound when the actor may not see it."""
    endpoint = deployments.endpoint(actor, slug)
    currency = endpoint.usecase.currency
    active = selectors.monitors(actor, endpoint_id=endpoint.id).filter(active=True).order_by("kind")
    asked = usecases.requirements(endpoint.usecase_id)
    required_ms = asked.latency_p99_ms if asked else None
    watches = [Watch(m, list(selectors.windows(actor, monitor_id=m.id)[:RECENT]), required_ms) for m in active]
    windows = list(MonitorWindow.objects.filter(monitor__endpoint=endpoint).select_related("monitor").order_by("-ended_at")[:RECENT])
    found = selectors.incidents(actor, endpoint_id=endpoint.id).select_related(
        "deployment", "rollout__from_deployment", "rollout__to_deployment", "window"
    )
    made = Page(
        endpoint=endpoint,
        currency=currency,
        watches=watches,
        open=[_case(i, currency) for i in found.filter(closed_at=None)[:CLOSED]],
        closed=list(found.exclude(closed_at=None).order_by("-closed_at")[:CLOSED]),
        lines=[Line(w, wording.found(w, currency=currency), wording.STATES[w.state]) for w in windows],
        may_change=actor.has_role("ml_engineer", "admin") and usecases.may_change(actor, endpoint.usecase_id),
        kpis=kpis.of_usecase(endpoint.usecase_id),
    )
    made.labels = selectors.label_counts(endpoint.id)
    if made.labels["unmatched"]:
        made.unmatched = list(selectors.labels(actor, endpoint.slug, state="unmatched")[:CLOSED])
    if made.labels["corrected"]:
        made.corrected = list(selectors.labels(actor, endpoint.slug, state="corrected")[:CLOSED])
    for watch in watches:
        if watch.monitor.kind == Monitor.Kind.DRIFT:
            made.inputs = _inputs(watch)
        elif watch.monitor.kind == Monitor.Kind.COST:
            made.costs = _costs(watch, currency)
        else:
            made.answers = _answers(watch)
    return made


def _case(incident: Incident, currency: str) -> Case:
    held = incident.hold_id is not None and decisions.open_holds(source_type="incident", source_id=str(incident.id)).exists()
    return Case(incident, wording.facts(incident, currency=currency), held)


def _inputs(watch: Watch) -> Inputs | None:
    window = watch.judged
    if window is None or "features" not in window.statistics:
        return None
    said = window.statistics["features"]
    rows = sorted(({"name": n} | v for n, v in said.items()), key=lambda r: -r["psi"])
    chart = figures.bars(
        [r["name"] for r in rows], [r["psi"] for r in rows], unit="stability index (PSI)",
        bound=watch.monitor.config["psi_bound"], bound_label="drifted from",
    )  # fmt: skip
    return Inputs(window, rows, chart, {"n": watch.monitor.reference["n"], "source": watch.monitor.reference["source"]})


def _costs(watch: Watch, currency: str) -> Costs | None:
    window = next((w for w in watch.windows if w.statistics.get("versions")), None)
    if window is None:
        return None
    compared = next((w for w in watch.windows if (w.statistics.get("comparison") or {}).get("pairs")), None)
    comparison = compared.statistics["comparison"] if compared else None
    chart = None
    if comparison and comparison["low_per_1k"] is not None:
        chart = figures.interval(
            comparison["low_per_1k"], comparison["difference_per_1k"], comparison["high_per_1k"],
            unit=f"{currency} per 1,000 decisions", bound=comparison["bound_per_1k"], zero_label="no difference",
        )  # fmt: skip
    amount, ends = wording.apart(comparison, currency) if comparison else ("", "")
    return Costs(
        window=window, versions=sorted(window.statistics["versions"].items()), comparison=comparison,
        pair=compared.statistics["pair"] if compared else {}, amount=amount, ends=ends,
        chart=chart, compared_at=compared,
    )  # fmt: skip


def _answers(watch: Watch) -> Answers | None:
    measured = [w for w in watch.windows if w.statistics.get("p99_ms") is not None]
    if not measured:
        return None
    points = [(w.ended_at, w.statistics["p99_ms"]) for w in reversed(measured)]
    medians = [(w.ended_at, w.statistics["p50_ms"]) for w in reversed(measured)]
    target = measured[0].statistics.get("target_ms")
    chart = figures.lines([("99th percentile", points), ("median", medians)], unit="ms", bound=target, bound_label="bound at p99")
    return Answers(measured[0], chart)


def references(actor: Actor, endpoint: Endpoint) -> list[Monitor]:
    """Drift monitors of the same use case whose reference another one may take."""
    rows = selectors.monitors(actor).filter(endpoint__usecase_id=endpoint.usecase_id, kind=Monitor.Kind.DRIFT)
    return list(rows[:10])


def span(endpoint: Endpoint) -> tuple[str, str]:
    """From the first time traffic was routed here until the end of this minute, as a form's moments (UTC)."""
    first = TrafficShift.objects.filter(endpoint=endpoint).order_by("id").values_list("requested_at", flat=True).first()
    ends = (first or endpoint.created_at, now() + timedelta(minutes=1))
    return f"{ends[0]:%Y-%m-%dT%H:%M}", f"{ends[1]:%Y-%m-%dT%H:%M}"

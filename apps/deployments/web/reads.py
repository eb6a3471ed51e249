"""What the deployment pages read, in a bounded number of queries; everything starts from what the actor may see."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Prefetch, Q

from apps.core.actor import Actor
from apps.core.canonical import canonical_json, sha256_hex
from apps.core.clock import now
from apps.deployments import rules, selectors
from apps.deployments.models import Deployment, Endpoint, EndpointKey, Host, RollbackRehearsal, Rollout, TrafficShift
from apps.usecases import phase_selectors

SHIFT_WORDS = {"step": "rollout step", "roll_back": "rolled back", "rehearsal": "rehearsal", "stop": "stopped"}
GONE = ("failed", "lost", "stopped")


# --- the list -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class EndpointRow:
    """An endpoint with what runs behind it."""

    endpoint: Endpoint
    running: list[Deployment] = field(default_factory=list)
    rollout: Rollout | None = None
    incidents: int = 0

    @property
    def answering(self) -> list[Deployment]:
        """Deployments that should answer, largest share first."""
        return [d for d in self.running if d.weight > 0]

    @property
    def state(self) -> str:
        """The word for the ledger."""
        if self.rollout:
            return "rolling out"
        if not self.running:
            return "empty"
        if any(d.observed in GONE for d in self.answering):
            return "not answering"
        return "ready" if self.answering and all(d.is_ready for d in self.answering) else "starting"

    @property
    def why(self) -> str:
        """What the state is due to, where it is not well."""
        return next((d.detail for d in self.answering if d.observed in GONE and d.detail), "")

    @property
    def needs_you(self) -> bool:
        """Whether an engineer should look here first."""
        return self.state == "not answering" or self.incidents > 0

    @property
    def order(self) -> tuple[bool, bool, bool, str]:
        """What needs somebody first, then what is moving, then by name."""
        return (
            self.state != "not answering",
            not self.incidents,
            self.state not in {"rolling out", "starting"},
            self.endpoint.name.lower(),
        )


FILTERS = {
    "": lambda row: True,
    "attention": lambda row: row.needs_you,
    "pilot": lambda row: row.endpoint.environment == "pilot",
    "production": lambda row: row.endpoint.environment == "production",
}


def endpoints(actor: Actor) -> list[EndpointRow]:
    """Every endpoint the actor may see, with running deployments, an unfinished rollout and open incidents; what needs help first."""
    rows = (
        Endpoint.objects.visible_to(actor)
        .select_related("usecase")
        .annotate(open_incidents=Count("incidents", filter=Q(incidents__closed_at=None, incidents__isnull=False), distinct=True))
        .prefetch_related(
            Prefetch("deployments", Deployment.objects.filter(desired="running").select_related("host").order_by("-weight"), to_attr="up"),
            Prefetch("rollouts", Rollout.objects.filter(state="in_progress").select_related("to_deployment"), to_attr="moving"),
        )
        .order_by("environment", "name")
    )
    found = [EndpointRow(e, e.up, next(iter(e.moving), None), e.open_incidents) for e in rows[:500]]  # type: ignore[attr-defined]
    return sorted(found, key=lambda row: row.order)


# --- one endpoint: the part that is refreshed ---------------------------------------------------------


@dataclass(slots=True)
class WayBack:
    """What going back would do now: give all traffic to `to`, or call off a rollout that has none yet; or why neither is possible."""

    rollout: Rollout | None = None
    to: Deployment | None = None
    calls_off: bool = False
    why_not: str = ""


@dataclass(slots=True)
class Shift:
    """A change of shares, with the shares it led to."""

    shift: TrafficShift
    words: str
    shares: str


@dataclass(frozen=True, slots=True)
class Engine:
    """A deployment in the ledger of engines: the word for its state, and what it is due to where it is not well or may not go on."""

    deployment: Deployment
    state: str
    why: str


@dataclass(slots=True)
class Live:
    """The part of the page that changes by itself."""

    endpoint: Endpoint
    running: list[Deployment]
    stopped: list[Deployment]
    rollout: Rollout | None
    rollouts: list[Rollout]
    shifts: list[Shift]
    rehearsals: list[RollbackRehearsal]
    incidents: list[Any]
    back: WayBack
    gateways: int
    engines: list[Engine]

    @property
    def answering(self) -> list[Deployment]:
        """Deployments with a share of the traffic, largest first."""
        return [d for d in self.running if d.weight > 0]

    @property
    def broken(self) -> Deployment | None:
        """One that should answer and cannot."""
        return next((d for d in self.answering if d.observed in GONE), None)

    @property
    def bake_left_s(self) -> int | None:
        """Seconds until the rollout's next step may begin; None without a rollout or before its first step."""
        if self.rollout is None or self.rollout.step_started_at is None:
            return None
        due = self.rollout.step_started_at + timedelta(seconds=self.rollout.bake_s)
        return max(0, int((due - now()).total_seconds()))

    @property
    def steps(self) -> list[dict[str, str]]:
        """The rollout under way as a stage line: the engine, then each share."""
        if self.rollout is None:
            return []
        at, new = self.rollout.step, self.rollout.to_deployment
        made = [{"name": "Engine", "note": new.observed if at < 0 else "ready", "state": "done" if at >= 0 else "here"}]
        for number, percent in enumerate(self.rollout.steps):
            note = (f"next step in {self.bake_left_s} s" if self.bake_left_s else "being watched") if number == at else ""
            made.append({"name": f"{percent}%", "note": note, "state": "here" if number == at else "done" if number < at else ""})
        return made

    @property
    def last(self) -> Rollout | None:
        """The newest rollout when it is over and was not a success."""
        newest = next(iter(self.rollouts), None)
        return newest if newest and newest.state in ("rolled_back", "failed") else None

    @property
    def token(self) -> str:
        """Changes when what the rest of the page says about versions and engines may have changed."""
        facts = [(str(d.id), d.weight, d.observed) for d in self.running] + [(str(r.id), r.state) for r in self.rollouts[:1]]
        return sha256_hex(canonical_json(facts))[:16]

    @property
    def rehearsing(self) -> RollbackRehearsal | None:
        """A rehearsal under way."""
        return next((r for r in self.rehearsals if r.ok is None), None)


def live(actor: Actor, slug: str) -> Live:
    """What happens on an endpoint now; NotFound when the actor may not see it."""
    found = Endpoint.objects.visible_to(actor).select_related("usecase").one("endpoint", slug=slug)
    deployments = list(found.deployments.select_related("host", "model_version__model", "endpoint").order_by("-weight", "-id")[:50])
    rollouts = list(found.rollouts.select_related("from_deployment", "to_deployment").order_by("-id")[:20])
    names = {str(d.id): d.model_version_label for d in deployments}
    running = [d for d in deployments if d.desired == "running"]
    return Live(
        endpoint=found,
        running=running,
        stopped=[d for d in deployments if d.desired == "stopped"],
        rollout=next((r for r in rollouts if r.state == "in_progress"), None),
        rollouts=rollouts,
        shifts=[Shift(s, SHIFT_WORDS[s.kind], _shares(s, names)) for s in found.shifts.select_related("rehearsal").order_by("-id")[:5]],
        rehearsals=list(found.rehearsals.select_related("deployment", "other").order_by("-id")[:5]),
        # Incidents belong to an app above; the relation is read from this side without naming it.
        incidents=list(found.incidents.filter(closed_at=None).order_by("-opened_at")[:10]),
        back=_way_back(rollouts, deployments),
        gateways=selectors.gateways().count(),
        engines=[_engine(d) for d in running],
    )


def _engine(deployment: Deployment) -> Engine:
    """Its state; a version that answers nobody because its decision is held is not broken, so it is told apart from one that failed."""
    if deployment.weight == 0:
        standing = selectors.standing(deployment)
        if standing.verdict == "held":
            if deployment.is_ready:
                return Engine(deployment, "ready", f"Held: it gets no traffic. {standing.detail}")
            return Engine(deployment, "held", f"It is not started again. {standing.detail}")
    return Engine(deployment, deployment.observed, "" if deployment.is_ready else deployment.detail)


def _shares(shift: TrafficShift, names: dict[str, str]) -> str:
    pairs = sorted(((w, names.get(i, "an older version")) for i, w in shift.weights.items() if w), reverse=True)
    return ", ".join(f"{name} {weight}%" for weight, name in pairs) or "nobody answers"


def _way_back(rollouts: list[Rollout], deployments: Iterable[Deployment]) -> WayBack:
    """Whether `roll_back` would go through now; the service checks again under a lock."""
    last = next((r for r in rollouts if r.state == "in_progress"), None)
    last = last or max(rollouts, key=lambda r: r.finished_at or r.created_at, default=None)
    if last is None:
        return WayBack(why_not="Nothing was rolled out here yet.")
    if last.state == "in_progress" and last.step < 0:
        return WayBack(last, last.from_deployment, calls_off=True)
    if last.state not in ("in_progress", "completed"):
        what = "rolled back" if last.state == "rolled_back" else "called off"
        return WayBack(why_not=f"The last rollout was {what}. Deploy a version to move traffic again.")
    old = next((d for d in deployments if d.id == last.from_deployment_id), None)
    if old is None:
        return WayBack(why_not="This is the first version here: there is none to go back to.")
    if not old.is_ready:
        state = "stopped" if old.desired == "stopped" else old.observed
        return WayBack(why_not=f"{old} is {state}, so there is no warm version. Deploy it again if its decision allows.")
    standing = selectors.standing(old)
    if standing.verdict != "live":
        return WayBack(why_not=f"{old} is warm but may not take traffic. {standing.detail}")
    return WayBack(last, old)


# --- one endpoint: the rest ---------------------------------------------------------------------------


def keys(endpoint: Endpoint) -> list[EndpointKey]:
    """The callers' keys, valid ones first."""
    return sorted(endpoint.keys.order_by("-id")[:100], key=lambda k: k.revoked_at is not None)


@dataclass(frozen=True, slots=True)
class Caller:
    """A key, and, with a rollout plan, to how many percent of its users it is open, what opens it to more, and what gateways counted."""

    key: EndpointKey
    open_percent: int = 100
    coming: str = ""
    admitted: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Callers:
    """Who may call. plan: the rollout phases of a production endpoint; empty: open to all."""

    rows: list[Caller]
    plan: list[phase_selectors.PhaseRow]
    openness: selectors.Openness | None

    @property
    def share(self) -> str:
        """Turned away, in percent of all."""
        found = self.openness
        return f"{100 * found.refused / found.requests:.1f}%" if found and found.requests else ""


def callers(endpoint: Endpoint) -> Callers:
    """Keys of an endpoint with what the rollout plan means for each."""
    found = keys(endpoint)
    plan = phase_selectors.plan(endpoint.usecase_id) if endpoint.environment == "production" else []
    openness = selectors.openness(endpoint) if plan else None
    if openness is None:
        return Callers([Caller(k) for k in found], [], None)
    rows = []
    for key in found:
        coming, (admitted, refused) = phase_selectors.coming(plan, rules.groups(key)), openness.by_key.get(key.prefix, (0, 0))
        rows.append(Caller(key, phase_selectors.reached(plan, rules.groups(key)), coming.phase.name if coming else "", admitted, refused))
    return Callers(rows, plan, openness)


def load_runs(endpoint: Endpoint) -> list[Any]:
    """The newest load tests of the endpoint's deployments. They belong to an app above; read without naming it."""
    rows = endpoint.deployments.prefetch_related("load_runs").order_by("-id")[:50]
    return sorted((r for d in rows for r in d.load_runs.all()), key=lambda r: str(r.id), reverse=True)[:8]


def may_be_loaded(endpoint: Endpoint, running: Iterable[Deployment]) -> list[Deployment]:
    """Deployments a load test may be run on: ready, and not answering production."""
    return [d for d in running if d.is_ready and (endpoint.environment != "production" or d.weight == 0)]


# --- hosts --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class HostRow:
    """A host with whether it is heard from, and how much of it is used."""

    host: Host
    reachable: bool
    used_pct: int | None


def hosts(actor: Actor) -> list[HostRow]:
    """Serving hosts with their last heartbeat."""
    moment = now()
    return [HostRow(h, reachable(h, moment), _used(h)) for h in Host.objects.visible_to(actor).order_by("name")]


def reachable(host: Host, moment: datetime) -> bool:
    """Heard from within the configured time."""
    return host.last_seen_at is not None and moment - host.last_seen_at < timedelta(seconds=settings.HOST_STALE_AFTER_S)


def _used(host: Host) -> int | None:
    free: Any = host.facts.get("memory_available_bytes")
    return round(100 * (1 - free / host.memory_bytes)) if free and host.memory_bytes else None

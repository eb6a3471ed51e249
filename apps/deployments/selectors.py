"""Reads of deployments. What people see starts from `visible_to(actor)`; what the processes need says so."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Prefetch, Q, QuerySet, Sum

from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import NotAllowed
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.deployments import rules
from apps.deployments.gateways import keys
from apps.deployments.models import (
    Deployment,
    Endpoint,
    EngineStart,
    GatewayState,
    Host,
    PhaseTally,
    RollbackRehearsal,
    Rollout,
    RoutingSnapshot,
    TrafficShift,
    WorkOrder,
)
from apps.usecases import phase_selectors
from apps.usecases import selectors as usecases

# Gateways ask again after 25 s at most; one that has not for this long does not hold up what waits for all.
GATEWAY_SEEN_WITHIN = timedelta(seconds=45)
OPENNESS_OVER = timedelta(days=7)


def _ref(reference: Any) -> dict[str, Any]:
    """A lookup by UUID or slug."""
    try:
        return {"id": uuid.UUID(str(reference))}
    except ValueError:
        return {"slug": str(reference)}


# --- for people -------------------------------------------------------------------------------------


def hosts(actor: Actor) -> QuerySet[Host]:
    """Serving hosts by name."""
    return Host.objects.visible_to(actor).order_by("name")


def host_is_fresh(host: Host, *, at: datetime | None = None) -> bool:
    """Whether its agent has reported lately enough to be counted on."""
    limit = timedelta(seconds=settings.HOST_STALE_AFTER_S)
    return host.last_seen_at is not None and (at or now()) - host.last_seen_at <= limit


def endpoints(actor: Actor, *, usecase_id: Any = None) -> QuerySet[Endpoint]:
    """Endpoints the actor may see, newest first, each with `running` (its deployments that are to run)."""
    rows = Endpoint.objects.visible_to(actor).select_related("usecase")
    if usecase_id is not None:
        rows = rows.filter(usecase_id=usecase_id)
    running = Deployment.objects.filter(desired="running").select_related("host").order_by("-weight", "id")
    return rows.prefetch_related(Prefetch("deployments", running, to_attr="running")).order_by("-id")


def endpoint(actor: Actor, reference: Any) -> Endpoint:
    """One endpoint by UUID or slug, or NotFound."""
    return endpoints(actor).one("endpoint", **_ref(reference))  # type: ignore[attr-defined]


def changeable_endpoint(actor: Actor, reference: Any, *, lock: bool = False) -> Endpoint:
    """The same for somebody who wants to change it: NotFound if they may not see it, NotAllowed if they may only see it."""
    found = endpoint(actor, reference)
    check_may_change(actor, found.usecase_id)
    return locked_endpoint(found.id) if lock else found


def locked_endpoint(endpoint_id: Any) -> Endpoint:
    """The endpoint, locked: whoever changes roles, weights or rollouts of its deployments holds this first."""
    return Endpoint.objects.select_for_update(no_key=True, of=("self",)).select_related("usecase").one("endpoint", id=endpoint_id)


def check_may_change(actor: Actor, usecase_id: Any) -> None:
    """NotAllowed unless the actor may change the use case."""
    if not usecases.may_change(actor, usecase_id):
        raise NotAllowed("You may see this use case but not change it. Ask its owner for access.")


def deployments(actor: Actor, *, endpoint_id: Any = None) -> QuerySet[Deployment]:
    """Deployments the actor may see, newest first."""
    rows = Deployment.objects.visible_to(actor).select_related("endpoint__usecase", "host", "model_version__model")
    return (rows.filter(endpoint_id=endpoint_id) if endpoint_id is not None else rows).order_by("-id")


def deployment(actor: Actor, deployment_id: Any) -> Deployment:
    """One deployment, or NotFound."""
    return deployments(actor).one("deployment", id=deployment_id)  # type: ignore[attr-defined]


def rollouts(actor: Actor, *, endpoint_id: Any = None) -> QuerySet[Rollout]:
    """Rollouts the actor may see with their shifts, newest first."""
    rows = Rollout.objects.visible_to(actor).select_related("endpoint", "from_deployment", "to_deployment")
    rows = rows.filter(endpoint_id=endpoint_id) if endpoint_id is not None else rows
    return rows.prefetch_related(Prefetch("shifts", TrafficShift.objects.order_by("id"))).order_by("-id")


def rollout(actor: Actor, rollout_id: Any) -> Rollout:
    """One rollout, or NotFound."""
    return rollouts(actor).one("rollout", id=rollout_id)  # type: ignore[attr-defined]


def rehearsals(actor: Actor, *, endpoint_id: Any) -> QuerySet[RollbackRehearsal]:
    """Rehearsals of one endpoint, newest first."""
    return RollbackRehearsal.objects.visible_to(actor).filter(endpoint_id=endpoint_id).select_related("deployment").order_by("-id")


def work_orders(deployment: Deployment) -> QuerySet[WorkOrder]:
    """What was ordered for a deployment, newest first, without the envelopes."""
    return WorkOrder.objects.filter(deployment=deployment).defer("envelope").order_by("-generation")


@dataclass(frozen=True, slots=True)
class Openness:
    """What gateways counted of an endpoint with rollout phases since a moment. by_key: key prefix -> (let in, turned away)."""

    since: datetime
    by_key: dict[str, tuple[int, int]]
    waiting_for: dict[str, int]

    @property
    def admitted(self) -> int:
        """Requests let in."""
        return sum(a for a, _ in self.by_key.values())

    @property
    def refused(self) -> int:
        """Requests turned away because their phase is not open."""
        return sum(r for _, r in self.by_key.values())

    @property
    def requests(self) -> int:
        """All of them."""
        return self.admitted + self.refused

    @property
    def callers(self) -> int:
        """Keys that asked."""
        return len(self.by_key)

    @property
    def callers_refused(self) -> int:
        """Keys of which at least one request was turned away."""
        return sum(1 for _, r in self.by_key.values() if r)


def openness(endpoint: Endpoint) -> Openness | None:
    """The tally of the last 7 days, of an endpoint found visible; None where no rollout plan holds. Two queries."""
    if endpoint.environment != "production" or not phase_selectors.rows([endpoint.usecase_id]).exists():
        return None
    since = now() - OPENNESS_OVER
    by_key: dict[str, tuple[int, int]] = {}
    waiting: dict[str, int] = {}
    rows = PhaseTally.objects.filter(endpoint=endpoint, hour__gte=since).order_by().values("key_prefix", "phase")
    for row in rows.annotate(let_in=Sum("admitted"), away=Sum("refused")):
        admitted, refused = by_key.get(row["key_prefix"], (0, 0))
        by_key[row["key_prefix"]] = (admitted + row["let_in"], refused + row["away"])
        if row["away"]:
            waiting[row["phase"]] = waiting.get(row["phase"], 0) + row["away"]
    return Openness(since, by_key, dict(sorted(waiting.items(), key=lambda pair: -pair[1])))


def serving_of(endpoint: Endpoint) -> Deployment | None:
    """The deployment that answers most of the endpoint's traffic now."""
    rows = endpoint.deployments.filter(desired="running", weight__gt=0).select_related("host", "model_version__model")
    return rows.order_by("-weight", "-id").first()


# --- decisions ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """What a deployment's decision says now; `decision` is the one in force, perhaps newer than the deployment's own."""

    verdict: rules.Verdict
    detail: str
    decision: Decision | None


def standing(deployment: Deployment, *, at: datetime | None = None) -> Standing:
    """Ask decisions once more. A hold or revocation of the deployment's own decision counts, unless a newer one is live."""
    at = at or now()
    own = decisions.with_state(Decision.objects.filter(id=deployment.decision_id)).first()
    live = decisions.live_decision(
        artifact_digest=deployment.artifact_digest,
        environment=deployment.endpoint.environment,
        usecase_id=deployment.endpoint.usecase_id,
        at=at,
    )
    fits = own is not None and (own.artifact_digest, own.environment, own.usecase_id) == (
        deployment.artifact_digest, deployment.endpoint.environment, deployment.endpoint.usecase_id,
    )  # fmt: skip
    if own is None or not fits:
        return Standing("live", "", live) if live else Standing("none", "No decision allows this artifact here. Request a gate.", None)
    why_not = decisions.state_of(own, at=at)
    if not why_not:
        return Standing("live", "", own)
    if live is not None and live.issued_at > own.issued_at:
        return Standing("live", "", live)
    revocation = getattr(own, "revocation", None)
    if revocation is not None and revocation.revoked_at <= at:
        return Standing("revoked", why_not, own)
    return Standing("expired" if own.expires_at <= at else "held", why_not, own)


# --- for the processes --------------------------------------------------------------------------------


def to_reconcile() -> list[uuid.UUID]:
    """Deployments whose desired and observed state may differ, or that need watching, oldest first. Not filtered by person."""
    settled = Q(desired="stopped", observed__in=["stopped", "unknown"]) & ~Q(orders__state__in=WorkOrder.OPEN)
    return list(Deployment.objects.exclude(settled).order_by("id").values_list("id", flat=True).distinct())


def to_advance() -> list[uuid.UUID]:
    """Endpoints with a rollout or rehearsal under way. Not filtered by person."""
    under_way = Q(rollouts__state="in_progress") | Q(rehearsals__ok=None, rehearsals__isnull=False)
    return list(Endpoint.objects.filter(under_way).order_by("id").values_list("id", flat=True).distinct())


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An order on its way: to which host, and until when it is worth delivering."""

    host: str
    envelope: dict[str, Any]
    expires_at: datetime


def order_to_send(order_id: Any) -> Outgoing | None:
    """The order if it still waits to be taken up; None when it was answered, expired or superseded meanwhile."""
    order = WorkOrder.objects.select_related("host").filter(id=order_id, state=WorkOrder.State.SENT, expires_at__gt=now()).first()
    return Outgoing(order.host.name, order.envelope, order.expires_at) if order else None


def usecases_with_engines() -> list[uuid.UUID]:
    """Use cases for which an engine was ever started: those whose costs are metered. Not filtered by person."""
    rows = EngineStart.objects.order_by("deployment__endpoint__usecase_id").values_list("deployment__endpoint__usecase_id", flat=True)
    return list(rows.distinct())


def newest_routing_version() -> int:
    """Version of the newest snapshot, 0 when there is none."""
    return RoutingSnapshot.objects.order_by("-version").values_list("version", flat=True).first() or 0


def newest_routing() -> RoutingSnapshot | None:
    """The newest snapshot."""
    return RoutingSnapshot.objects.order_by("-version").first()


def gateways() -> QuerySet[GatewayState]:
    """Gateways that polled lately."""
    return GatewayState.objects.filter(seen_at__gte=now() - GATEWAY_SEEN_WITHIN).order_by("name")


def engine_start(deployment_id: Any) -> EngineStart | None:
    """The newest counted start of a deployment's engine."""
    return EngineStart.objects.filter(deployment_id=deployment_id).order_by("-started_at", "-id").first()


def engine_hours(*, usecase_id: Any, since: datetime, until: datetime) -> dict[str, float]:
    """Hours that engines of a use case ran in [since, until): `{"engine", "cpu", "gpu", "memory_gib"}`, cores, GPUs and GiB weighed in."""
    rows = EngineStart.objects.filter(deployment__endpoint__usecase_id=usecase_id, started_at__lt=until).filter(
        Q(ended_at=None) | Q(ended_at__gt=since)
    )
    total = {"engine": 0.0, "cpu": 0.0, "gpu": 0.0, "memory_gib": 0.0}
    for start in rows:
        hours = max(0.0, (min(start.ended_at or until, until) - max(start.started_at, since)).total_seconds()) / 3600
        total["engine"] += hours
        total["cpu"] += hours * start.cpu_cores
        total["gpu"] += hours * start.gpus
        total["memory_gib"] += hours * (start.memory_bytes or 0) / 2**30
    return total


def public_keys() -> list[dict[str, Any]]:
    """Every public key that verifiers and agents pin: orders (rotated ones with `accepted_until`), seal, agents. No secret."""
    files = [entry for path in (settings.ORDER_PUBLIC_KEYS, settings.SEAL_PUBLIC_KEY) for entry in keys.published(path)]
    rows: list[dict[str, Any]] = [
        {"id": e["key_id"], "algorithm": "Ed25519", "purpose": e["purpose"], "public": e["public"], "host": None,
         "created_at": e.get("created_at"), "accepted_until": e.get("accepted_until")}
        for e in files
    ]
    for host in Host.objects.filter(state="active").order_by("name"):
        rows.append({"id": host.key_id, "algorithm": "Ed25519", "purpose": "agent", "public": host.public_key, "host": host.name, "created_at": None, "accepted_until": None})
        if host.previous_until and host.previous_until > now():
            old = {"id": host.previous_key_id, "public": host.previous_public_key, "accepted_until": host.previous_until}
            rows.append({**rows[-1], **old})
    return rows

"""What was live where at a moment: with what share of traffic, under which decision, signed by whom, on which evidence.

Answered from what was recorded when it happened: events of traffic (in the sealed trail), signed start orders, decisions with their
revocations and holds, signatures, stage moves. Today's state of a deployment is not asked.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from apps.audit import past
from apps.audit import selectors as audit
from apps.core.actor import Actor
from apps.core.clock import iso, now
from apps.core.errors import Invalid
from apps.dashboard.selectors_asof_decisions import Decided, decided
from apps.dashboard.selectors_asof_phases import PhaseThen, open_to, phases
from apps.deployments.models import Deployment, Endpoint, WorkOrder
from apps.usecases import selectors as usecases
from apps.usecases.models import StageMove

CHANGED, TAKEN_UP, PUBLISHED = "deployments.traffic.changed", "deployments.routing.taken_up", "deployments.routing.published"


@dataclass(frozen=True, slots=True)
class Share:
    """One model version behind an endpoint then. weight: percent of its traffic; role `shadow` got copies, weight 0 stood by."""

    deployment_id: str
    model_version: str
    artifact_digest: str
    weight: int
    role: str
    host: str
    decision: Decided | None = None


@dataclass(frozen=True, slots=True)
class Routed:
    """Shares of one version of the routes. taken_up_at: when all gateways had come to it; None: none had said so by then."""

    routing_version: int
    published_at: str
    taken_up_at: str | None
    event_id: str
    routes: list[Share]


@dataclass(slots=True)
class Then:
    """An endpoint at the moment. `live`: what its gateways routed by; `coming`: what had been published and not taken up yet.

    phases: of a production endpoint, the rollout plan then; empty: there was none, and every caller was served.
    """

    at: str
    endpoint: str
    endpoint_id: str
    name: str
    environment: str
    usecase: str
    usecase_id: str
    usecase_name: str
    stage: str
    live: Routed | None = None
    coming: Routed | None = None
    phases: list[PhaseThen] = field(default_factory=list)

    @property
    def open_to(self) -> str:
        """To whom the plan had it open, in words."""
        return open_to(self.phases)

    @property
    def answering(self) -> list[Share]:
        """Versions with a share of the traffic, the largest first."""
        return sorted((r for r in self.live.routes if r.weight), key=lambda r: -r.weight) if self.live else []

    @property
    def beside(self) -> list[Share]:
        """Versions that ran without a share."""
        return [r for r in self.live.routes if not r.weight] if self.live else []

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def moment_asked(text: str) -> datetime:
    """The moment somebody asks about; now without one. Raises Invalid for one that is none or has not come."""
    at = audit.read_moment("at", text) if text else now()
    if at > now():
        raise Invalid("at: this moment has not come. Ask about one that has.", errors={"at": ["In the future."]})
    return at


def endpoints(actor: Actor, *, at: datetime, usecase: str = "") -> QuerySet[Endpoint]:
    """Endpoints that the actor may see and that were there at the moment, newest first; of one use case (id or slug)."""
    rows = Endpoint.objects.visible_to(actor).filter(created_at__lte=at).select_related("usecase").order_by("-id")
    return rows.filter(usecase_id=usecases.usecase(actor, usecase).id) if usecase else rows


def at_moment(rows: Iterable[Endpoint], at: datetime) -> list[Then]:
    """These endpoints (which the caller found among those in sight) as they were at the moment: a bounded number of queries."""
    rows = list(rows)
    stages = _stages({e.usecase_id for e in rows}, at)
    found = {
        str(e.id): Then(
            at=iso(at), endpoint=e.slug, endpoint_id=str(e.id), name=e.name, environment=e.environment, usecase=e.usecase.slug,
            usecase_id=str(e.usecase_id), usecase_name=e.usecase.name, stage=stages.get(e.usecase_id, "proposal"),
        )
        for e in rows
    }  # fmt: skip
    plans = phases({e.usecase_id for e in rows if e.environment == "production"}, at)
    for e in rows:
        found[str(e.id)].phases = plans.get(e.usecase_id, []) if e.environment == "production" else []
    newest = past.last_of_each(CHANGED, list(found), at=at)
    _before_it_was_told(found, newest, at)
    taken = past.last(TAKEN_UP, at=at)
    used = newest if taken is None else _by_version(newest, int(taken["after"]["version"]), at)
    under = _decisions([f for facts in (newest, used) for f in facts.values()], at)
    asked = {key: (facts["id"], facts["after"]["routing_version"]) for key, facts in used.items()} if taken else {}
    since = past.first_since_each(TAKEN_UP, asked, at=at, number="version") if asked else {}
    for key, then in found.items():
        if key in used:
            then.live = _routed(used[key], under, since.get(key))
        if key in newest and (key not in used or newest[key]["id"] != used[key]["id"]):
            then.coming = _routed(newest[key], under, None)
    return list(found.values())


def _by_version(newest: dict[str, Any], version: int, at: datetime) -> dict[str, Any]:
    """Of each endpoint the newest change that was part of the routes in use; asked only of those whose newest is not."""
    ahead = [key for key, facts in newest.items() if facts["after"]["routing_version"] > version]
    older = past.last_of_each(CHANGED, ahead, at=at, number="routing_version", most=version) if ahead else {}
    return {key: facts for key, facts in newest.items() if key not in ahead} | older


def _before_it_was_told(found: dict[str, Then], newest: dict[str, Any], at: datetime) -> None:
    """Routes from before each endpoint's shares were told by themselves: the whole publication says who had how much."""
    missing = {then.endpoint: key for key, then in found.items() if key not in newest}
    whole = past.last(PUBLISHED, at=at) if missing else None
    if whole is None:
        return
    told = {r["endpoint"]: r["weights"] for r in whole["after"]["routes"] if r["endpoint"] in missing and r["weights"]}
    ids = [d for weights in told.values() for d in weights]
    rows = {str(d.id): d for d in Deployment.objects.filter(id__in=ids).select_related("host")}
    for slug, weights in told.items():
        routes = [
            {
                "deployment_id": d, "weight": weight, "model_version": rows[d].model_version_label, "host": rows[d].host.name, "role": "",
                "artifact_digest": rows[d].artifact_digest, "decision_id": str(rows[d].decision_id),
            }
            for d, weight in weights.items() if d in rows
        ]  # fmt: skip
        newest[missing[slug]] = {**whole, "after": {"routing_version": whole["after"]["version"], "routes": routes}}


def _routed(facts: dict[str, Any], under: dict[str, Decided], taken: dict[str, Any] | None) -> Routed:
    routes = [
        Share(
            deployment_id=r["deployment_id"], model_version=r["model_version"], artifact_digest=r["artifact_digest"], weight=r["weight"],
            role=r["role"], host=r["host"], decision=under.get(r["deployment_id"]),
        )
        for r in facts["after"]["routes"]
    ]  # fmt: skip
    version = facts["after"]["routing_version"]
    return Routed(version, facts["occurred_at"], taken["occurred_at"] if taken else None, facts["id"], routes)


def _stages(usecase_ids: set[Any], at: datetime) -> dict[Any, str]:
    rows = StageMove.objects.filter(usecase_id__in=usecase_ids, moved_at__lte=at).order_by("moved_at", "id")
    return dict(rows.values_list("usecase_id", "to_stage"))


def _decisions(changes: Sequence[dict[str, Any]], at: datetime) -> dict[str, Decided]:
    """Deployment id -> the decision of its last signed start order by then, else the one named when the traffic was told."""
    named = {r["deployment_id"]: r["decision_id"] for facts in changes for r in facts["after"]["routes"]}
    orders = WorkOrder.objects.filter(deployment_id__in=list(named), kind="start", issued_at__lte=at)
    newest = orders.order_by("deployment_id", "-generation").distinct("deployment_id").values_list("deployment_id", "envelope")
    for deployment_id, envelope in newest:
        named[str(deployment_id)] = json.loads(envelope["payload"])["decision"]["id"]
    told = decided(named.values(), at)
    return {deployment: told[decision] for deployment, decision in named.items() if decision in told}

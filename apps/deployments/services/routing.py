"""What gateways route by: one signed snapshot of all endpoints, published when it differs from the last."""

import json
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Prefetch

from apps.audit import past
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.clock import now
from apps.core.errors import Invalid
from apps.deployments import rules, selectors
from apps.deployments.gateways import keys
from apps.deployments.models import Deployment, Endpoint, EndpointKey, GatewayState, Rollout, RoutingSnapshot, TrafficShift
from apps.deployments.services.work_orders import engine_model
from apps.outbox import services as outbox
from apps.registry import selectors as registry
from apps.usecases import phase_selectors as phases
from celery_worker import orders

# Held while a snapshot is made, so that versions grow one by one and the newest holds what was committed last.
_PUBLISH_LOCK = 0x6A7E0001
# After a restore from a backup a gateway may be ahead of the database, but not by more versions than a busy year has.
FARTHEST_AHEAD = 10_000_000


@transaction.atomic
def publish_routing(*, actor: Actor) -> RoutingSnapshot:
    """Sign and store a snapshot if keys, limits or routes differ from the newest, or another key signs now (control only); returns the newest.

    Shifts that wait for publication are marked with its version either way.
    """
    _queue_up()
    rows = list(_rows())
    plans = phases.plans({e.usecase_id for e in rows if e.environment == "production"})
    endpoints = [_endpoint(e, plans.get(e.usecase_id, []) if e.environment == "production" else []) for e in rows]
    digest, moment = digest_of(endpoints), now()
    newest = selectors.newest_routing()
    # After a restore from a backup a gateway can be ahead of the database; it takes up nothing that is not newer.
    ahead = max((g.version for g in selectors.gateways()), default=0)
    signed_anew = newest is not None and newest.envelope.get("key_id") != orders.key_id(keys.order_key().public_key())
    if newest is None or newest.content_digest != digest or ahead > newest.version or signed_anew:
        version = max(newest.version if newest else 0, ahead) + 1
        before = _routes_in(newest)
        payload = {"v": 1, "version": version, "issued_at": orders.time_to_text(moment), "endpoints": endpoints}
        newest = RoutingSnapshot.objects.create(
            version=version, envelope=keys.signed(payload), content_digest=digest
        )
        # A list: names that people choose are never keys of an event.
        routes = [{"endpoint": e["slug"], "weights": {r["deployment_id"]: r["weight"] for r in e["routes"]}} for e in endpoints]
        audit.record(
            "deployments.routing.published", actor=actor, obj_type="routing", obj_id=str(newest.id), obj_label=f"version {version}",
            after={"version": version, "content_digest": digest, "routes": routes},
        )  # fmt: skip
        for endpoint in rows:
            _tell_traffic(actor, endpoint, version, before.get(str(endpoint.id), []))
    TrafficShift.objects.filter(snapshot_version=None).update(snapshot_version=newest.version, published_at=moment)
    # The gateways may route by this very version already, when what was asked for is what it says.
    _confirm_shifts()
    _tell_taken_up(actor)
    return newest


def _routes_in(snapshot: RoutingSnapshot | None) -> dict[str, list[dict[str, Any]]]:
    """Endpoint id -> its routes in a snapshot."""
    return {e["id"]: e["routes"] for e in json.loads(snapshot.envelope["payload"])["endpoints"]} if snapshot else {}


def _tell_traffic(actor: Actor, endpoint: Any, version: int, before: list[dict[str, Any]]) -> None:
    """One event for an endpoint whose shares differ from the version before: snapshots are swept, this is kept."""
    shares = {(r["deployment_id"], r["weight"], r["shadow"]) for r in before}
    if shares == {(str(d.id), d.weight, d.role == Deployment.Role.SHADOW) for d in endpoint.ready}:
        return
    leading = max(endpoint.ready, key=lambda d: d.weight, default=None)
    audit.record(
        "deployments.traffic.changed", actor=actor, obj_type="endpoint", obj_id=str(endpoint.id), obj_label=endpoint.name,
        usecase_id=str(endpoint.usecase_id), decision_id=str(leading.decision_id) if leading else None,
        before={"routes": [{"deployment_id": r["deployment_id"], "model_version": r["model_version"], "weight": r["weight"]} for r in before]},
        after={
            "routing_version": version, "endpoint": endpoint.slug, "environment": endpoint.environment,
            "routes": [
                {
                    "deployment_id": d.id, "model_version": d.model_version_label, "artifact_digest": d.artifact_digest,
                    "decision_id": d.decision_id, "host": d.host.name, "role": d.role, "weight": d.weight,
                }
                for d in endpoint.ready
            ],
        },
    )  # fmt: skip


def _tell_taken_up(actor: Actor) -> None:
    """One event for each version by which all gateways seen lately route, when they have come to it."""
    oldest = min((g.version for g in selectors.gateways()), default=0)
    if oldest <= _last_taken_up():
        return
    _queue_up()
    if _last_taken_up() < oldest <= selectors.newest_routing_version():
        audit.record(
            "deployments.routing.taken_up", actor=actor, obj_type="routing", obj_id=str(oldest), obj_label=f"version {oldest}",
            after={"version": oldest, "gateways": [{"name": g.name, "version": g.version} for g in selectors.gateways()]},
        )  # fmt: skip


def _last_taken_up() -> int:
    last = past.last("deployments.routing.taken_up")
    return int(last["after"]["version"]) if last else 0


def _queue_up() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_PUBLISH_LOCK])


def _rows() -> Any:
    keys = EndpointKey.objects.filter(revoked_at=None).order_by("prefix")
    running = Deployment.objects.filter(desired="running", observed=Deployment.Observed.READY).exclude(url="")
    running = running.select_related("model_version__model", "host").order_by("id")
    return Endpoint.objects.prefetch_related(
        Prefetch("keys", keys, to_attr="live_keys"), Prefetch("deployments", running, to_attr="ready")
    ).order_by("slug")


def _endpoint(endpoint: Any, plan: list[phases.PhaseRow]) -> dict[str, Any]:
    names = {tuple(registry.feature_names(d.model_version)) for d in endpoint.ready}
    # Columns of a bare tensor can be named only while all versions agree on them.
    features = list(names.pop()) if len(names) == 1 else None
    return {
        "id": str(endpoint.id),
        "slug": endpoint.slug,
        "environment": endpoint.environment,
        "rate_limit_rps": endpoint.rate_limit_rps,
        "burst": endpoint.burst,
        "keys": [{"key_id": k.prefix, "sha256": k.key_hash, "groups": rules.groups(k)} for k in endpoint.live_keys],
        "rollout": _rollout(endpoint, plan) if plan else None,
        "feature_names": features or None,
        "routes": [
            {
                "deployment_id": str(d.id),
                "model_version": d.model_version_label,
                "engine_model": engine_model(d),
                "url": d.url,
                "weight": d.weight,
                "shadow": d.role == Deployment.Role.SHADOW,
            }
            for d in endpoint.ready
        ],
    }


def _rollout(endpoint: Any, plan: list[phases.PhaseRow]) -> dict[str, Any]:
    """To whom production is open: the phases in order. `salt` makes the share of users another one in every use case."""
    return {
        "salt": str(endpoint.usecase_id),
        "phases": [
            {
                "name": row.phase.name, "departments": list(row.phase.departments), "percent": row.phase.percent or 100,
                "open": row.serving, "closed": row.state in ("closed", "ended"), "planned_on": row.phase.planned_on.isoformat(),
            }
            for row in plan
        ],
    }  # fmt: skip


@transaction.atomic
def confirm_routing(*, actor: Actor, version: int) -> None:
    """A gateway says that it routes by `version`: it asks for what comes after it only when that one is in use.

    Shifts up to the oldest version in use among the gateways seen lately are confirmed, and what waited for them goes on.
    """
    if TrafficShift.objects.filter(confirmed_at=None).exists():
        # In turn with publishing, so that one of the two sees both the shift's version and the gateway's.
        _queue_up()
    # By the token's name, not its id: a gateway keeps its name when its token is renewed.
    GatewayState.objects.update_or_create(name=actor.label[:200], defaults={"version": version, "seen_at": now()})
    newest = selectors.newest_routing_version()
    if version > newest + FARTHEST_AHEAD:
        raise Invalid("since: no gateway can be that far ahead.", errors={"since": ["Out of range."]})
    if version > newest:
        outbox.put("deployments.publish_routing", {})
    _confirm_shifts()
    _tell_taken_up(actor)


def _confirm_shifts() -> None:
    """Confirm the shifts that every gateway seen lately routes by, and let what waited for them go on."""
    waiting = TrafficShift.objects.filter(confirmed_at=None, snapshot_version__isnull=False)
    oldest = min((g.version for g in selectors.gateways()), default=None)
    if oldest is None or not waiting.exists():
        return
    due = list(
        waiting.select_for_update(no_key=True, skip_locked=True, of=("self",))
        .select_related("rollout")
        .filter(snapshot_version__lte=oldest)
        .order_by("id")
    )
    TrafficShift.objects.filter(id__in=[s.id for s in due]).update(confirmed_at=now())
    for shift in due:
        if shift.rehearsal_id or (shift.rollout and shift.rollout.state == Rollout.State.IN_PROGRESS):
            watch_s = shift.rollout.bake_s if shift.rollout else 0
            outbox.put("deployments.advance", {"endpoint_id": shift.endpoint_id}, due_at=now() + timedelta(seconds=watch_s))

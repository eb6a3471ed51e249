"""What every change of traffic has in common: roles and weights, the record of the shift, the alias that follows."""

from datetime import datetime

from apps.deployments.models import Deployment, Endpoint, RollbackRehearsal, Rollout, TrafficShift
from apps.outbox import services as outbox

PRODUCTION_ALIAS = "production"


def place(deployment: Deployment, *, role: str, weight: int, stop_at: datetime | None = None) -> None:
    """Give a deployment whose row is locked its role and share. Place the one that leaves `live` before the one that enters."""
    deployment.role, deployment.weight, deployment.stop_at = role, weight, stop_at
    deployment.save(update_fields=["role", "weight", "stop_at"])


def record(
    *,
    endpoint: Endpoint,
    kind: str,
    by: str,
    at: datetime,
    reason: str = "",
    rollout: Rollout | None = None,
    rehearsal: RollbackRehearsal | None = None,
    step: int | None = None,
) -> TrafficShift:
    """Write the weights as they are now as one shift, and have them published. Measured until the gateways confirm."""
    rows = Deployment.objects.filter(endpoint=endpoint, desired="running").order_by("id")
    shift = TrafficShift.objects.create(
        endpoint=endpoint, rollout=rollout, rehearsal=rehearsal, kind=kind, step=step, reason=reason, by=by, requested_at=at,
        weights={str(d.id): d.weight for d in rows},
    )  # fmt: skip
    outbox.put("deployments.publish_routing", {})
    return shift


def follow_with_alias(endpoint: Endpoint, live: Deployment) -> None:
    """Let the registry's alias follow what is live in production."""
    if endpoint.environment == "production":
        version = live.model_version
        outbox.put(
            "registry.alias",
            {"model": version.model.name, "alias": PRODUCTION_ALIAS, "version": version.version, "decision_id": live.decision_id},
        )

"""What people ask for: deploy a version, stop a deployment."""

from typing import Any

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, NoLiveDecision
from apps.decisions import selectors as decisions
from apps.deployments import rules, selectors
from apps.deployments.models import Deployment, Endpoint, Host, Rollout
from apps.deployments.services import reconciliation
from apps.outbox import services as outbox
from apps.registry import selectors as registry
from apps.registry.models import ModelVersion


@transaction.atomic
def request_deployment(
    *,
    actor: Actor,
    endpoint_id: Any,
    model_version_id: Any,
    strategy: str = "all_at_once",
    steps: list[int] | None = None,
    bake_s: float | None = None,
    host: str = "",
) -> Rollout:
    """Ask that a version serve an endpoint; returns the rollout, whose `to_deployment` is the new deployment.

    Needs a live decision for the version's digest in the endpoint's environment. strategy: `all_at_once`, or `canary` through
    `steps` (percent, default [10, 100]), each watched for `bake_s` seconds. host: a host's name, else the one with most room.
    Raises NoLiveDecision, Conflict (a rollout is under way, it is live already, no host), Invalid, NotAllowed, NotFound.
    """
    rules.check_may_deploy(actor)
    endpoint = selectors.changeable_endpoint(actor, endpoint_id, lock=True)
    version = registry.version_by_id(actor, model_version_id)
    if strategy not in {"all_at_once", "canary"}:
        rules.refuse_strategy(strategy)
    chosen = rules.check_steps(steps or ([10, 100] if strategy == "canary" else [100]))
    bake = rules.check_bake(settings.ROLLOUT_BAKE_S if bake_s is None else bake_s) if strategy == "canary" else 0.0
    decision = decisions.live_decision(
        artifact_digest=version.artifact_digest, environment=endpoint.environment, usecase_id=endpoint.usecase_id
    )
    if decision is None:
        why = decisions.why_not_live(
            artifact_digest=version.artifact_digest, environment=endpoint.environment, usecase_id=endpoint.usecase_id
        )
        raise NoLiveDecision(why or f"No gate has been passed for {version.label} in {endpoint.environment}. Request one.")
    current = _check_free(endpoint, version)
    deployment = Deployment.objects.create(
        endpoint=endpoint, model_version=version, model_version_label=version.label, artifact_digest=version.artifact_digest,
        decision_id=decision.id, host=_choose_host(host), role=Deployment.Role.STANDBY, requested_by=actor.label,
        detail="Waits for its order.",
    )  # fmt: skip
    rollout = Rollout.objects.create(
        endpoint=endpoint, from_deployment=current, to_deployment=deployment, decision_id=decision.id, strategy=strategy,
        steps=chosen if current else [100], bake_s=bake if current else 0.0, requested_by=actor.label,
        waiting_for="the new version's engine",
    )  # fmt: skip
    audit.record(
        "deployments.deployment.requested", actor=actor, obj_type="deployment", obj_id=str(deployment.id), obj_label=str(deployment),
        usecase_id=str(endpoint.usecase_id), decision_id=str(decision.id),
        after={
            "endpoint": endpoint.slug, "environment": endpoint.environment, "host": deployment.host.name, "strategy": strategy,
            "steps": rollout.steps, "bake_s": rollout.bake_s, "artifact_digest": version.artifact_digest, "rollout_id": rollout.id,
            "replaces": str(current) if current else None,
        },
    )  # fmt: skip
    outbox.put("deployments.reconcile", {"deployment_id": deployment.id})
    return rollout


def _check_free(endpoint: Endpoint, version: ModelVersion) -> Deployment | None:
    """The live deployment that would be replaced; Conflict when this is not the moment."""
    if endpoint.rollouts.filter(state=Rollout.State.IN_PROGRESS).exists():
        raise Conflict("endpoint: a rollout is under way. Wait for its end, or roll it back.")
    if endpoint.rehearsals.filter(ok=None).exists():
        raise Conflict("endpoint: a rollback is being rehearsed. Wait for its end.")
    current = endpoint.deployments.filter(role=Deployment.Role.LIVE, desired="running").first()
    if current is not None and current.model_version_id == version.id:
        raise Conflict(f"model_version: {version.label} is live on this endpoint already.")
    return current


def _choose_host(name: str) -> Host:
    hosts = list(Host.objects.filter(state="active", **({"name": name} if name else {})))
    fresh = [h for h in hosts if selectors.host_is_fresh(h)] or hosts
    if not fresh:
        what = f"There is no active host {name}." if name else "No serving host is registered."
        raise Conflict(f"host: {what} Register one (manage.py register_host) and start its agent.")
    busy = {h.id: h.deployments.filter(desired="running").count() for h in fresh}
    return min(fresh, key=lambda h: (busy[h.id], h.name))


@transaction.atomic
def stop_deployment(*, actor: Actor, deployment_id: Any, reason: str = "") -> Deployment:
    """Ask that a deployment stop. One that takes traffic needs a reason; repeating it changes nothing. Raises Invalid, NotAllowed."""
    rules.check_may_deploy(actor)
    found = selectors.deployment(actor, deployment_id)
    selectors.check_may_change(actor, found.endpoint.usecase_id)
    endpoint = selectors.locked_endpoint(found.endpoint_id)
    deployment = Deployment.objects.select_for_update(no_key=True).get(id=found.id)
    if deployment.desired == "stopped":
        return deployment
    rules.check_stop(weight=deployment.weight, reason=reason)
    before = {"desired": deployment.desired, "weight": deployment.weight, "role": deployment.role}
    reconciliation.set_stopped(deployment)
    audit.record(
        "deployments.deployment.stopped", actor=actor, obj_type="deployment", obj_id=str(deployment.id), obj_label=str(deployment),
        usecase_id=str(endpoint.usecase_id), decision_id=str(deployment.decision_id), reason=reason.strip(),
        before=before, after={"desired": "stopped", "weight": 0, "at": now()},
    )  # fmt: skip
    outbox.put("deployments.publish_routing", {})
    outbox.put("deployments.reconcile", {"deployment_id": deployment.id})
    outbox.put("deployments.advance", {"endpoint_id": endpoint.id})
    return deployment

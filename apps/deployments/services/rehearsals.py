"""Rollbacks done for practice, so that the seconds a real one takes are known before it is needed."""

from datetime import datetime
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, NoLiveDecision
from apps.deployments import rules, selectors
from apps.deployments.models import Deployment, Endpoint, RollbackRehearsal, Rollout, TrafficShift
from apps.deployments.services import reconciliation, shifts
from apps.outbox import services as outbox


@transaction.atomic
def rehearse_rollback(*, actor: Actor, endpoint_id: Any) -> RollbackRehearsal:
    """Begin a rehearsal on a pilot endpoint; control carries it on until `ok` is true or false.

    With another warm version all traffic goes to it and back, and the way back is measured, from the request until every
    gateway routes by it. With one version its engine is stopped and started again from its decision, and the whole gap is
    measured. Raises Conflict (production, nothing live, something under way), NoLiveDecision, NotAllowed.
    """
    rules.check_may_deploy(actor)
    endpoint = selectors.changeable_endpoint(actor, endpoint_id, lock=True)
    if endpoint.environment != "pilot":
        raise Conflict("endpoint: rehearse on a pilot endpoint; in production a rollback is the real thing.")
    if endpoint.rollouts.filter(state=Rollout.State.IN_PROGRESS).exists() or endpoint.rehearsals.filter(ok=None).exists():
        raise Conflict("endpoint: a rollout or a rehearsal is under way. Wait for its end.")
    live, other = _pair(endpoint)
    for deployment in (live, other):
        if deployment is not None and (standing := selectors.standing(deployment)).verdict != "live":
            raise NoLiveDecision(f"{deployment} may not take traffic or start again: {standing.detail}")
    moment = now()
    rehearsal = RollbackRehearsal.objects.create(
        endpoint=endpoint, deployment=live, other=other, kind="shift" if other else "restart", phase="away" if other else "stopping",
        artifact_digest=live.artifact_digest, weights_before={str(d.id): d.weight for d in (live, other) if d},
        started_at=moment, phase_started_at=moment, requested_by=actor.label,
    )  # fmt: skip
    if other is not None:
        _weigh(rehearsal, actor, away=True, moment=moment)
    else:
        reconciliation.set_stopped(live)
        outbox.put("deployments.publish_routing", {})
        outbox.put("deployments.reconcile", {"deployment_id": live.id})
    audit.record(
        "deployments.rehearsal.started", actor=actor, obj_type="rehearsal", obj_id=str(rehearsal.id), obj_label=str(endpoint),
        usecase_id=str(endpoint.usecase_id), decision_id=str(live.decision_id),
        after={"kind": rehearsal.kind, "deployment": str(live), "other": str(other) if other else None},
    )  # fmt: skip
    return rehearsal


def _pair(endpoint: Endpoint) -> tuple[Deployment, Deployment | None]:
    """The live deployment and, if there is one, another that is ready; both locked."""
    rows = Deployment.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint", "host")
    ready = [d for d in rows.filter(endpoint=endpoint, desired="running").order_by("id") if d.is_ready]
    live = next((d for d in ready if d.role == Deployment.Role.LIVE), None)
    if live is None:
        raise Conflict("endpoint: no live deployment is ready here. Deploy one first.")
    return live, next((d for d in reversed(ready) if d.id != live.id), None)


def _weigh(rehearsal: RollbackRehearsal, actor: Actor, *, away: bool, moment: datetime) -> None:
    """Move the weights to the other version, or back to what they were; one snapshot either way."""
    ids = sorted(rehearsal.weights_before)
    for deployment in Deployment.objects.select_for_update(no_key=True).filter(id__in=ids).order_by("id"):
        to_other = 100 if deployment.id == rehearsal.other_id else 0
        deployment.weight = to_other if away else rehearsal.weights_before[str(deployment.id)]
        if deployment.desired == "running":
            deployment.save(update_fields=["weight"])
    shifts.record(
        endpoint=rehearsal.endpoint, kind=TrafficShift.Kind.REHEARSAL, by=actor.label, at=moment, rehearsal=rehearsal,
        reason="Rehearsal: away." if away else "Rehearsal: back.",
    )  # fmt: skip


def advance_rehearsal(*, actor: Actor, endpoint: Endpoint) -> RollbackRehearsal | None:
    """One step of the endpoint's rehearsal, if there is one; the caller holds the endpoint's row."""
    rehearsal = RollbackRehearsal.objects.select_related("deployment").filter(endpoint=endpoint, ok=None).first()
    if rehearsal is None:
        return None
    moment = now()
    if (moment - rehearsal.phase_started_at).total_seconds() > rules.REHEARSAL_TIMEOUT_S:
        _give_up(rehearsal, actor, moment)
    elif rehearsal.kind == "shift":
        _advance_shift(rehearsal, actor, moment)
    else:
        _advance_restart(rehearsal, actor, moment)
    return rehearsal


def _last_shift(rehearsal: RollbackRehearsal) -> TrafficShift | None:
    return TrafficShift.objects.filter(rehearsal=rehearsal).order_by("-id").first()


def _advance_shift(rehearsal: RollbackRehearsal, actor: Actor, moment: datetime) -> None:
    shift = _last_shift(rehearsal)
    if shift is None or shift.confirmed_at is None:
        return
    if rehearsal.phase == "away":
        _enter(rehearsal, actor, "back", moment)
        _weigh(rehearsal, actor, away=False, moment=moment)
    else:
        _finish(
            rehearsal,
            actor,
            ok=True,
            seconds=shift.seconds,
            at=shift.confirmed_at,
            detail="All traffic went to the other version and back.",
        )


def _advance_restart(rehearsal: RollbackRehearsal, actor: Actor, moment: datetime) -> None:
    deployment = Deployment.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint").get(id=rehearsal.deployment_id)
    if rehearsal.phase == "stopping" and deployment.observed == Deployment.Observed.STOPPED:
        reconciliation.set_running(deployment)
        deployment.weight = rehearsal.weights_before[str(deployment.id)]
        deployment.save(update_fields=["weight"])
        _enter(rehearsal, actor, "starting", moment)
        outbox.put("deployments.reconcile", {"deployment_id": deployment.id})
    elif rehearsal.phase == "starting" and deployment.is_ready:
        shift = _last_shift(rehearsal)
        if shift is None:
            # The way back began when the engine was told to stop: callers were without an answer since then.
            shifts.record(
                endpoint=rehearsal.endpoint, kind=TrafficShift.Kind.REHEARSAL, by=actor.label, at=rehearsal.started_at,
                rehearsal=rehearsal, reason="Rehearsal: started again.",
            )  # fmt: skip
            _tell_step(rehearsal, actor, rehearsal.phase, "answers again")
        elif shift.confirmed_at is not None:
            _finish(
                rehearsal,
                actor,
                ok=True,
                seconds=shift.seconds,
                at=shift.confirmed_at,
                detail="A restart, because no other version was there: the engine was stopped and started again.",
            )


def _enter(rehearsal: RollbackRehearsal, actor: Actor, phase: str, moment: datetime) -> None:
    before = rehearsal.phase
    rehearsal.phase, rehearsal.phase_started_at = phase, moment
    rehearsal.save(update_fields=["phase", "phase_started_at"])
    _tell_step(rehearsal, actor, before, phase)


def _tell_step(rehearsal: RollbackRehearsal, actor: Actor, before: str, after: str) -> None:
    audit.record(
        "deployments.rehearsal.stepped", actor=actor, obj_type="rehearsal", obj_id=str(rehearsal.id), obj_label=str(rehearsal.endpoint),
        usecase_id=str(rehearsal.endpoint.usecase_id), decision_id=str(rehearsal.deployment.decision_id),
        before={"phase": before}, after={"phase": after},
    )  # fmt: skip


def _give_up(rehearsal: RollbackRehearsal, actor: Actor, moment: datetime) -> None:
    """Put everything back as it was and say that it did not work."""
    if rehearsal.kind == "shift":
        _weigh(rehearsal, actor, away=False, moment=moment)
    else:
        deployment = Deployment.objects.select_for_update(no_key=True).get(id=rehearsal.deployment_id)
        if deployment.desired == "stopped":
            reconciliation.set_running(deployment)
        deployment.weight = rehearsal.weights_before[str(deployment.id)]
        deployment.save(update_fields=["weight"])
        outbox.put("deployments.reconcile", {"deployment_id": deployment.id})
        outbox.put("deployments.publish_routing", {})
    detail = f"Not finished: phase {rehearsal.phase} took longer than {rules.REHEARSAL_TIMEOUT_S:g} s."
    _finish(rehearsal, actor, ok=False, seconds=None, at=moment, detail=detail)


def _finish(rehearsal: RollbackRehearsal, actor: Actor, *, ok: bool, seconds: float | None, at: datetime, detail: str) -> None:
    rehearsal.ok, rehearsal.seconds, rehearsal.at, rehearsal.phase, rehearsal.detail = ok, seconds, at, "done", detail
    rehearsal.save(update_fields=["ok", "seconds", "at", "phase", "detail"])
    audit.record(
        "deployments.rehearsal.finished", actor=actor, obj_type="rehearsal", obj_id=str(rehearsal.id), obj_label=str(rehearsal.endpoint),
        usecase_id=str(rehearsal.endpoint.usecase_id), decision_id=str(rehearsal.deployment.decision_id), reason=detail,
        after={"ok": ok, "seconds": seconds, "kind": rehearsal.kind, "deployment": str(rehearsal.deployment)},
    )  # fmt: skip

"""Rollouts: move traffic step by step, finish, or take it back."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, NoLiveDecision
from apps.deployments import rules, selectors
from apps.deployments.models import Deployment, Endpoint, Rollout, TrafficShift
from apps.deployments.services import reconciliation, rehearsals, shifts
from apps.outbox import services as outbox


@transaction.atomic
def advance(*, actor: Actor, endpoint_id: Any) -> Rollout | None:
    """Take the next step of whatever is under way on an endpoint, if its time has come. Safe to call at any time and twice."""
    endpoint = selectors.locked_endpoint(endpoint_id)
    rehearsals.advance_rehearsal(actor=actor, endpoint=endpoint)
    rollout = Rollout.objects.filter(endpoint=endpoint, state=Rollout.State.IN_PROGRESS).first()
    if rollout is None:
        return None
    new, old = _locked_pair(rollout)
    moment = now()
    standing = selectors.standing(new, at=moment)
    move = rules.next_move(
        rules.RolloutFacts(
            steps=rollout.steps, step=rollout.step, bake_s=rollout.bake_s, step_started_at=_watched_since(rollout),
            to_ready=new.is_ready, to_failures=new.failures, to_wanted=new.desired == "running",
            from_ready=old is not None and old.is_ready,
            allowed=standing.verdict == "live", why_not=standing.detail,
        ),
        moment,
    )  # fmt: skip
    if move.kind == "step":
        _step(actor, rollout, new, old, move.step, moment)
    elif move.kind == "fail":
        _fail(actor, rollout, new, move.reason, moment)
    elif move.kind == "roll_back":
        _take_back(actor, rollout, new, old, move.reason, moment)
    elif move.reason != rollout.waiting_for:
        rollout.waiting_for = move.reason
        rollout.save(update_fields=["waiting_for"])
    return rollout


def _watched_since(rollout: Rollout) -> datetime | None:
    """When the step began to be watched: once every gateway routes by it. Without any gateway in sight, when it was asked for."""
    shift = TrafficShift.objects.filter(rollout=rollout, kind=TrafficShift.Kind.STEP).order_by("-id").first()
    if shift is not None and shift.confirmed_at is not None:
        return shift.confirmed_at
    return None if selectors.gateways().exists() else rollout.step_started_at


def _locked_pair(rollout: Rollout) -> tuple[Deployment, Deployment | None]:
    """Both deployments, locked in the order of their ids."""
    ids = [i for i in (rollout.to_deployment_id, rollout.from_deployment_id) if i is not None]
    rows = Deployment.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint", "host", "model_version__model")
    found = {d.id: d for d in rows.filter(id__in=ids).order_by("id")}
    return found[rollout.to_deployment_id], found.get(rollout.from_deployment_id) if rollout.from_deployment_id else None


def _step(actor: Actor, rollout: Rollout, new: Deployment, old: Deployment | None, step: int, moment: datetime) -> None:
    percent = rollout.steps[step]
    last = step == len(rollout.steps) - 1
    rollout.step, rollout.step_started_at, rollout.waiting_for = step, moment, ""
    fields = ["step", "step_started_at", "waiting_for"]
    if old is not None:
        if last:
            # After a canary the old version goes on getting copies, so that both are compared on the same rows.
            role = Deployment.Role.SHADOW if rollout.strategy == "canary" else Deployment.Role.STANDBY
            shifts.place(old, role=role, weight=0, stop_at=moment + timedelta(seconds=settings.SHADOW_KEEP_S))
        else:
            shifts.place(old, role=Deployment.Role.LIVE, weight=100 - percent)
    shifts.place(new, role=Deployment.Role.LIVE if last else Deployment.Role.CANARY, weight=percent)
    if last:
        rollout.state, rollout.finished_at = Rollout.State.COMPLETED, moment
        fields += ["state", "finished_at"]
        _stop_others(rollout)
    rollout.save(update_fields=fields)
    shifts.record(
        endpoint=rollout.endpoint, kind=TrafficShift.Kind.STEP, by=actor.label, at=moment, rollout=rollout, step=step,
        reason=f"Step {percent}% of the rollout.",
    )  # fmt: skip
    audit.record(
        "deployments.rollout.stepped", actor=actor, obj_type="rollout", obj_id=str(rollout.id), obj_label=str(rollout),
        usecase_id=str(rollout.endpoint.usecase_id), decision_id=str(new.decision_id),
        after={"step": step, "percent": percent, "bake_s": rollout.bake_s, "deployment_id": new.id, "model_version": str(new)},
    )  # fmt: skip
    if last:
        audit.record(
            "deployments.rollout.completed", actor=actor, obj_type="rollout", obj_id=str(rollout.id), obj_label=str(rollout),
            usecase_id=str(rollout.endpoint.usecase_id), decision_id=str(new.decision_id),
            before={"live": str(old) if old else None}, after={"live": str(new), "old_role": old.role if old else None},
        )  # fmt: skip
        shifts.follow_with_alias(rollout.endpoint, new)
    else:
        outbox.put("deployments.advance", {"endpoint_id": rollout.endpoint_id}, due_at=moment + timedelta(seconds=rollout.bake_s))


def _stop_others(rollout: Rollout) -> None:
    """Versions older than the pair that were kept warm are not needed any more."""
    keep = [rollout.to_deployment_id, rollout.from_deployment_id]
    others = (
        Deployment.objects.select_for_update(no_key=True)
        .filter(endpoint=rollout.endpoint, desired="running")
        .exclude(id__in=[k for k in keep if k])
    )
    for other in others.order_by("id"):
        reconciliation.set_stopped(other)
        outbox.put("deployments.reconcile", {"deployment_id": other.id})


def _fail(actor: Actor, rollout: Rollout, new: Deployment, reason: str, moment: datetime) -> None:
    rollout.state, rollout.reason, rollout.finished_at, rollout.waiting_for = Rollout.State.FAILED, reason, moment, ""
    rollout.save(update_fields=["state", "reason", "finished_at", "waiting_for"])
    if new.desired == "running":
        reconciliation.set_stopped(new)
    if rollout.from_deployment_id and rollout.step >= 0:
        # Nothing warm to go back to: the old version keeps its role and gets all traffic when it is ready again.
        old = Deployment.objects.select_for_update(no_key=True).get(id=rollout.from_deployment_id)
        if old.desired == "running":
            shifts.place(old, role=Deployment.Role.LIVE, weight=100)
    outbox.put("deployments.publish_routing", {})
    outbox.put("deployments.reconcile", {"deployment_id": new.id})
    audit.record(
        "deployments.rollout.failed", actor=actor, obj_type="rollout", obj_id=str(rollout.id), obj_label=str(rollout),
        usecase_id=str(rollout.endpoint.usecase_id), decision_id=str(new.decision_id), reason=reason,
        after={"deployment": new.detail, "failures": new.failures},
    )  # fmt: skip


@transaction.atomic
def roll_back(*, actor: Actor, reason: str, endpoint_id: Any = None, rollout_id: Any = None) -> Rollout:
    """Give all traffic back to the version before, in one snapshot; it is still warm. Returns the rollout, now `rolled_back`.

    Works on the rollout under way, else on the last completed one. A rollout without traffic yet is called off. Needs a reason.
    Raises Conflict when there is nothing to go back to, NoLiveDecision when the old version's decision holds no more.
    """
    rules.check_may_deploy(actor)
    reason = rules.check_reason(reason)
    if rollout_id is not None:
        endpoint_id = selectors.rollout(actor, rollout_id).endpoint_id
    endpoint = selectors.changeable_endpoint(actor, endpoint_id, lock=True)
    rollout = _to_take_back(endpoint, rollout_id)
    new, old = _locked_pair(rollout)
    moment = now()
    if rollout.step < 0:
        _fail(actor, rollout, new, reason, moment)
        return rollout
    if old is None:
        raise Conflict("rollout: this was the first version, so there is none to go back to. Stop it if it must not answer.")
    if not old.is_ready:
        raise Conflict(f"rollout: {old} is not running any more. Deploy it again; its decision tells whether it may.")
    standing = selectors.standing(old, at=moment)
    if standing.verdict != "live":
        raise NoLiveDecision(f"{old} may not take traffic: {standing.detail}")
    _take_back(actor, rollout, new, old, reason, moment)
    return rollout


def _to_take_back(endpoint: Endpoint, rollout_id: Any) -> Rollout:
    rows = Rollout.objects.select_for_update(no_key=True, of=("self",)).select_related("endpoint").filter(endpoint=endpoint)
    last = rows.filter(state=Rollout.State.IN_PROGRESS).first() or rows.order_by("-finished_at").first()
    if last is None:
        raise Conflict("endpoint: nothing was ever rolled out here.")
    if rollout_id is not None and str(last.id) != str(rollout_id):
        raise Conflict("rollout: a later one has replaced it. Roll that one back.")
    if last.state not in {Rollout.State.IN_PROGRESS, Rollout.State.COMPLETED}:
        raise Conflict(f"rollout: it is {last.state.replace('_', ' ')} already. Request a deployment to move traffic again.")
    return last


def _take_back(actor: Actor, rollout: Rollout, new: Deployment, old: Deployment | None, reason: str, moment: datetime) -> None:
    assert old is not None
    before = {"live": str(new), "weights": {str(d.id): d.weight for d in (new, old)}}
    # The one that was taken back stays warm: somebody will want to look at it, and to try again must not need a start.
    if new.desired == "running":
        shifts.place(new, role=Deployment.Role.STANDBY, weight=0, stop_at=moment + timedelta(seconds=settings.SHADOW_KEEP_S))
    shifts.place(old, role=Deployment.Role.LIVE, weight=100)
    rollout.state, rollout.reason, rollout.finished_at, rollout.waiting_for = Rollout.State.ROLLED_BACK, reason, moment, ""
    rollout.save(update_fields=["state", "reason", "finished_at", "waiting_for"])
    shifts.record(endpoint=rollout.endpoint, kind=TrafficShift.Kind.ROLL_BACK, by=actor.label, at=moment, rollout=rollout, reason=reason)
    audit.record(
        "deployments.rollout.rolled_back", actor=actor, obj_type="rollout", obj_id=str(rollout.id), obj_label=str(rollout),
        usecase_id=str(rollout.endpoint.usecase_id), decision_id=str(old.decision_id), reason=reason,
        before=before, after={"live": str(old), "weights": {str(new.id): 0, str(old.id): 100}},
    )  # fmt: skip
    shifts.follow_with_alias(rollout.endpoint, old)

"""Move use cases between stages. Inserting a StageMove is the move: the database checks it and writes the stage."""

from typing import Any

from django.db import IntegrityError, transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NoLiveDecision
from apps.decisions import selectors as decisions
from apps.decisions import services as decisions_services
from apps.decisions.models import Decision
from apps.usecases import rules, selectors
from apps.usecases.models import StageMove, UseCase
from apps.usecases.services import lock, phases


def _move(*, actor: Actor, usecase: UseCase, to_stage: str, action: str, reason: str = "", decision: Decision | None = None) -> UseCase:
    """Insert the move and tell the trail. The caller holds the lock and has checked the actor."""
    reason, from_stage = reason.strip(), usecase.stage
    was_at = selectors.stage_before_hold(usecase.id) if from_stage == "on_hold" else ""
    rules.check_move(from_stage, to_stage, reason=reason, has_decision=decision is not None, was_at=was_at)
    try:
        with transaction.atomic():
            StageMove.objects.create(
                usecase=usecase, from_stage=from_stage, to_stage=to_stage, moved_at=now(),
                decision_id=decision.id if decision else None, reason=reason, by=actor.label,
            )  # fmt: skip
    except IntegrityError as error:
        raise NoLiveDecision(f"The move from {from_stage} to {to_stage} was refused: {str(error).splitlines()[0]}.") from error
    usecase.refresh_from_db(fields=["stage", "stage_since"])
    audit.record(
        action, actor=actor, obj_type="usecase", obj_id=str(usecase.id), obj_label=usecase.name, usecase_id=str(usecase.id),
        before={"stage": from_stage}, after={"stage": to_stage}, reason=reason, decision_id=str(decision.id) if decision else None,
    )  # fmt: skip
    return usecase


@transaction.atomic
def promote(*, actor: Actor, usecase_id: Any, to_stage: str, decision: Decision) -> UseCase:
    """Move forward by the decision of a passed gate, which is used up by it. Only approvals calls this.

    Raises Conflict when the use case is no longer where the gate began, NoLiveDecision when the decision does not fit or hold.
    """
    usecase = UseCase.objects.select_for_update(no_key=True).one("use case", id=usecase_id)
    if decision.kind != "stage" or decision.usecase_id != usecase.id or decision.stage_to != to_stage:
        raise NoLiveDecision("This decision is about something else. Request the gate for this use case and stage.")
    if not decisions.is_live(decision.id):
        raise NoLiveDecision(decisions.state_of(decisions.decision(decision.id)))
    _move(actor=actor, usecase=usecase, to_stage=to_stage, action="usecases.stage.promoted", decision=decision)
    if to_stage == "retired":
        phases.close_all(actor, usecase, "The use case was retired.")
        for old in decisions.standing().filter(usecase_id=usecase.id).exclude(environment=""):
            decisions_services.revoke(actor=actor, decision_id=old.id, reason="The use case was retired.")
    return usecase


def hold_for_tier(*, actor: Actor, usecase: UseCase, before: str, after: str) -> int:
    """Suspend what was approved under a lower risk tier, until the gate is passed under the policy of the new one.

    Called by update_usecase, which has checked the actor and holds the lock; returns how many decisions are suspended.
    """
    held = 0
    for decision in decisions.standing().filter(usecase_id=usecase.id).exclude(environment=""):
        decisions_services.place_hold(
            actor=actor, decision_id=decision.id, source_type="tier", source_id=str(usecase.id),
            reason=f"The risk tier was raised from {before} to {after}. Pass the gate into {decision.environment} again under its policy.",
        )  # fmt: skip
        held += 1
    return held


@transaction.atomic
def fall_back(*, actor: Actor, usecase_id: Any, reason: str) -> UseCase:
    """From production back to pilot. What production allowed is revoked; coming back needs its gate again."""
    usecase = lock.changeable(actor, usecase_id)
    _move(actor=actor, usecase=usecase, to_stage="pilot", action="usecases.stage.fell_back", reason=reason)
    phases.close_all(actor, usecase, f"The use case went back to pilot: {reason.strip()}")
    for decision in decisions.standing().filter(usecase_id=usecase.id, environment="production"):
        decisions_services.revoke(actor=actor, decision_id=decision.id, reason=f"The use case went back to pilot: {reason.strip()}")
    return usecase


@transaction.atomic
def put_on_hold(*, actor: Actor, usecase_id: Any, reason: str) -> UseCase:
    """Pause the use case; its decisions, also those that something else holds, are suspended until it resumes."""
    usecase = lock.changeable(actor, usecase_id)
    _move(actor=actor, usecase=usecase, to_stage="on_hold", action="usecases.stage.held", reason=reason)
    for decision in decisions.standing().filter(usecase_id=usecase.id):
        decisions_services.place_hold(
            actor=actor, decision_id=decision.id, reason=f"The use case is on hold: {reason.strip()}",
            source_type="usecase", source_id=str(usecase.id),
        )  # fmt: skip
    return usecase


@transaction.atomic
def resume(*, actor: Actor, usecase_id: Any) -> UseCase:
    """Take the use case off hold, back to where it was; the suspension of its decisions ends."""
    usecase = lock.changeable(actor, usecase_id)
    was_at = selectors.stage_before_hold(usecase.id)
    _move(actor=actor, usecase=usecase, to_stage=was_at, action="usecases.stage.resumed")
    for hold in decisions.open_holds(source_type="usecase", source_id=str(usecase.id)):
        decisions_services.lift_hold(actor=actor, hold_id=hold.id, reason="The use case was taken off hold.")
    return usecase


@transaction.atomic
def stop(*, actor: Actor, usecase_id: Any, lesson: str) -> UseCase:
    """End the use case for good and keep what was learned. All its decisions are revoked."""
    return _stop(actor, lock.changeable(actor, usecase_id), lesson)


@transaction.atomic
def stop_by_gate(*, actor: Actor, usecase_id: Any, lesson: str) -> UseCase:
    """The same, as the outcome of a gate. Only approvals calls this, after its own check of who signed."""
    return _stop(actor, UseCase.objects.select_for_update(no_key=True).one("use case", id=usecase_id), lesson)


def _stop(actor: Actor, usecase: UseCase, lesson: str) -> UseCase:
    if not lesson.strip():
        raise Invalid("lesson: write down what we learned; it is what a stopped use case leaves.", errors={"lesson": ["Needed."]})
    if usecase.stage == "stopped":
        raise Conflict("This use case is stopped already.")
    usecase.lesson = lesson.strip()
    usecase.save(update_fields=["lesson"])
    _move(actor=actor, usecase=usecase, to_stage="stopped", action="usecases.stage.stopped", reason=lesson)
    phases.close_all(actor, usecase, "The use case was stopped.")
    for decision in decisions.for_usecase(usecase.id).filter(revocation=None):
        decisions_services.revoke(actor=actor, decision_id=decision.id, reason="The use case was stopped.")
    return usecase

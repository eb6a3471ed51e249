"""Issue a decision; end or suspend one. Only services of apps above call these; doors do not."""

from typing import Any

from django.db import IntegrityError, transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict
from apps.decisions import rules, selectors
from apps.decisions.models import Decision, Hold, Revocation


@transaction.atomic
def issue(
    *,
    actor: Actor,
    usecase_id: Any,
    kind: str,
    stage_to: str,
    environment: str,
    model_version_id: Any,
    model_version_label: str,
    artifact_digest: str,
    gate_id: Any,
    evidence_digest: str,
    valid_days: int,
    issued_to: str = "",
    standing_in: bool = False,
    phase_id: Any = None,
    phase_name: str = "",
) -> Decision:
    """Write the decision of a passed gate: one a gate. Raises Invalid naming the field, Conflict when the gate has one already."""
    rules.check_may_issue(actor, standing_in=standing_in)
    rules.check_decision(
        kind=kind, environment=environment, stage_to=stage_to, artifact_digest=artifact_digest, valid_days=valid_days, phase_id=phase_id
    )
    moment = now()
    try:
        with transaction.atomic():
            decision = Decision.objects.create(
                kind=kind, usecase_id=usecase_id, environment=environment, stage_to=stage_to, model_version_id=model_version_id,
                model_version_label=model_version_label, artifact_digest=artifact_digest, gate_id=gate_id, evidence_digest=evidence_digest,
                issued_at=moment, expires_at=rules.expiry(moment, valid_days), issued_to=issued_to, phase_id=phase_id, phase_name=phase_name,
            )  # fmt: skip
    except IntegrityError as error:
        raise Conflict("gate_id: this gate has its decision already. Reload the page.", errors={"gate_id": ["Has a decision."]}) from error
    audit.record(
        "decisions.decision.issued", actor=actor, obj_type="decision", obj_id=str(decision.id), obj_label=str(decision),
        usecase_id=str(usecase_id), decision_id=str(decision.id),
        after={
            "kind": kind, "stage_to": stage_to, "environment": environment, "model_version": model_version_label,
            "artifact_digest": artifact_digest, "gate_id": gate_id, "evidence_digest": evidence_digest, "expires_at": decision.expires_at,
            **({"phase_id": phase_id, "phase": phase_name} if phase_id else {}),
        },
    )  # fmt: skip
    return decision


@transaction.atomic
def revoke(*, actor: Actor, decision_id: Any, reason: str) -> Decision:
    """End a decision now. Ending it twice changes nothing. Raises Invalid without a reason.

    The calling service has checked that the actor may: revoking (approvals), moving back or stopping (usecases).
    """
    reason = rules.check_reason(reason)
    decision = selectors.decision(decision_id)
    _, created = Revocation.objects.get_or_create(
        decision=decision, defaults={"reason": reason, "revoked_at": now(), "revoked_by": actor.label}
    )
    if created:
        audit.record(
            "decisions.decision.revoked", actor=actor, obj_type="decision", obj_id=str(decision.id), obj_label=str(decision),
            usecase_id=str(decision.usecase_id), decision_id=str(decision.id), reason=reason,
        )  # fmt: skip
    return selectors.decision(decision_id)


@transaction.atomic
def place_hold(*, actor: Actor, decision_id: Any, reason: str, source_type: str, source_id: str) -> Hold:
    """Suspend a decision until the hold is lifted. One open hold a source: placing it again returns the one there is.

    The calling service has checked that the actor may: an incident (monitoring), a use case put on hold (usecases).
    """
    reason = rules.check_reason(reason)
    decision = selectors.decision(decision_id)
    hold, created = Hold.objects.get_or_create(
        decision=decision, source_type=source_type, source_id=str(source_id), lifted_at=None,
        defaults={"reason": reason, "placed_at": now(), "placed_by": actor.label},
    )  # fmt: skip
    if created:
        audit.record(
            "decisions.hold.placed", actor=actor, obj_type="hold", obj_id=str(hold.id), obj_label=str(decision), reason=reason,
            usecase_id=str(decision.usecase_id), decision_id=str(decision.id),
            after={"source_type": source_type, "source_id": str(source_id)},
        )  # fmt: skip
    return hold


@transaction.atomic
def lift_hold(*, actor: Actor, hold_id: Any, reason: str) -> Hold:
    """End a suspension; the decision lives again when it was the last. Lifting it twice changes nothing."""
    reason = rules.check_reason(reason)
    hold = Hold.objects.select_for_update(of=("self",), no_key=True).select_related("decision").filter(id=hold_id).first()
    if hold is None:
        raise Conflict("hold_id: there is no such hold. Reload the page.", errors={"hold_id": ["Unknown."]})
    if hold.lifted_at is None:
        hold.lifted_at, hold.lifted_by, hold.lift_reason = now(), actor.label, reason
        hold.save(update_fields=["lifted_at", "lifted_by", "lift_reason"])
        audit.record(
            "decisions.hold.lifted", actor=actor, obj_type="hold", obj_id=str(hold.id), obj_label=str(hold.decision), reason=reason,
            usecase_id=str(hold.decision.usecase_id), decision_id=str(hold.decision_id),
        )  # fmt: skip
    return hold

"""What the business may decide at a gate besides yes and no: stop the use case, or have it built anew."""

from apps.approvals.models import Gate, Signature
from apps.approvals.services import news
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.decisions import services as decisions
from apps.usecases import services as usecases


def stop(actor: Actor, gate: Gate, signature: Signature) -> Gate:
    """The gate ends with its use case stopped; its lesson is kept, its other gates are taken back."""
    usecases.stop_by_gate(actor=actor, usecase_id=gate.usecase_id, lesson=signature.comment)
    gate.state, gate.decided_at = Gate.State.STOPPED, now()
    gate.save(update_fields=["state", "decided_at"])
    _record("approvals.gate.stopped", actor, gate, signature)
    others = Gate.objects.filter(usecase_id=gate.usecase_id, state__in=[Gate.State.DRAFT, Gate.State.OPEN])
    for other in others.select_for_update(no_key=True).select_related(None):
        other.state, other.decided_at = Gate.State.WITHDRAWN, now()
        other.save(update_fields=["state", "decided_at"])
        audit.record(
            "approvals.gate.withdrawn", actor=actor, obj_type="gate", obj_id=str(other.id), obj_label=str(other),
            usecase_id=str(other.usecase_id), reason="The use case was stopped.",
        )  # fmt: skip
    gate.usecase.refresh_from_db(fields=["stage", "stage_since", "lesson"])
    news.stopped(actor, gate, signature)
    return gate


def rebuild(actor: Actor, gate: Gate, signature: Signature) -> Gate:
    """The gate ends; a linked successor begins at proof of concept, by a decision. The use case itself stays where it is."""
    successor = usecases.succeed(actor=actor, usecase_id=gate.usecase_id)
    decision = decisions.issue(
        actor=actor, usecase_id=successor.id, kind="stage", stage_to="poc", environment="", model_version_id=None, model_version_label="",
        artifact_digest="", gate_id=gate.id, evidence_digest=gate.evidence_digest, valid_days=gate.policy.body["valid_days"],
        issued_to=gate.requested_by.email if gate.requested_by else "", standing_in=signature.on_behalf_of_id is not None,
    )  # fmt: skip
    gate.state, gate.decided_at, gate.decision = Gate.State.REBUILT, now(), decision
    gate.save(update_fields=["state", "decided_at", "decision"])
    _record("approvals.gate.rebuilt", actor, gate, signature, successor=str(successor.id))
    successor = usecases.promote(actor=actor, usecase_id=successor.id, to_stage="poc", decision=decision)
    news.rebuilt(actor, gate, signature, successor)
    return gate


def _record(action: str, actor: Actor, gate: Gate, signature: Signature, **more: str) -> None:
    audit.record(
        action, actor=actor, obj_type="gate", obj_id=str(gate.id), obj_label=str(gate), usecase_id=str(gate.usecase_id),
        reason=signature.comment, after=more or None, decision_id=str(gate.decision_id) if gate.decision_id else None,
    )  # fmt: skip

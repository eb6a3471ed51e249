"""Who is told what of a gate: the approvers asked for, whoever requested it, and the use case's owner. Never the one who acts."""

from collections.abc import Iterable
from typing import Any

from apps.accounts import selectors as accounts
from apps.approvals.models import Gate, Signature
from apps.core.actor import Actor, Role
from apps.decisions.models import Decision
from apps.notices import services as notices


def _signers(gate: Gate) -> set[Any]:
    """Everybody who holds a function that the gate's quorum names."""
    return {person.id for function in gate.policy.quorum for person in accounts.holders(Role.APPROVER, function)}


def _concerned(gate: Gate) -> set[Any]:
    return {p for p in (gate.requested_by_id, gate.opened_by_id, gate.usecase.owner_id) if p}


def _tell(event: str, actor: Actor, gate: Gate, title: str, text: str, people: Iterable[Any], **data: Any) -> None:
    version = gate.model_version.label if gate.model_version else None
    notices.tell(
        event=event, title=title, text=text, path=f"/gates/{gate.id}/", usecase_id=gate.usecase_id,
        data={
            "gate": str(gate.id), "gate_state": gate.state, "usecase": gate.usecase.slug, "from_stage": gate.from_stage,
            "to_stage": gate.to_stage, "environment": gate.environment, "model_version": version,
            "evidence_digest": gate.evidence_digest, "by": actor.label, **data,
        },
        people=[p for p in people if str(p) != str(actor.user_id)],
    )  # fmt: skip


def _what(gate: Gate) -> str:
    return f"{gate.usecase.name}: {gate}"


def requested(actor: Actor, gate: Gate, *, again: bool, voided: int) -> None:
    """The evidence is frozen and waits for signatures."""
    due = f"Please sign or refuse by {gate.due_at:%Y-%m-%d}." if gate.due_at else ""
    if again:
        text = f"Its evidence changed and was frozen again; {voided} signature{'s are' if voided != 1 else ' is'} void. {due}"
        _tell("gate.changed", actor, gate, f"Changed: {_what(gate)}", text, _signers(gate), voided=voided)
    else:
        _tell("gate.requested", actor, gate, f"Your signature is asked for: {_what(gate)}", f"{gate.note}\n{due}".strip(), _signers(gate))


def signed(actor: Actor, gate: Gate, signature: Signature) -> None:
    """Somebody signed, and that did not decide it."""
    text = f"{signature.printed_name} signed for {signature.function}. {signature.comment}".strip()
    _tell("gate.signed", actor, gate, f"Signed for {signature.function}: {_what(gate)}", text, _concerned(gate), function=signature.function)


def rejected(actor: Actor, gate: Gate, signature: Signature) -> None:
    """It was refused."""
    text = f"{signature.printed_name} refused for {signature.function}: {signature.comment}"
    people = _concerned(gate) | {s.signer_id for s in gate.signatures.filter(void_at=None)}
    _tell("gate.rejected", actor, gate, f"Refused: {_what(gate)}", text, people, function=signature.function, reason=signature.comment)


def approved(actor: Actor, gate: Gate, decision: Decision) -> None:
    """The quorum is met."""
    text = f"The approval holds until {decision.expires_at:%Y-%m-%d}."
    _tell("gate.approved", actor, gate, f"Approved: {_what(gate)}", text, _concerned(gate), decision=str(decision.id))


def withdrawn(actor: Actor, gate: Gate, reason: str) -> None:
    """It was taken back; those who were asked need not look any more."""
    people = _concerned(gate) | (_signers(gate) if gate.frozen_at else set())
    _tell("gate.withdrawn", actor, gate, f"Taken back: {_what(gate)}", reason, people)


def revoked(actor: Actor, decision: Decision, reason: str) -> None:
    """An approval was taken back."""
    gate = Gate.objects.select_related("usecase", "model_version", "policy").filter(decision=decision).first()
    if gate is not None:
        _tell("decision.revoked", actor, gate, f"Approval revoked: {_what(gate)}", reason, _concerned(gate), decision=str(decision.id))

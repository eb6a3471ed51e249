"""Who is told what of a gate: the approvers asked for, whoever requested it, and the use case's owner. Never the one who acts."""

from collections.abc import Iterable
from typing import Any

from apps.accounts import selectors as accounts
from apps.approvals import policy_rules, rules, waiver_rules
from apps.approvals.models import Comment, Gate, Signature, Waiver
from apps.core.actor import Actor, Role
from apps.core.clock import iso
from apps.decisions.models import Decision
from apps.notices import services as notices
from apps.usecases.models import UseCase


def _signers(gate: Gate) -> set[Any]:
    """Everybody who holds a function that the gate's quorum names; of a function with a pool of named people, those."""
    body = gate.policy.body
    held = ((f, person) for f in gate.policy.quorum for person in accounts.holders(Role.APPROVER, f))
    return {person.id for function, person in held if policy_rules.in_pool(body, function, person.email)}


def _concerned(gate: Gate) -> set[Any]:
    return {p for p in (gate.requested_by_id, gate.opened_by_id, gate.usecase.owner_id) if p}


def _tell(event: str, actor: Actor, gate: Gate, title: str, text: str, people: Iterable[Any], **data: Any) -> None:
    version = gate.model_version.label if gate.model_version else None
    notices.tell(
        event=event, title=title, text=text, path=f"/gates/{gate.id}/", usecase_id=gate.usecase_id,
        data={
            "gate": str(gate.id), "gate_state": gate.state, "usecase": gate.usecase.slug, "from_stage": gate.from_stage,
            "to_stage": gate.to_stage, "environment": gate.environment, "model_version": version, **({"phase": gate.phase.name} if gate.phase else {}),
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
    _tell(
        "gate.signed", actor, gate, f"Signed for {signature.function}: {_what(gate)}", text, _concerned(gate), function=signature.function
    )


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
    gate = Gate.objects.select_related("usecase", "model_version", "policy", "phase").filter(decision=decision).first()
    if gate is not None:
        _tell("decision.revoked", actor, gate, f"Approval revoked: {_what(gate)}", reason, _concerned(gate), decision=str(decision.id))


def stopped(actor: Actor, gate: Gate, signature: Signature) -> None:
    """The business ended the use case at this gate."""
    people = _concerned(gate) | _signers(gate)
    text = f"{signature.printed_name} stopped the use case. What we learned: {signature.comment}"
    _tell("gate.stopped", actor, gate, f"Stopped: {_what(gate)}", text, people, lesson=signature.comment)


def rebuilt(actor: Actor, gate: Gate, signature: Signature, successor: UseCase) -> None:
    """The idea goes on in a successor."""
    text = f"{signature.printed_name} had it built anew as “{successor.name}”: {signature.comment}"
    _tell("gate.rebuilt", actor, gate, f"Built anew: {_what(gate)}", text, _concerned(gate) | _signers(gate), successor=successor.slug)


def held(actor: Actor, gate: Gate, reason: str) -> None:
    """What the gate allowed is suspended."""
    _tell(
        "decision.held", actor, gate, f"Suspended: {_what(gate)}", reason, _concerned(gate) | _signers(gate), decision=str(gate.decision_id)
    )


def waiver_asked(actor: Actor, waiver: Waiver) -> None:
    """A waiver waits for a risk owner."""
    people = {p.id for p in accounts.holders(Role.APPROVER, waiver_rules.SIGNER)}
    text = f"“{waiver.title}” is to be let pass until {waiver.until:%Y-%m-%d}: {waiver.reason}"
    _tell(
        "waiver.asked",
        actor,
        waiver.gate,
        f"A waiver is asked for: {_what(waiver.gate)}",
        text,
        people,
        waiver=str(waiver.id),
        subject=waiver.subject,
    )


def waiver_answered(actor: Actor, waiver: Waiver) -> None:
    """A risk owner signed or refused."""
    granted = waiver.state == Waiver.State.SIGNED
    title = f"Waiver {'signed' if granted else 'refused'}: {_what(waiver.gate)}"
    text = (
        f"{waiver.title.rstrip('.')}: {'let pass until ' + format(waiver.until, '%Y-%m-%d') if granted else 'not let pass'}. {waiver.comment}".strip()
    )
    people = _concerned(waiver.gate) | {waiver.asked_by_id}
    _tell("waiver.answered", actor, waiver.gate, title, text, people, waiver=str(waiver.id), subject=waiver.subject, granted=granted)


def waiver_expiring(actor: Actor, waiver: Waiver) -> None:
    """A waiver ends soon."""
    text = f"The waiver of “{waiver.title}” ends on {waiver.until:%Y-%m-%d}. Then what the gate allowed is suspended, unless it passes by then."
    people = _concerned(waiver.gate) | {waiver.asked_by_id, waiver.signer_id}
    _tell(
        "waiver.expiring", actor, waiver.gate, f"A waiver ends soon: {_what(waiver.gate)}", text, people, waiver=str(waiver.id), subject=waiver.subject,
    )  # fmt: skip


def expiring(actor: Actor, gate: Gate, decision: Decision, days: int) -> None:
    """What the gate allowed ends soon."""
    text = (
        f"The approval ends on {decision.expires_at:%Y-%m-%d}. Request a new gate in time; without one nothing may be started or shifted."
    )
    _tell(
        "decision.expiring", actor, gate, f"Ends in {days} day{'s' if days != 1 else ''}: {_what(gate)}", text, _concerned(gate),
        decision=str(decision.id), days=days, expires_at=iso(decision.expires_at),
    )  # fmt: skip


def lapsed(actor: Actor, gate: Gate, decision: Decision) -> None:
    """What the gate allowed has ended."""
    text = f"The approval ended on {decision.expires_at:%Y-%m-%d}. Request a new gate."
    _tell("decision.lapsed", actor, gate, f"Ended: {_what(gate)}", text, _concerned(gate) | _signers(gate), decision=str(decision.id))


def overdue(actor: Actor, gate: Gate, to: str) -> None:
    """Signatures are late: whoever still has to sign hears it, and the function that the policy escalates to."""
    signed = {s.signer_id for s in gate.signatures.filter(void_at=None)}
    wanted = rules.still_wanted(
        gate.policy.quorum, gate.signatures.filter(void_at=None, meaning="approved").values_list("function", flat=True)
    )
    people = {p.id for function in [*wanted, *([to] if to else [])] for p in accounts.holders(Role.APPROVER, function)} - signed
    text = f"Signatures were due on {gate.due_at:%Y-%m-%d}. Still wanted: {', '.join(f'{n} {f}' for f, n in wanted.items())}."
    _tell("gate.overdue", actor, gate, f"Overdue: {_what(gate)}", text, people | _concerned(gate), wanted=wanted, escalated_to=to)


def gate_lapsed(actor: Actor, gate: Gate) -> None:
    """The policy lets a gate lapse when signatures are late."""
    text = f"Signatures were due on {gate.due_at:%Y-%m-%d} and did not come, so nothing was decided. A new gate can be begun."
    _tell("gate.lapsed", actor, gate, f"Lapsed: {_what(gate)}", text, _concerned(gate) | _signers(gate))


def commented(actor: Actor, gate: Gate, comment: Comment) -> None:
    """Somebody wrote on the gate: those concerned hear it, those asked to sign, and everybody who wrote there before."""
    wrote = set(gate.comments.values_list("by_id", flat=True))
    people = _concerned(gate) | wrote | (_signers(gate) if gate.frozen_at else set())
    title = f"{'A question' if comment.kind == 'question' else 'A comment'} on {_what(gate)}"
    _tell("gate.commented", actor, gate, title, comment.text, people, comment=str(comment.id), kind=comment.kind)

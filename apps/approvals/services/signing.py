"""Sign a gate; when the quorum is met, the decision and the move. Revoke a decision."""

from typing import Any

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from apps.accounts import selectors as accounts
from apps.accounts import services as accounts_services
from apps.accounts.models import User
from apps.approvals import documents, policy_rules, rules, selectors
from apps.approvals.models import Gate, Signature
from apps.approvals.services import delegations, news, outcomes
from apps.approvals.services.requests import locked
from apps.audit import services as audit
from apps.core.actor import Actor, Role
from apps.core.clock import now
from apps.core.errors import NotAllowed
from apps.decisions import rules as decision_rules
from apps.decisions import services as decisions
from apps.decisions.models import Decision
from apps.usecases import rules as usecase_rules
from apps.usecases import services as usecases

DECISION_KINDS = {"stage": "stage", "version": "deploy", "phase": "phase"}


@sensitive_variables("password", "code")
@transaction.atomic
def sign_gate(
    *,
    actor: Actor,
    gate_id: Any,
    function: str,
    meaning: str,
    comment: str = "",
    would_change: str = "",
    evidence_digest: str,
    password: str = "",
    code: str = "",
    on_behalf_of: Any = None,
) -> Gate:
    """Sign the frozen evidence as an approver, giving the password again (and a code of the generator, where the signer has one): this
    verifies them, no caller may say it happened elsewhere.

    function: in which capacity (`risk`, ...); evidence_digest: of the document the signer read. meaning: `approved`; `rejected`
    (comment: why; would_change: what would change it); `abstain` (comment; counts for nothing); and for business `stopped`
    (comment: the lesson; ends the use case) and `rebuild` (comment: why; a linked successor begins at proof of concept).
    on_behalf_of: id of the approver who delegated the function to the signer; neither may be excluded by four-eyes.
    The signature that meets the quorum also issues the decision and, for a stage gate, moves the use case, all in the caller's one
    transaction.

    Raises CredentialsRefused (the door then records the failure), TooMany, FourEyesRequired, StaleEvidence with `changes`,
    Conflict when the gate is decided, the person signed before or the function is complete, NotAllowed without the role.
    """
    if actor.user_id is None:
        raise NotAllowed("A person signs. Sign in, or use a person's token.")
    signer = User.objects.get(id=actor.user_id)
    # Before the lock: checking a password takes long, and others wait. A gate never changes its policy.
    method = "session"
    if selectors.asks_credentials(actor, gate_id):
        rules.check_password_given(password)
        method = accounts_services.verify_again(user=signer, password=password, code=code)
    gate = locked(actor, gate_id)
    rules.check_state(gate.state, Gate.State.OPEN)
    author = rules.is_author_of(gate.model_version, signer)
    rules.check_four_eyes(
        user_id=signer.id, requesters=(gate.requested_by_id, gate.opened_by_id), author=author, excluded=gate.policy.four_eyes
    )
    absent = _absent(gate, signer, on_behalf_of, function) if on_behalf_of else None
    given = list(gate.signatures.filter(void_at=None))
    voices = {s.on_behalf_of_id or s.signer_id for s in given} | {s.signer_id for s in given}
    rules.check_signature(
        function=function, meaning=meaning, comment=comment, quorum=gate.policy.quorum,
        approvals=[s.function for s in given if s.meaning == "approved"], signed_before=signer.id in voices or (absent is not None and absent.id in voices),
        evidence_digest=evidence_digest, frozen_digest=gate.evidence_digest, would_change=would_change, to_stage="" if gate.kind == Gate.Kind.PHASE else gate.to_stage,
    )  # fmt: skip
    if not accounts.still_holds(absent.id if absent else signer.id, Role.APPROVER, function):
        who = f"{absent} is" if absent else "You are"
        raise NotAllowed(f"{who} not an approver for {function} (any more). Ask an administrator.")
    voice = absent or signer
    rules.check_in_pool(function, policy_rules.in_pool(gate.policy.body, function, voice.email), f"{voice} is" if absent else "you are")
    if meaning == "approved":
        rules.check_unchanged(rules.changes(documents.frozen(gate), documents.live(gate)))
    signature = Signature.objects.create(
        gate=gate, signer=signer, printed_name=signer.get_full_name(), function=function, meaning=meaning, comment=comment.strip(),
        would_change=would_change.strip() if meaning == "rejected" else "",
        signed_at=now(), evidence_digest=gate.evidence_digest, method=method,
        on_behalf_of=absent, on_behalf_of_name=absent.get_full_name() if absent else "",
    )  # fmt: skip
    audit.record(
        "approvals.gate.signed", actor=actor, obj_type="gate", obj_id=str(gate.id), obj_label=str(gate), usecase_id=str(gate.usecase_id),
        reason=signature.comment,
        after={
            "signature": str(signature.id), "printed_name": signature.printed_name, "on_behalf_of": signature.on_behalf_of_name, "function": function, "meaning": meaning,
            "would_change": signature.would_change, "evidence_digest": gate.evidence_digest, "method": signature.method,
        },
    )  # fmt: skip
    ends = {"rejected": _reject, "stopped": outcomes.stop, "rebuild": outcomes.rebuild}
    if meaning in ends:
        return ends[meaning](actor, gate, signature)
    approvals = [s.function for s in given if s.meaning == "approved"] + ([function] if meaning == "approved" else [])
    if not rules.still_wanted(gate.policy.quorum, approvals):
        news.approved(actor, gate, _approve(actor, gate, standing_in=absent is not None))
    else:
        news.signed(actor, gate, signature)
    return gate


def _absent(gate: Gate, signer: User, on_behalf_of: Any, function: str) -> User:
    """The approver in whose place is signed, by a delegation in force; four-eyes holds for them as well."""
    row = delegations.in_force(delegator_id=on_behalf_of, delegate_id=signer.id, function=function)
    rules.check_four_eyes_for(
        name=str(row.delegator), user_id=row.delegator_id, requesters=(gate.requested_by_id, gate.opened_by_id),
        author=rules.is_author_of(gate.model_version, row.delegator), excluded=gate.policy.four_eyes,
    )  # fmt: skip
    return row.delegator


def _reject(actor: Actor, gate: Gate, signature: Signature) -> Gate:
    gate.state, gate.decided_at = Gate.State.REJECTED, now()
    gate.save(update_fields=["state", "decided_at"])
    audit.record(
        "approvals.gate.rejected", actor=actor, obj_type="gate", obj_id=str(gate.id), obj_label=str(gate),
        usecase_id=str(gate.usecase_id), reason=signature.comment, after={"would_change": signature.would_change},
    )  # fmt: skip
    news.rejected(actor, gate, signature)
    return gate


def _approve(actor: Actor, gate: Gate, *, standing_in: bool = False) -> Decision:
    """The quorum is met: one decision, and the move it allows."""
    version = gate.model_version
    stage, phase = gate.kind == Gate.Kind.STAGE, gate.phase
    decision = decisions.issue(
        actor=actor, usecase_id=gate.usecase_id, kind=DECISION_KINDS[gate.kind], stage_to=gate.to_stage if stage else "",
        environment="" if phase else gate.environment, phase_id=phase.id if phase else None, phase_name=phase.name if phase else "", model_version_id=version.id if version else None,
        model_version_label=version.label if version else "", artifact_digest=version.artifact_digest if version else "",
        gate_id=gate.id, evidence_digest=gate.evidence_digest, valid_days=gate.policy.body["valid_days"],
        issued_to=gate.requested_by.email if gate.requested_by else "", standing_in=standing_in,
    )  # fmt: skip
    gate.state, gate.decided_at, gate.decision = Gate.State.APPROVED, now(), decision
    gate.save(update_fields=["state", "decided_at", "decision"])
    audit.record(
        "approvals.gate.approved", actor=actor, obj_type="gate", obj_id=str(gate.id), obj_label=str(gate),
        usecase_id=str(gate.usecase_id), decision_id=str(decision.id), after={"evidence_digest": gate.evidence_digest},
    )  # fmt: skip
    _answer_tier(actor, gate, decision)
    if stage:
        usecases.promote(actor=actor, usecase_id=gate.usecase_id, to_stage=gate.to_stage, decision=decision)
        gate.usecase.refresh_from_db(fields=["stage", "stage_since"])
    if phase is not None:
        usecases.open_phase(actor=actor, phase_id=phase.id, decision=decision, signed=documents.frozen(gate)["phase"])
    return decision


def _answer_tier(actor: Actor, gate: Gate, decision: Decision) -> None:
    """This gate was passed under the present tier: what the raised tier had suspended for the same files holds again."""
    if not gate.environment or gate.policy.gate != usecase_rules.GATE_OF_ENVIRONMENT[gate.environment]:
        return
    for hold in selectors.held_for_tier(gate.usecase_id, gate.environment).filter(decision__artifact_digest=decision.artifact_digest):
        decisions.lift_hold(actor=actor, hold_id=hold.id, reason=f"The gate was passed under {gate.policy}.")


@transaction.atomic
def revoke_decision(*, actor: Actor, decision_id: Any, reason: str) -> Decision:
    """End a decision of a visible use case now. Approvers and administrators may."""
    found = selectors.decision(actor, decision_id)
    decision_rules.check_may_end(actor)
    ended = decisions.revoke(actor=actor, decision_id=found.id, reason=reason)
    if ended.kind == "phase":
        usecases.close_phase_of(actor=actor, decision=ended, reason=reason)
    news.revoked(actor, ended, reason)
    return ended

"""Ask for a waiver, sign it, and see to it that it ends."""

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.views.decorators.debug import sensitive_variables

from apps.accounts import selectors as accounts
from apps.accounts import services as accounts_services
from apps.accounts.models import User
from apps.approvals import documents, rules, waiver_rules
from apps.approvals.models import Gate, Waiver
from apps.approvals.services import news
from apps.approvals.services.requests import locked
from apps.audit import services as audit
from apps.core.actor import Actor, Role
from apps.core.clock import now
from apps.core.errors import Conflict, FourEyesRequired, NotAllowed, NotFound
from apps.decisions import selectors as decision_reads
from apps.decisions import services as decisions
from apps.usecases import selectors as usecases
from apps.usecases import services as usecase_services

LIVE_STATES = (Gate.State.DRAFT, Gate.State.OPEN, Gate.State.APPROVED)


def _record(action: str, actor: Actor, waiver: Waiver, **more: Any) -> None:
    audit.record(
        action, actor=actor, obj_type="waiver", obj_id=str(waiver.id), obj_label=str(waiver), usecase_id=str(waiver.gate.usecase_id), **more
    )


@transaction.atomic
def ask_waiver(*, actor: Actor, gate_id: Any, subject: str, reason: str, until: datetime) -> Waiver:
    """Ask that a check or item which does not pass is let pass until a moment. It counts once the risk owner has signed.

    Also on an approved gate, where it follows a waiver that ends. Raises Invalid naming the field, Conflict when it passes,
    cannot be waived, or a waiver of it is asked for already.
    """
    gate = locked(actor, gate_id)
    person = rules.check_may_open(actor, usecases.may_change(actor, gate.usecase_id))
    rules.check_state(gate.state, *LIVE_STATES)
    row = waiver_rules.row_of(documents.asked(gate), subject)
    reason = waiver_rules.check_terms(reason=reason, until=until, at=now(), most_days=gate.policy.waiver_days)
    waiver_rules.check_needed(documents.row_now(gate, subject))
    try:
        with transaction.atomic():
            waiver = Waiver.objects.create(
                gate=gate,
                subject=subject,
                title=row.get("title") or row["text"],
                reason=reason,
                until=until,
                asked_by_id=person,
                asked_at=now(),
            )
    except IntegrityError as error:
        raise Conflict("subject: a waiver of this is asked for already.", errors={"subject": ["Asked already."]}) from error
    usecase_services.open_to_functions(actor=actor, usecase_id=gate.usecase_id, functions=[waiver_rules.SIGNER.value])
    _record("approvals.waiver.asked", actor, waiver, reason=reason, after={"gate": str(gate.id), "subject": subject, "until": until})
    news.waiver_asked(actor, waiver)
    return waiver


@sensitive_variables("password", "code")
@transaction.atomic
def sign_waiver(*, actor: Actor, waiver_id: Any, password: str, code: str = "", grant: bool = True, comment: str = "") -> Waiver:
    """Grant or refuse a waiver as risk owner, with the password (and a code); refusing needs a comment. A former waiver of the same ends.

    Raises CredentialsRefused (the door then records the failure), FourEyesRequired for who asked, began or requested the gate or
    made the model, Conflict when it was answered or is over.
    """
    if actor.user_id is None:
        raise NotAllowed("A person signs. Sign in, or use a person's token.")
    signer = User.objects.get(id=actor.user_id)
    rules.check_password_given(password)
    method = accounts_services.verify_again(user=signer, password=password, code=code)
    found: Waiver | None = Waiver.objects.filter(id=waiver_id).first()
    if found is None:
        raise NotFound("There is no such waiver. Look at its gate.")
    gate = locked(actor, found.gate_id)
    waiver = Waiver.objects.select_for_update(no_key=True, of=("self",)).select_related("asked_by").get(id=waiver_id)
    waiver.gate = gate
    if waiver.state != Waiver.State.ASKED:
        raise Conflict("This waiver was answered already. Reload the page.")
    rules.check_state(gate.state, *LIVE_STATES)
    author = rules.is_author_of(gate.model_version, signer)
    rules.check_four_eyes(user_id=signer.id, requesters=(gate.requested_by_id, gate.opened_by_id), author=author)
    if str(waiver.asked_by_id) == str(signer.id):
        raise FourEyesRequired("You asked for this waiver, so somebody else has to sign it. Ask another risk owner.")
    if not accounts.still_holds(signer.id, Role.APPROVER, waiver_rules.SIGNER):
        raise NotAllowed(f"A waiver is signed by an approver for {waiver_rules.SIGNER}. Ask one.")
    if grant:
        waiver_rules.check_terms(reason=waiver.reason, until=waiver.until, at=now(), most_days=gate.policy.waiver_days)
        for old in gate.waivers.filter(subject=waiver.subject, state=Waiver.State.SIGNED):
            old.gate = gate
            _end(actor, old, "A new waiver was signed.")
    else:
        rules.check_words(comment, "comment", "say why, and what would have to be there.")
    waiver.state = Waiver.State.SIGNED if grant else Waiver.State.REFUSED
    waiver.signer, waiver.printed_name, waiver.method = signer, signer.get_full_name(), method
    waiver.comment, waiver.signed_at = comment.strip(), now()
    waiver.save(update_fields=["state", "signer", "printed_name", "method", "comment", "signed_at"])
    _record(
        "approvals.waiver.signed" if grant else "approvals.waiver.refused", actor, waiver, reason=waiver.comment,
        after={"gate": str(gate.id), "subject": waiver.subject, "until": waiver.until, "method": waiver.method},
    )  # fmt: skip
    news.waiver_answered(actor, waiver)
    return waiver


def _end(actor: Actor, waiver: Waiver, reason: str) -> None:
    """It counts no more; what it had suspended goes on."""
    waiver.state, waiver.ended_at, waiver.end_reason = Waiver.State.ENDED, now(), reason
    waiver.save(update_fields=["state", "ended_at", "end_reason"])
    for hold in decision_reads.open_holds(source_type="waiver", source_id=str(waiver.id)):
        decisions.lift_hold(actor=actor, hold_id=hold.id, reason=reason)
    _record("approvals.waiver.ended", actor, waiver, reason=reason)


@transaction.atomic
def settle_waiver(*, actor: Actor, waiver_id: Any) -> str:
    """What control does with a signed waiver: `ended` when what it lets pass passes by itself or the gate is over, `held` when it
    ran out and the gate's decision is suspended for it, `waits` else. Safe to repeat."""
    waiver = Waiver.objects.select_for_update(no_key=True, of=("self",)).filter(id=waiver_id, state=Waiver.State.SIGNED).first()
    if waiver is None:
        return "ended"
    gate = Gate.objects.select_related("usecase", "policy", "model_version__model", "decision", "phase__owner").get(id=waiver.gate_id)
    waiver.gate = gate
    if gate.state not in LIVE_STATES:
        _end(actor, waiver, "The gate ended without an approval.")
        return "ended"
    if waiver_rules.passes(documents.row_now(gate, waiver.subject)):
        _end(actor, waiver, "It passes now.")
        return "ended"
    if now() < waiver.until:
        return "waits"
    if gate.decision is None:
        _end(actor, waiver, "It ran out before the gate was decided.")
        return "ended"
    if not decision_reads.open_holds(source_type="waiver", source_id=str(waiver.id)).exists():
        reason = f"The waiver of “{waiver.title[:150]}” ran out on {waiver.until:%Y-%m-%d}. Bring it about, or have a new waiver signed."
        decisions.place_hold(actor=actor, decision_id=gate.decision.id, reason=reason, source_type="waiver", source_id=str(waiver.id))
        news.held(actor, gate, reason)
    return "held"

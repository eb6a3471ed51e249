"""The risk tier of a use case: what it follows from, and the signed exception that lets it be lower."""

from typing import Any

from django.db import IntegrityError, transaction
from django.views.decorators.debug import sensitive_variables

from apps.accounts import selectors as accounts
from apps.accounts import services as accounts_services
from apps.accounts.models import User
from apps.audit import services as audit
from apps.core.actor import Actor, Function, Role
from apps.core.clock import now
from apps.core.errors import Conflict, FourEyesRequired, Invalid, NotAllowed, NotFound
from apps.notices import services as notices
from apps.usecases import materiality, rules
from apps.usecases.models import TierException, UseCase
from apps.usecases.services import lock
from apps.usecases.services.access import open_to_functions
from apps.usecases.services.stages import hold_for_tier

FIELDS = ("risk_tier", "exposure", "purpose")
SIGNER = Function.RISK
State = TierException.State


def checked(usecase: UseCase, given: dict[str, Any]) -> dict[str, str]:
    """Exposure, purpose and tier as they will be, of a locked use case; raises Invalid or Conflict naming the field."""
    if not set(given) & set(FIELDS):
        return {}
    said = {
        name: materiality.check_level(name, given.get(name, getattr(usecase, name)), before=getattr(usecase, name))
        for name in ("exposure", "purpose")
    }
    computed = materiality.tier_of(**said)
    excused = usecase.tier_exceptions.filter(state=State.SIGNED, **said).values_list("tier", flat=True).first()
    # What is not asked for stays, or rises with what it follows from.
    least = excused or computed
    asked = rules.check_tier(given["risk_tier"]) if given.get("risk_tier") else usecase.risk_tier
    tier = asked if asked != usecase.risk_tier else max(asked, least, key=materiality.rank)
    tier = materiality.check_change(stage=usecase.stage, before=usecase.risk_tier, after=tier, computed=computed, excused=tier == excused)
    return {**said, "risk_tier": tier}


def settle(actor: Actor, usecase: UseCase, before: str) -> None:
    """After a change: what was approved under a lower tier is suspended, and exceptions that fit no longer end."""
    raised = rules.is_raised(before, usecase.risk_tier)
    if raised:
        hold_for_tier(actor=actor, usecase=usecase, before=before, after=usecase.risk_tier)
    for row in usecase.tier_exceptions.filter(state__in=[State.ASKED, State.SIGNED]):
        if (row.exposure, row.purpose) != (usecase.exposure, usecase.purpose) or (
            raised and materiality.rank(row.tier) < materiality.rank(usecase.risk_tier)
        ):
            _end(actor, usecase, row, "Exposure, purpose or tier changed since.")


def _end(actor: Actor, usecase: UseCase, row: TierException, reason: str) -> None:
    row.state, row.ended_at, row.end_reason = State.ENDED, now(), reason
    row.save(update_fields=["state", "ended_at", "end_reason"])
    _record("usecases.tier.ended", actor, usecase, row, reason=reason)


def _record(action: str, actor: Actor, usecase: UseCase, row: TierException, **more: Any) -> None:
    audit.record(action, actor=actor, obj_type="tierexception", obj_id=str(row.id), obj_label=str(row), usecase_id=str(usecase.id), **more)


def _tell(event: str, actor: Actor, usecase: UseCase, title: str, text: str, people: set[Any]) -> None:
    notices.tell(
        event=event, title=f"{title}: {usecase.name}", text=text, path=f"/usecases/{usecase.slug}/tier/", usecase_id=usecase.id,
        data={"usecase": usecase.slug, "risk_tier": usecase.risk_tier, "by": actor.label},
        people=[p for p in people if str(p) != str(actor.user_id)],
    )  # fmt: skip


@transaction.atomic
def ask_tier(*, actor: Actor, usecase_id: Any, tier: str, reason: str) -> TierException:
    """Ask for a lower risk tier, with a reason. It changes once a risk owner has signed, and not before.

    Raises Invalid naming the field; Conflict when it is not lower, exposure and purpose are not said, or one is asked for already.
    """
    usecase = lock.changeable(actor, usecase_id)
    if actor.user_id is None:
        raise NotAllowed("A person asks for a lower tier. Sign in, or use a person's token.")
    materiality.check_ask(tier=tier, now=usecase.risk_tier, exposure=usecase.exposure, purpose=usecase.purpose, stage=usecase.stage)
    reason = reason.strip()
    if not reason:
        raise Invalid("reason: say why less rigour is enough.", errors={"reason": ["Needed."]})
    try:
        with transaction.atomic():
            row = TierException.objects.create(
                usecase=usecase, exposure=usecase.exposure, purpose=usecase.purpose, from_tier=usecase.risk_tier, tier=tier, reason=reason,
                asked_by_id=actor.user_id, asked_at=now(),
            )  # fmt: skip
    except IntegrityError as error:
        raise Conflict("tier: a lower tier is asked for already. Wait for the answer.", errors={"tier": ["Asked already."]}) from error
    open_to_functions(actor=actor, usecase_id=usecase.id, functions=[SIGNER.value])
    after = {"tier": tier, "from_tier": row.from_tier, "exposure": row.exposure, "purpose": row.purpose}
    _record("usecases.tier.asked", actor, usecase, row, reason=reason, after=after)
    people = {p.id for p in accounts.holders(Role.APPROVER, SIGNER)}
    _tell("tier.asked", actor, usecase, f"A lower risk tier ({row}) waits for your signature", reason, people)
    return row


@sensitive_variables("password", "code")
@transaction.atomic
def sign_tier(*, actor: Actor, exception_id: Any, password: str, code: str = "", grant: bool = True, comment: str = "") -> TierException:
    """Grant or refuse a lower tier as a risk owner, with the password (and a code); refusing needs a comment. Granted, the tier changes.

    Raises CredentialsRefused (the door then records the failure), FourEyesRequired for who asked, owns or sponsors the use case,
    Conflict when it was answered or fits no longer, NotAllowed without the function.
    """
    if actor.user_id is None:
        raise NotAllowed("A person signs. Sign in, or use a person's token.")
    signer = User.objects.get(id=actor.user_id)
    if not password:
        raise Invalid("password: give your password; it is what makes this a signature.", errors={"password": ["Needed to sign."]})
    method = accounts_services.verify_again(user=signer, password=password, code=code)
    found = TierException.objects.filter(id=exception_id, usecase__in=UseCase.objects.visible_to(actor)).first()
    if found is None:
        raise NotFound("There is no such request. Look at the use case.")
    usecase = UseCase.objects.select_for_update(no_key=True).get(id=found.usecase_id)
    row = TierException.objects.select_for_update(no_key=True).get(id=exception_id)
    if row.state != State.ASKED:
        raise Conflict("This request was answered already, or fits no longer. Reload the page.")
    if signer.id in {row.asked_by_id, usecase.owner_id, usecase.sponsor_id}:
        raise FourEyesRequired("You asked for this, own the use case or sponsor it, so somebody else has to sign. Ask another risk owner.")
    if not accounts.still_holds(signer.id, Role.APPROVER, SIGNER):
        raise NotAllowed(f"A lower tier is signed by an approver for {SIGNER}. Ask one.")
    if not grant and not comment.strip():
        raise Invalid("comment: say why it stays as it is.", errors={"comment": ["Needed to refuse."]})
    if grant:
        for old in usecase.tier_exceptions.filter(state=State.SIGNED):
            _end(actor, usecase, old, "A new exception was signed.")
    row.state = State.SIGNED if grant else State.REFUSED
    row.signer, row.printed_name, row.method = signer, signer.get_full_name(), method
    row.comment, row.signed_at = comment.strip(), now()
    row.save(update_fields=["state", "signer", "printed_name", "method", "comment", "signed_at"])
    before = usecase.risk_tier
    if grant:
        usecase.risk_tier = row.tier
        usecase.save(update_fields=["risk_tier"])
    _record(
        "usecases.tier.signed" if grant else "usecases.tier.refused", actor, usecase, row, reason=row.comment,
        before={"risk_tier": before}, after={"risk_tier": usecase.risk_tier, "printed_name": row.printed_name, "method": method},
    )  # fmt: skip
    words = "Signed" if grant else "Refused"
    _tell("tier.answered", actor, usecase, f"{words}: risk tier {row}", row.comment, {row.asked_by_id, usecase.owner_id})
    return row

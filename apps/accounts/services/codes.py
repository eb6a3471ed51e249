"""Checking a code of a person's generator, or one of the recovery codes."""

import hmac

import pyotp
from django.views.decorators.debug import sensitive_variables

from apps.accounts.models import SecondFactor, User
from apps.audit import services as audit
from apps.core import boxes
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import CredentialsRefused
from apps.core.ids import secret_hash

PURPOSE = "second factor"


def confirmed(user: User) -> SecondFactor | None:
    """The person's generator if codes are asked for, else None."""
    return SecondFactor.objects.filter(user=user).exclude(confirmed_at=None).first()


@sensitive_variables("code")
def check_code(*, user: User, code: str) -> str:
    """That this code is the person's, now and for the first time; returns "totp" or "recovery code". In the caller's transaction.

    Raises CredentialsRefused. Takes nothing when no codes are asked for: ask `confirmed` first.
    """
    row = SecondFactor.objects.select_for_update(no_key=True).get(user=user)
    text = "".join(code.split())
    hashed = secret_hash(text.lower())
    if any(hmac.compare_digest(hashed, known) for known in row.recovery):
        row.recovery = [known for known in row.recovery if known != hashed]
        row.save(update_fields=["recovery"])
        who = Actor(kind="user", id=f"user:{user.id}", label=str(user), user_id=str(user.id))
        audit.record(
            "accounts.second_factor.recovered", actor=who, obj_type="user", obj_id=str(user.id), obj_label=str(user),
            after={"left": len(row.recovery)},
        )  # fmt: skip
        return "recovery code"
    accept(row, text)
    row.save(update_fields=["last_step"])
    return "totp"


def accept(row: SecondFactor, code: str) -> None:
    """Note the step of a good code; the step before and after count too (RFC 6238, section 5.2), each step once."""
    try:
        generator = pyotp.TOTP(boxes.unlock(row.seed_box, purpose=PURPOSE))
    except boxes.BoxBroken as error:
        raise CredentialsRefused("Codes cannot be checked: the portal's secret key was changed. Ask an administrator to turn yours off.") from error
    step = int(now().timestamp()) // generator.interval
    for offset in (0, -1, 1):
        if step + offset > row.last_step and hmac.compare_digest(generator.generate_otp(step + offset), code):
            row.last_step = step + offset
            return
    raise CredentialsRefused("The code is not right, or was used already. Wait for the next one and try again.", errors={"code": ["Not right."]})

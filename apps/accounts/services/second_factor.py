"""Codes from a generator (TOTP), beside the password."""

import secrets
from typing import Any
from uuid import UUID

import pyotp
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from apps.accounts import rules
from apps.accounts.models import SecondFactor, User
from apps.accounts.services.codes import PURPOSE, accept, confirmed
from apps.accounts.services.credentials import verify_again
from apps.audit import services as audit
from apps.core import boxes
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.core.ids import secret_hash

ISSUER = "Gatehouse"
RECOVERY_CODES = 10


@transaction.atomic
def begin(*, actor: Actor) -> tuple[str, str]:
    """A new generator for oneself, not asked for yet; returns (seed in base32, otpauth:// address for a QR code), shown this once.

    Beginning again replaces one that was not confirmed. Raises Conflict when one is in use.
    """
    user = _self(actor)
    row = SecondFactor.objects.select_for_update(no_key=True).filter(user=user).first()
    if row is not None and row.confirmed_at:
        raise Conflict("Codes are asked for already. Turn them off first, with a code, to use another generator.")
    seed = pyotp.random_base32()
    SecondFactor.objects.update_or_create(user=user, defaults={"seed_box": boxes.lock(seed, purpose=PURPOSE), "last_step": 0, "recovery": []})
    audit.record("accounts.second_factor.begun", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user))
    return seed, pyotp.TOTP(seed).provisioning_uri(name=user.email, issuer_name=ISSUER)


@sensitive_variables("password", "code")
@transaction.atomic
def confirm(*, actor: Actor, password: str, code: str) -> list[str]:
    """Ask for codes from now on: the password and one code prove that the generator works. Returns recovery codes, shown this once.

    Raises CredentialsRefused (the door records the failure), Conflict when none was begun.
    """
    user = _self(actor)
    row = SecondFactor.objects.select_for_update(no_key=True).filter(user=user).first()
    if row is None or row.confirmed_at:
        raise Conflict("Begin with a new generator first." if row is None else "Codes are asked for already.")
    verify_again(user=user, password=password)
    accept(row, code)
    codes = [f"{secrets.token_hex(4)}-{secrets.token_hex(4)}" for _ in range(RECOVERY_CODES)]
    row.confirmed_at, row.recovery = now(), [secret_hash(c) for c in codes]
    row.save(update_fields=["confirmed_at", "recovery", "last_step"])
    audit.record("accounts.second_factor.confirmed", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user))
    return codes


@sensitive_variables("password", "code")
@transaction.atomic
def remove(*, actor: Actor, user_id: Any, password: str = "", code: str = "", reason: str = "") -> None:
    """Ask for codes no more: one's own with password and code; as an administrator anybody else's, with a reason (a lost phone)."""
    user = User.objects.filter(id=user_id).first()
    if user is None or (str(user.id) != actor.user_id and not actor.is_admin):
        raise NotFound("There is no such account, or it is not yours.")
    if confirmed(user) is None:
        raise Conflict("No codes are asked for at this account.")
    if str(user.id) == actor.user_id:
        verify_again(user=user, password=password, code=code)
    else:
        rules.check_may_administer(actor)
        if not reason.strip():
            raise Invalid("reason: say why, for whoever reads the trail.", errors={"reason": ["Needed."]})
    SecondFactor.objects.filter(user=user).delete()
    audit.record(
        "accounts.second_factor.removed", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user), reason=reason.strip()
    )


def _self(actor: Actor) -> User:
    if actor.user_id is None:
        raise NotAllowed("A person sets up codes for themselves. Sign in.")
    return User.objects.get(id=UUID(actor.user_id))

"""People and their roles."""

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from apps.accounts import rules
from apps.accounts.models import RoleAssignment, SignInAttempt, User
from apps.accounts.services.credentials import verify_again
from apps.audit import services as audit
from apps.core.actor import Actor, Role
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.ids import secret_hash


@transaction.atomic
def create_user(*, actor: Actor, email: str, full_name: str, password: str) -> User:
    """Make an account without roles. Raises Invalid naming the field, Conflict when the email is taken."""
    rules.check_may_administer(actor)
    email = email.strip().lower()
    if not rules.EMAIL.match(email):
        raise Invalid("email: give an address like name@example.org.", errors={"email": ["Not an email address."]})
    if not full_name.strip():
        raise Invalid("full_name: give the name as it is to be printed beside signatures.", errors={"full_name": ["Needed."]})
    user = User(email=email, full_name=full_name.strip())
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid("password: " + " ".join(error.messages), errors={"password": error.messages}) from error
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as error:
        raise Conflict(f"email: {email} already has an account. Use that one.", errors={"email": ["Taken."]}) from error
    audit.record("accounts.user.created", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user), after={"email": email})
    return user


@transaction.atomic
def deactivate_user(*, actor: Actor, user_id: Any) -> User:
    """Close an account: no sign-in, no session, no token from now on; its name stays readable in the trail.

    Raises Conflict for one's own account and for the last administrator's.
    """
    rules.check_may_administer(actor)
    _lock_administrators()
    user = User.objects.select_for_update(no_key=True).filter(id=user_id).first()
    if user is None:
        raise NotFound("There is no such account.")
    if user.is_active:
        if str(user.id) == actor.user_id:
            raise Conflict("user: this is your own account. Ask another administrator to close it.", errors={"user": ["Your own account."]})
        rules.check_administrators_left(_administrators_besides(user.id))
        user.is_active = False
        user.save(update_fields=["is_active"])
        user.tokens.filter(revoked_at=None).update(revoked_at=now())
        audit.record("accounts.user.deactivated", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user))
    return user


@transaction.atomic
def set_password(*, actor: Actor, user_id: Any, password: str, current: str = "", code: str = "") -> User:
    """Give an account a new password: one's own with the current one (and a code, where they are asked for), anybody's as an administrator. Ends its other sessions.

    Raises CredentialsRefused (the door records the failure), Invalid, NotAllowed, NotFound.
    """
    user = User.objects.select_for_update(no_key=True).filter(id=user_id).first()
    if user is None:
        raise NotFound("There is no such account.")
    if actor.kind == "user" and str(user.id) == actor.user_id:
        verify_again(user=user, password=current, code=code)
    else:
        rules.check_may_administer(actor)
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid("password: " + " ".join(error.messages), errors={"password": error.messages}) from error
    user.set_password(password)
    user.save(update_fields=["password"])
    SignInAttempt.objects.filter(email_hash=secret_hash(user.email)).delete()
    audit.record("accounts.password.changed", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user))
    return user


@transaction.atomic
def assign_role(*, actor: Actor, user: User, role: str, function: str = "") -> RoleAssignment:
    """Give a role; giving it twice changes nothing. Raises Conflict for a closed account."""
    rules.check_may_administer(actor)
    rules.check_role(role, function)
    if not user.is_active:
        raise Conflict("user: this account is closed and takes no role.", errors={"user": ["Closed account."]})
    assignment, created = RoleAssignment.objects.get_or_create(user=user, role=role, function=function)
    if created:
        audit.record(
            "accounts.role.assigned", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user),
            after={"role": role, "function": function},
        )  # fmt: skip
    return assignment


@transaction.atomic
def remove_role(*, actor: Actor, user: User, role: str, function: str = "") -> None:
    """Take a role away; a person without it loses what it allowed at once. Raises Conflict for the last administrator's."""
    rules.check_may_administer(actor)
    rules.check_role(role, function)
    if role == Role.ADMIN and user.is_active:
        _lock_administrators()
        rules.check_administrators_left(_administrators_besides(user.id))
    deleted, _ = RoleAssignment.objects.filter(user=user, role=role, function=function).delete()
    if deleted:
        audit.record(
            "accounts.role.removed", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user),
            before={"role": role, "function": function},
        )  # fmt: skip


def _lock_administrators() -> None:
    """Two administrators who close each other wait for one another."""
    list(RoleAssignment.objects.select_for_update(no_key=True).filter(role=Role.ADMIN).order_by("id").values_list("id", flat=True))


def _administrators_besides(user_id: Any) -> int | None:
    """How many active administrators there are without this one; None when this one is none."""
    active = RoleAssignment.objects.filter(role=Role.ADMIN, user__is_active=True)
    return active.exclude(user_id=user_id).count() if active.filter(user_id=user_id).exists() else None

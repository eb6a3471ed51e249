"""People and their roles."""

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from apps.accounts import rules
from apps.accounts.models import RoleAssignment, SignInAttempt, User
from apps.accounts.services.credentials import verify_again
from apps.audit import services as audit
from apps.core.actor import Actor
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
    """Close an account: no sign-in, no token; its name stays readable in the trail."""
    rules.check_may_administer(actor)
    user = User.objects.select_for_update(no_key=True).filter(id=user_id).first()
    if user is None:
        raise NotFound("There is no such account.")
    if user.is_active:
        user.is_active = False
        user.save(update_fields=["is_active"])
        user.tokens.filter(revoked_at=None).update(revoked_at=now())
        audit.record("accounts.user.deactivated", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user))
    return user


@transaction.atomic
def set_password(*, actor: Actor, user_id: Any, password: str, current: str = "") -> User:
    """Give an account a new password: one's own with the current one, anybody's as an administrator. Ends its other sessions.

    Raises CredentialsRefused (the door records the failure), Invalid, NotAllowed, NotFound.
    """
    user = User.objects.select_for_update(no_key=True).filter(id=user_id).first()
    if user is None:
        raise NotFound("There is no such account.")
    if actor.kind == "user" and str(user.id) == actor.user_id:
        verify_again(user=user, password=current)
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
    """Give a role; giving it twice changes nothing."""
    rules.check_may_administer(actor)
    rules.check_role(role, function)
    assignment, created = RoleAssignment.objects.get_or_create(user=user, role=role, function=function)
    if created:
        audit.record(
            "accounts.role.assigned", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user),
            after={"role": role, "function": function},
        )  # fmt: skip
    return assignment


@transaction.atomic
def remove_role(*, actor: Actor, user: User, role: str, function: str = "") -> None:
    """Take a role away; a person without it loses what it allowed at once."""
    rules.check_may_administer(actor)
    deleted, _ = RoleAssignment.objects.filter(user=user, role=role, function=function).delete()
    if deleted:
        audit.record(
            "accounts.role.removed", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user),
            before={"role": role, "function": function},
        )  # fmt: skip

"""Writes to accounts: people, roles, grants, tokens, and proof of identity."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from guardian.shortcuts import assign_perm, remove_perm

from apps.accounts import rules
from apps.accounts.models import ApiToken, RoleAssignment, SignInAttempt, User
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, CredentialsRefused, Invalid, NotAllowed, NotFound
from apps.core.ids import new_secret, secret_hash


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
        verify_credentials(email=user.email, password=current)
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


@transaction.atomic
def grant(*, actor: Actor, user: User, permission: str, subject: Any, usecase_id: str | None = None) -> None:
    """Give one person a permission on one object (django-guardian). The caller's app decided that the actor may."""
    assign_perm(permission, user, subject)
    audit.record(
        "accounts.grant.given", actor=actor, obj_type=subject._meta.model_name, obj_id=str(subject.pk), obj_label=str(subject),
        usecase_id=usecase_id, after={"user": user.email, "permission": permission},
    )  # fmt: skip


@transaction.atomic
def revoke_grant(*, actor: Actor, user: User, permission: str, subject: Any, usecase_id: str | None = None) -> None:
    """Take it away again."""
    remove_perm(permission, user, subject)
    audit.record(
        "accounts.grant.removed", actor=actor, obj_type=subject._meta.model_name, obj_id=str(subject.pk), obj_label=str(subject),
        usecase_id=usecase_id, before={"user": user.email, "permission": permission},
    )  # fmt: skip


@transaction.atomic
def issue_token(*, actor: Actor, user: User, name: str, scopes: list[str], expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """Issue an API token; returns (row, secret). The secret is shown this once. Only its owner or an administrator may."""
    if str(user.id) != actor.user_id:
        rules.check_may_administer(actor)
    if not actor.has_scope("write"):
        raise NotAllowed("A read-only token cannot issue tokens. Sign in, or use one with the scope write.")
    own = ApiToken.objects.filter(id=actor.id.removeprefix("token:")).first() if actor.kind == "token" else None
    expires_at = expires_at or min(now() + timedelta(days=90), own.expires_at if own else now() + timedelta(days=90))
    rules.check_token(scopes, expires_at, now())
    rules.check_grantable(actor, scopes, expires_at, own.expires_at if own else None)
    if not name.strip():
        raise Invalid("name: say what the token is for.", errors={"name": ["Needed."]})
    whole, prefix, digest = new_secret("ghp")
    token = ApiToken.objects.create(
        user=user, name=name.strip(), prefix=prefix, token_hash=digest, scopes=sorted(set(scopes)), expires_at=expires_at
    )
    audit.record(
        "accounts.token.issued", actor=actor, obj_type="apitoken", obj_id=str(token.id), obj_label=token.name,
        after={"owner": user.email, "scopes": token.scopes, "expires_at": expires_at},
    )  # fmt: skip
    return token, whole


@transaction.atomic
def revoke_token(*, actor: Actor, token_id: Any) -> ApiToken:
    """Make a token useless from now on."""
    token = ApiToken.objects.visible_to(actor).select_for_update(no_key=True).one("API token", id=token_id)
    if token.revoked_at is None:
        token.revoked_at = now()
        token.save(update_fields=["revoked_at"])
        audit.record("accounts.token.revoked", actor=actor, obj_type="apitoken", obj_id=str(token.id), obj_label=token.name)
    return token


def verify_credentials(*, email: str, password: str, ip: str = "") -> User:
    """The active user whose password this is; works inside a transaction and outside.

    Raises CredentialsRefused, or TooMany after ten failures in a row within fifteen minutes. The failure itself is written by
    the door (`record_failure`) once the refused call has rolled back, so that it is never lost.
    """
    email_hash = secret_hash(email.strip().lower())
    since = now() - rules.FAILURE_WINDOW
    rules.check_failures(SignInAttempt.objects.filter(email_hash=email_hash, at__gte=since).count())
    user = User.objects.filter(email__iexact=email.strip()).first()
    if user is None:
        # Hashed in vain, so that the answer takes as long as for a real account.
        make_password(password)
    good = user is not None and check_password(password, user.password)
    if user is None or not user.is_active or not good:
        raise CredentialsRefused("The email address or the password is not right. Try again, or ask an administrator for a new password.")
    # Failures count in a row: the right password begins a new count.
    SignInAttempt.objects.filter(email_hash=email_hash).delete()
    return user


@transaction.atomic
def record_failure(*, email: str, ip: str, user_agent: str = "", purpose: str = "sign-in") -> None:
    """Write down a failed try. Doors call it after the refused call has rolled back, so that the record survives."""
    user = User.objects.filter(email__iexact=email.strip()).first()
    email_hash = secret_hash(email.strip().lower())
    SignInAttempt.objects.create(email_hash=email_hash, ip=ip, at=now())
    label = str(user) if user else "unknown account"
    actor = Actor(kind="user", id=f"user:{user.id}" if user else f"unknown:{email_hash[:16]}", label=label, ip=ip, user_agent=user_agent)
    audit.record("accounts.session.refused", actor=actor, obj_type="session", obj_id=email_hash[:16], obj_label=label, reason=purpose)


@transaction.atomic
def open_session(*, actor: Actor) -> None:
    """Write down that a person signed in."""
    audit.record("accounts.session.opened", actor=actor, obj_type="session", obj_id=actor.id, obj_label=actor.label)


@transaction.atomic
def close_session(*, actor: Actor) -> None:
    """Write down that a person signed out."""
    audit.record("accounts.session.closed", actor=actor, obj_type="session", obj_id=actor.id, obj_label=actor.label)

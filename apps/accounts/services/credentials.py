"""Proof of identity: passwords, failed tries, sessions."""

from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction
from django.db.models import QuerySet
from django.views.decorators.debug import sensitive_variables

from apps.accounts import rules
from apps.accounts.models import SignInAttempt, User
from apps.accounts.services import codes
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import CredentialsRefused
from apps.core.ids import secret_hash

# Checked when there is no such account, so that the answer takes as long as for a real one.
_DUMMY_HASH = make_password("not a password of anyone")


@sensitive_variables("password")
def verify_credentials(*, email: str, password: str, ip: str = "") -> User:
    """The active user whose password this is; works inside a transaction and outside.

    Raises CredentialsRefused, or TooMany with `retry_after_s` after too many failures in a row at this account, or at any accounts
    from this address. The failure itself is written by the door (`record_failure`) once the refused call has rolled back, so that
    it is never lost.
    """
    email_hash = secret_hash(email.strip().lower())
    mine = SignInAttempt.objects.filter(email_hash=email_hash, kind=SignInAttempt.Kind.SIGN_IN)
    _check(mine, rules.MAX_FAILURES, "for this account")
    if key := rules.address_key(ip):
        _check(
            SignInAttempt.objects.filter(ip=key, kind=SignInAttempt.Kind.SIGN_IN),
            rules.MAX_FAILURES_OF_ADDRESS,
            "from your network address",
        )
    user = User.objects.filter(email__iexact=email.strip()).first()
    good = check_password(password, user.password if user else _DUMMY_HASH)
    if user is None or not user.is_active or not good:
        raise CredentialsRefused("The email address or the password is not right. Try again, or ask an administrator for a new password.")
    # Failures count in a row: the right password begins a new count.
    mine.delete()
    return user


@sensitive_variables("password", "code")
def verify_again(*, user: User, password: str, code: str = "") -> str:
    """That somebody who is signed in still knows the password and, where codes are asked for, has the generator: for a signature or a
    new password. Returns how it was shown (`password`, `password and totp`, ...). In the caller's transaction: a code works once.

    Counts apart from sign-in: only who holds the session or a token of the account can fail here, so strangers who fail to sign in
    at the account block no signature. Raises as verify_credentials does.
    """
    mine = SignInAttempt.objects.filter(email_hash=secret_hash(user.email), kind=SignInAttempt.Kind.AGAIN)
    _check(mine, rules.MAX_FAILURES, "to confirm it is you")
    if not user.is_active or not check_password(password, user.password):
        raise CredentialsRefused(
            "The password is not right. Try again, or ask an administrator for a new one.", errors={"password": ["Not right."]}
        )
    if codes.confirmed(user) is None:
        how = "password"
    elif not code.strip():
        raise CredentialsRefused("code: give the code of your generator too.", errors={"code": ["Needed."]})
    else:
        how = f"password and {codes.check_code(user=user, code=code)}"
    mine.delete()
    return how


@sensitive_variables("code")
@transaction.atomic
def verify_code(*, user: User, code: str) -> None:
    """The second step of signing in, after the password. Raises CredentialsRefused, TooMany."""
    mine = SignInAttempt.objects.filter(email_hash=secret_hash(user.email), kind=SignInAttempt.Kind.AGAIN)
    _check(mine, rules.MAX_FAILURES, "to confirm it is you")
    codes.check_code(user=user, code=code)
    mine.delete()


def _check(attempts: QuerySet[SignInAttempt], most: int, where: str) -> None:
    since = now() - rules.FAILURE_WINDOW
    rules.check_failures(list(attempts.filter(at__gte=since).order_by("-at").values_list("at", flat=True)[:most]), most, now(), where)


@transaction.atomic
def record_failure(*, email: str, ip: str, user_agent: str = "", purpose: str = "sign-in") -> None:
    """Write down a failed try. Doors call it after the refused call has rolled back, so that the record survives.

    Any purpose but `sign-in` is a re-authentication of somebody who is signed in.
    """
    user = User.objects.filter(email__iexact=email.strip()).first()
    email_hash = secret_hash(email.strip().lower())
    kind = SignInAttempt.Kind.SIGN_IN if purpose == "sign-in" else SignInAttempt.Kind.AGAIN
    SignInAttempt.objects.create(email_hash=email_hash, ip=rules.address_key(ip), kind=kind, at=now())
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

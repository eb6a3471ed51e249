"""Who may do what to accounts, and what a token may be. Pure."""

import re
from datetime import datetime, timedelta

from apps.core.actor import Actor, Function, Role
from apps.core.errors import Invalid, NotAllowed, TooMany

SCOPES = {
    "read": "read everything its owner may read",
    "write": "do what its owner may do",
    "mlflow": "use the governed MLflow endpoint",
    "routing": "read the gateway's routing snapshot",
}
MAX_TOKEN_AGE = timedelta(days=366)
MAX_FAILURES, FAILURE_WINDOW = 10, timedelta(minutes=15)
EMAIL = re.compile(r"^[^@\s]+@[^@\s]+$")


def check_may_administer(actor: Actor) -> None:
    """Only administrators and our own processes change accounts."""
    if not actor.is_admin:
        raise NotAllowed("Only an administrator may change accounts and roles. Ask one.")


def check_role(role: str, function: str) -> None:
    """A known role, and a function exactly when the role is approver."""
    if role not in set(Role):
        raise Invalid(f"role: {role!r} is not a role. Use one of {', '.join(Role)}.", errors={"role": ["Unknown role."]})
    if role == Role.APPROVER and function not in set(Function):
        raise Invalid(
            f"function: an approver signs in a function. Use one of {', '.join(Function)}.", errors={"function": ["Needed for approvers."]}
        )
    if role != Role.APPROVER and function:
        raise Invalid("function: only approvers have a function. Leave it empty.", errors={"function": ["Only for approvers."]})


def check_token(scopes: list[str], expires_at: datetime, now: datetime) -> None:
    """Known scopes, at least one, and an expiry in the coming year."""
    unknown = [s for s in scopes if s not in SCOPES]
    if unknown or not scopes:
        raise Invalid(
            f"scopes: {', '.join(unknown) or 'none given'}. Choose from {', '.join(SCOPES)}.", errors={"scopes": ["Choose known scopes."]}
        )
    if not now < expires_at <= now + MAX_TOKEN_AGE:
        raise Invalid("expires_at: choose a moment in the coming 366 days.", errors={"expires_at": ["Out of range."]})


def check_grantable(actor: Actor, scopes: list[str], expires_at: datetime, own_expiry: datetime | None) -> None:
    """A token hands on no more than it has, for no longer; `routing` is for the house's own processes."""
    if "routing" in scopes and not actor.is_system:
        raise NotAllowed("scopes: routing is for gateways. An administrator issues it with manage.py issue_service_token.")
    if own_expiry is not None and (not actor.scopes.issuperset(scopes) or expires_at > own_expiry):
        raise NotAllowed("A token may issue only tokens with scopes of its own, for no longer than itself. Sign in to issue more.")


def check_failures(count: int) -> None:
    """Stop guessing after ten failures in fifteen minutes."""
    if count >= MAX_FAILURES:
        raise TooMany("Too many failed tries for this account. Wait 15 minutes, or ask an administrator to reset the password.")

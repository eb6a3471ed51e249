"""Who may do what to accounts, and what a token may be. Pure."""

import ipaddress
import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from apps.core.actor import Actor, Function, Role
from apps.core.errors import Conflict, Invalid, NotAllowed, TooMany

SCOPES = {
    "read": "read everything its owner may read",
    "write": "do what its owner may do",
    "mlflow": "use the governed MLflow endpoint",
    "routing": "read the gateway's routing snapshot",
}
MAX_TOKEN_AGE = timedelta(days=366)
# Failures in a row at one account, and from one address at whatever accounts, before further tries are refused.
MAX_FAILURES, MAX_FAILURES_OF_ADDRESS, FAILURE_WINDOW = 10, 50, timedelta(minutes=15)
# A repeat of a post is answered from its key for this long; failed tries are kept beyond their window for whoever looks into them.
KEEP_IDEMPOTENCY_KEYS, KEEP_ATTEMPTS, SWEEP_AT_ONCE = timedelta(days=7), timedelta(days=1), 10_000
EMAIL = re.compile(r"^[^@\s]+@[^@\s]+$")


def check_may_administer(actor: Actor) -> None:
    """Only administrators and our own processes change accounts."""
    if not actor.is_admin:
        raise NotAllowed("Only an administrator may change accounts and roles. Ask one.")


def check_administrators_left(others: int | None) -> None:
    """There is always an administrator; `others` is None when the one who leaves is none."""
    if others == 0:
        raise Conflict("This is the last administrator. Give somebody else the role first.")


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


def check_failures(failed_at: Sequence[datetime], most: int, now: datetime, where: str) -> None:
    """Stop guessing: with `most` failures (newest first) in the window, the next try waits until the oldest of them is out of it."""
    if len(failed_at) < most:
        return
    wait_s = (failed_at[most - 1] + FAILURE_WINDOW - now).total_seconds()
    minutes = max(1, math.ceil(wait_s / 60))
    raise TooMany(
        f"There were too many failed tries {where}. Wait {minutes} {'minute' if minutes == 1 else 'minutes'}, or ask an administrator for help.",
        retry_after_s=max(1, math.ceil(wait_s)),
    )


def address_key(ip: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 network of an IPv6 one; empty when it is none."""
    try:
        address = ipaddress.ip_address(ip.strip().split("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)

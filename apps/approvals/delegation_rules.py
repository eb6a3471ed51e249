"""Who may sign for whom, and for how long. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from apps.core.actor import Actor, Function
from apps.core.errors import Conflict, Invalid, NotAllowed

MOST_DAYS = 90


def check_may_delegate(actor: Actor, delegator_id: Any) -> None:
    """One's own signature; an administrator's for somebody who cannot."""
    if not actor.is_admin and str(delegator_id) != str(actor.user_id):
        raise NotAllowed("You delegate your own signature only. An administrator does it for somebody who is away.")


def check_delegation(
    *, delegator_id: Any, delegate_id: Any, delegate_active: bool, function: str, starts_at: datetime, ends_at: datetime, reason: str, at: datetime
) -> str:
    """Everything that can be said of the fields alone; returns the reason, raises Invalid naming each field that is wrong."""
    errors: dict[str, list[str]] = {}
    if function not in set(Function):
        errors["function"] = [f"Choose one of {', '.join(Function)}."]
    if str(delegate_id) == str(delegator_id):
        errors["delegate"] = ["Choose somebody else."]
    elif not delegate_active:
        errors["delegate"] = ["That account is closed. Choose somebody else."]
    if ends_at <= starts_at:
        errors["ends_at"] = ["Choose a moment after the start."]
    elif ends_at <= at:
        errors["ends_at"] = ["This is over already. Choose a later moment."]
    elif ends_at > starts_at + timedelta(days=MOST_DAYS):
        errors["ends_at"] = [f"At most {MOST_DAYS} days after the start; then delegate anew."]
    if not reason.strip():
        errors["reason"] = ["Say why you are away, for whoever reads the trail."]
    if errors:
        first = next(iter(errors))
        raise Invalid(f"{first}: {errors[first][0]}", errors=errors)
    return reason.strip()


def check_no_chain(*, delegator_id: Any, delegate_id: Any, overlapping: Iterable[tuple[Any, Any]]) -> None:
    """Nobody hands on what was handed to them, and nobody is given what they have handed away: so there is no cycle either.

    `overlapping`: (delegator, delegate) of the delegations of the same function at the same time.
    """
    for other_delegator, other_delegate in overlapping:
        if str(other_delegator) == str(delegate_id):
            cycle = str(other_delegate) == str(delegator_id)
            words = "has delegated to you for that time: that would be a circle" if cycle else "is away too and has delegated it"
            raise Conflict(f"delegate: this person {words}. Choose somebody else.", errors={"delegate": ["Has delegated it."]})
        if str(other_delegate) == str(delegator_id):
            raise Conflict(
                "delegator: somebody has delegated this function to them for that time, and what is delegated is not handed on. "
                "Ask that person to choose somebody else first.",
                errors={"delegator": ["Is a delegate."]},
            )
        if str(other_delegator) == str(delegator_id):
            raise Conflict(
                "starts_at: this function is delegated for a part of that time already. End that delegation first.",
                errors={"starts_at": ["Overlaps."]},
            )

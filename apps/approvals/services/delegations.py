"""Delegate a signature for an absence, and end that."""

from datetime import datetime
from typing import Any

from django.db import transaction

from apps.accounts import selectors as accounts
from apps.accounts.models import User
from apps.approvals import delegation_rules
from apps.approvals.models import Delegation
from apps.audit import services as audit
from apps.core.actor import Actor, Role
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.usecases.selectors import is_uuid


@transaction.atomic
def delegate(
    *, actor: Actor, delegate: User, function: str, starts_at: datetime, ends_at: datetime, reason: str, delegator: User | None = None
) -> Delegation:
    """Let somebody sign in a function for the delegator (without one: the actor) from a moment until another, at most 90 days.

    Raises Invalid naming the field, Conflict for a chain, a circle or an overlap, NotAllowed without the function.
    """
    who = delegator.id if delegator else actor.user_id
    if who is None:
        raise NotAllowed("A person delegates. Sign in, or name the delegator.")
    delegation_rules.check_may_delegate(actor, who)
    # Both people are locked, in one order: two who delegate to each other at once wait for one another.
    people = {str(u.id): u for u in User.objects.select_for_update(no_key=True).filter(id__in=[who, delegate.id]).order_by("id")}
    taker = people.get(str(delegate.id), delegate)
    reason = delegation_rules.check_delegation(
        delegator_id=who, delegate_id=delegate.id, delegate_active=taker.is_active, function=function, starts_at=starts_at, ends_at=ends_at,
        reason=reason, at=now(),
    )  # fmt: skip
    if not accounts.still_holds(who, Role.APPROVER, function):
        raise NotAllowed(f"function: only an approver for {function} can delegate it. What is delegated is not handed on.")
    overlapping = Delegation.objects.filter(function=function, ended_at=None, starts_at__lt=ends_at, ends_at__gt=starts_at)
    delegation_rules.check_no_chain(
        delegator_id=who, delegate_id=delegate.id, overlapping=overlapping.values_list("delegator_id", "delegate_id")
    )
    row = Delegation.objects.create(
        delegator=people[str(who)], delegate=taker, function=function, starts_at=starts_at, ends_at=ends_at, reason=reason, made_by=actor.label
    )
    audit.record(
        "approvals.delegation.given", actor=actor, obj_type="delegation", obj_id=str(row.id), obj_label=str(row), reason=reason,
        after={
            "delegator": row.delegator.email, "delegate": taker.email, "function": function, "starts_at": starts_at, "ends_at": ends_at,
        },
    )  # fmt: skip
    return row


@transaction.atomic
def end_delegation(*, actor: Actor, delegation_id: Any) -> Delegation:
    """End a delegation now; signatures given by it stay. Ending it twice changes nothing."""
    row = Delegation.objects.select_for_update(no_key=True, of=("self",)).select_related("delegator", "delegate").filter(id=delegation_id).first()
    if row is None or not (actor.is_admin or actor.user_id in {str(row.delegator_id), str(row.delegate_id)}):
        raise NotFound("There is no such delegation, or you may not see it. Look under GET /api/v1/delegations/.")
    delegation_rules.check_may_delegate(actor, row.delegator_id)
    if row.ended_at is None:
        row.ended_at, row.ended_by = now(), actor.label
        row.save(update_fields=["ended_at", "ended_by"])
        audit.record("approvals.delegation.ended", actor=actor, obj_type="delegation", obj_id=str(row.id), obj_label=str(row))
    return row


def in_force(*, delegator_id: Any, delegate_id: Any, function: str) -> Delegation:
    """The delegation by which one signs for the other now, locked against its end; NotAllowed when there is none."""
    if not is_uuid(delegator_id):
        raise Invalid("on_behalf_of: give the id of the approver who delegated to you.", errors={"on_behalf_of": ["Not an id."]})
    moment = now()
    row: Delegation | None = (
        Delegation.objects.select_for_update(no_key=True, of=("self",)).select_related("delegator")
        .filter(
            delegator_id=delegator_id, delegate_id=delegate_id, function=function, ended_at=None, starts_at__lte=moment, ends_at__gt=moment
        ).first()
    )  # fmt: skip
    if row is None:
        raise NotAllowed(f"on_behalf_of: nobody of that account has delegated {function} to you for now. Ask them, or sign for yourself.")
    if not row.delegator.is_active:
        raise Conflict("on_behalf_of: that account is closed, so nobody signs for it.", errors={"on_behalf_of": ["Closed account."]})
    return row

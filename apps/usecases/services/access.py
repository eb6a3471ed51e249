"""Take a person's access to a use case away; let approvers of a function in."""

from typing import Any

from django.db import transaction

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.errors import Conflict, NotFound
from apps.usecases import rules, selectors
from apps.usecases.models import FunctionAccess, Person, UseCase
from apps.usecases.services import lock


@transaction.atomic
def take_access(*, actor: Actor, usecase_id: Any, user_id: Any) -> User:
    """Take back what give_access gave, view and change alike, from an open or closed account; it ends at once.

    Raises NotFound when the person holds nothing here, Conflict for the owner and the sponsor.
    """
    usecase = lock.changeable(actor, usecase_id)
    user = User.objects.filter(id=user_id).first()
    held = selectors.grants(usecase).get(user.id, []) if user else []
    parts = Person.objects.filter(usecase=usecase, user=user) if user else Person.objects.none()
    if user is None or not (held or parts.exists()):
        raise NotFound("That person was not given access to this use case. Reload the page.")
    roles = {"owner": usecase.owner_id, "sponsor": usecase.sponsor_id}
    if by := [name for name, person in roles.items() if person == user.id]:
        raise Conflict(f"user: {user} has access as the {by[0]}. Name another {by[0]} first.", errors={"user": [f"Is the {by[0]}."]})
    before = {"user": user.email, "level": rules.level_of(held), "parts": sorted(p.part for p in parts)}
    for permission in held:
        accounts.revoke_grant(actor=actor, user=user, permission=f"usecases.{permission}", subject=usecase, usecase_id=str(usecase.id))
    parts.delete()
    audit.record(
        "usecases.access.taken", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user), usecase_id=str(usecase.id),
        before=before,
    )  # fmt: skip
    return user


@transaction.atomic
def open_to_functions(*, actor: Actor, usecase_id: Any, functions: list[str]) -> list[str]:
    """Let approvers of these functions read the use case, because a gate needs them; returns those newly let in.

    For approvals, when a gate is requested, and for a lower risk tier that is asked for: they have checked the actor.
    """
    usecase = UseCase.objects.one("use case", id=usecase_id)
    added = [f for f in sorted(functions) if FunctionAccess.objects.get_or_create(usecase=usecase, function=f)[1]]
    if added:
        audit.record(
            "usecases.access.opened", actor=actor, obj_type="usecase", obj_id=str(usecase.id), obj_label=usecase.name,
            usecase_id=str(usecase.id), after={"functions": added},
        )  # fmt: skip
    return added

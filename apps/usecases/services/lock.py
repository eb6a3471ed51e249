"""What every change of a use case begins with."""

from typing import Any

from apps.core.actor import Actor
from apps.usecases import rules, selectors
from apps.usecases.models import UseCase


def changeable(actor: Actor, usecase_id: Any) -> UseCase:
    """The use case, visible to the actor (else NotFound), changeable by the actor (else NotAllowed), and locked."""
    found: UseCase = UseCase.objects.visible_to(actor).one("use case", id=usecase_id)
    rules.check_may_change(selectors.may_change(actor, found.id))
    return UseCase.objects.select_for_update(no_key=True).get(id=found.id)

"""Who may change what the registry keeps about a model: one place that every write of ours asks."""

from apps.core.actor import Actor
from apps.core.errors import DomainError
from apps.registry.models import RegisteredModel
from apps.registry.rules import access
from apps.registry.selectors.access import standing_to_model


def check_may_edit_model(actor: Actor, model: RegisteredModel) -> None:
    """Cards, failure modes and evaluations of a model. Raises NotFound or NotAllowed."""
    access.check_right(actor, "edit", standing_to_model(actor, model.name), f"model {model.name}")


def may_edit_model(actor: Actor, model: RegisteredModel) -> bool:
    """The same as an answer, for pages."""
    try:
        check_may_edit_model(actor, model)
    except DomainError:
        return False
    return True

"""What the pages of models share: who asks, and what they may see."""

from django.http import HttpRequest

from apps.core.actor import Actor
from apps.registry import selectors
from apps.registry.models import ModelVersion, RegisteredModel
from apps.registry.services.may import may_edit_model


def actor_of(request: HttpRequest) -> Actor:
    """The person behind a page."""
    return request.actor  # type: ignore[attr-defined,no-any-return]


def version_of(request: HttpRequest, name: str, number: int) -> ModelVersion:
    """The version an address names, or NotFound."""
    return selectors.version(actor_of(request), name, number)


def model_of(request: HttpRequest, name: str) -> RegisteredModel:
    """The model an address names, or NotFound."""
    return selectors.model(actor_of(request), name)


def editable(actor: Actor, model: RegisteredModel) -> bool:
    """Whether the page offers its forms."""
    return may_edit_model(actor, model)

"""What the registry's REST views share."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.registry import selectors
from apps.registry.models import ModelVersion


def version_of(request: Request, name: str, number: int) -> ModelVersion:
    """The version an address names, or NotFound."""
    return selectors.version(actor_of(request), name, number)


def whole(rows: Any) -> Response:
    """A list that comes in one page."""
    return Response({"results": rows, "next": None})

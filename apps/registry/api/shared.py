"""What the registry's REST views share."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from apps.core.api import actor_of
from apps.registry import selectors
from apps.registry.models import ModelVersion


def version_of(request: Request, name: str, number: int) -> ModelVersion:
    """The version an address names, or NotFound."""
    return selectors.version(actor_of(request), name, number)


class StrictSerializer(serializers.Serializer):
    """Unknown fields are an error, so that a typing mistake is not lost."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse names that are no field."""
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError({unknown[0]: [f"Unknown field. Known: {', '.join(self.fields)}."]})
        return super().to_internal_value(data)

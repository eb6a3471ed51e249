"""REST door of use cases that stand still."""

from typing import Any

from rest_framework import serializers

from apps.core.api import actor_of
from apps.core.clock import now
from apps.core.rest import ListView
from apps.usecases import selectors
from apps.usecases.models import UseCase


class StalledSerializer(serializers.ModelSerializer):
    """A use case that is longer in its stage than expected, in days."""

    owner = serializers.EmailField(source="owner.email")
    days_in_stage = serializers.SerializerMethodField()
    expected_days = serializers.SerializerMethodField()

    class Meta:
        model = UseCase
        fields = ["id", "slug", "name", "stage", "stage_since", "owner", "days_in_stage", "expected_days"]

    def get_days_in_stage(self, usecase: UseCase) -> int:
        """Whole days since it came to its stage."""
        return (now() - usecase.stage_since).days

    def get_expected_days(self, usecase: UseCase) -> int:
        """Days it was expected to stay."""
        return selectors.expected_days()[usecase.stage]


class StalledView(ListView):
    """Use cases past the expected time of their stage."""

    lists = "List the use cases that are longer in their stage than expected."

    serializer_class = StalledSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        return UseCase.objects.none() if getattr(self, "swagger_fake_view", False) else selectors.stalled(actor_of(self.request))

"""Use cases in JSON."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.accounts.models import User
from apps.usecases import rules, selectors
from apps.usecases.models import Exposure, IntegrationPoint, Person, Purpose, Requirements, RiskTier, StageMove, UseCase


class PersonRefSerializer(serializers.ModelSerializer):
    """A person by name and address."""

    class Meta:
        model = User
        fields = ["id", "email", "full_name"]


@extend_schema_field(OpenApiTypes.EMAIL)
class AccountField(serializers.SlugRelatedField):
    """An account given by its email address."""

    takes = "the email address of an active account; GET /api/v1/users/ lists them"

    def __init__(self, **options: Any) -> None:
        super().__init__(slug_field="email__iexact", queryset=User.objects.filter(is_active=True), **options)

    def to_internal_value(self, data: Any) -> Any:
        """The account; only a text is looked up."""
        if not isinstance(data, str) or "\x00" in data:
            self.fail("invalid")
        return super().to_internal_value(data.strip())

    def to_representation(self, value: Any) -> str:
        """The address."""
        return str(value.email)


class RequirementsSerializer(serializers.ModelSerializer):
    """Demands with their units in the names."""

    class Meta:
        model = Requirements
        fields = [*rules.BOUNDS]


class IntegrationSerializer(serializers.ModelSerializer):
    """A system that is read from or written to."""

    class Meta:
        model = IntegrationPoint
        fields = ["id", "name", "direction", "kind", "owner", "note"]
        read_only_fields = ["id"]


class MoveSerializer(serializers.ModelSerializer):
    """One move between stages."""

    class Meta:
        model = StageMove
        fields = ["id", "from_stage", "to_stage", "moved_at", "decision_id", "reason", "by"]


class PartSerializer(serializers.ModelSerializer):
    """Somebody's part."""

    user = PersonRefSerializer()

    class Meta:
        model = Person
        fields = ["id", "user", "part"]


class HolderSerializer(PartSerializer):
    """Somebody who was given access; `level` is view, change, or empty for a part alone."""

    level = serializers.CharField(read_only=True)

    class Meta(PartSerializer.Meta):
        fields = [*PartSerializer.Meta.fields, "level"]


class UseCaseSerializer(serializers.ModelSerializer):
    """A use case in a list."""

    owner = PersonRefSerializer()
    sponsor = PersonRefSerializer(allow_null=True)
    created_by = PersonRefSerializer()
    computed_tier = serializers.CharField(
        read_only=True, help_text="the tier that exposure and purpose make; empty while they are not said"
    )
    requirements = serializers.SerializerMethodField()
    models = serializers.SerializerMethodField()

    class Meta:
        model = UseCase
        fields = [
            "id", "slug", "name", "problem", "decision_supported", "output_users", "sponsor", "owner", "created_by", "risk_tier",
            "risk_reason", "exposure", "purpose", "computed_tier", "stage", "stage_since", "lesson", "currency", "requirements", "models", "created_at",
        ]  # fmt: skip

    def get_requirements(self, usecase: UseCase) -> dict[str, float | None] | None:
        """Demands, or null before they were set."""
        row = getattr(usecase, "requirements", None)
        return RequirementsSerializer(row).data if row else None

    def get_models(self, usecase: UseCase) -> list[str]:
        """Names of linked registered models."""
        return [used.model.name for used in usecase.used_models.all()]


class UseCaseDetailSerializer(UseCaseSerializer):
    """One use case with all that belongs to it."""

    integrations = IntegrationSerializer(many=True)
    people = PartSerializer(many=True)
    moves = MoveSerializer(many=True)
    time_in_stages = serializers.SerializerMethodField()
    next_stage = serializers.SerializerMethodField()
    predecessor = serializers.SerializerMethodField()
    successors = serializers.SerializerMethodField()

    class Meta(UseCaseSerializer.Meta):
        fields = [
            *UseCaseSerializer.Meta.fields, "integrations", "people", "moves", "time_in_stages", "next_stage", "predecessor", "successors",
        ]  # fmt: skip

    def get_predecessor(self, usecase: UseCase) -> str | None:
        """Slug of the use case whose idea it builds anew, where the caller may see that."""
        return next((u.slug for u in selectors.relatives(self.context["actor"], usecase) if u.id == usecase.predecessor_id), None)

    def get_successors(self, usecase: UseCase) -> list[str]:
        """Slugs of those that build its idea anew, where the caller may see them."""
        return [u.slug for u in selectors.relatives(self.context["actor"], usecase) if u.predecessor_id == usecase.id]

    def get_time_in_stages(self, usecase: UseCase) -> list[dict[str, Any]]:
        """Each stay with its length in seconds."""
        return selectors.time_in_stages(usecase)

    def get_next_stage(self, usecase: UseCase) -> str:
        """Where a passed gate leads; empty at the end."""
        return rules.next_stage(usecase.stage)


class NewUseCaseSerializer(serializers.Serializer):
    """What a new use case says. Without `owner` the caller owns it."""

    name = serializers.CharField(max_length=200)
    problem = serializers.CharField()
    decision_supported = serializers.CharField(required=False, allow_blank=True)
    output_users = serializers.CharField(required=False, allow_blank=True)
    exposure = serializers.ChoiceField(choices=Exposure.choices, required=False, help_text="how many people, decisions and how much money")
    purpose = serializers.ChoiceField(choices=Purpose.choices, required=False, help_text="how much the decision touches people")
    risk_tier = serializers.ChoiceField(
        choices=RiskTier.choices,
        required=False,
        help_text="without it the tier follows from exposure and purpose; a higher one may be given",
    )
    risk_reason = serializers.CharField(required=False, allow_blank=True)
    currency = serializers.CharField(max_length=3, required=False)
    owner = AccountField(required=False)
    sponsor = AccountField(required=False, allow_null=True)
    requirements = RequirementsSerializer(required=False)
    integrations = IntegrationSerializer(many=True, required=False)


class ChangeUseCaseSerializer(NewUseCaseSerializer):
    """Only what is given changes."""

    requirements = None  # type: ignore[assignment]
    integrations = None  # type: ignore[assignment]


class AccessSerializer(serializers.Serializer):
    """Who gets which access."""

    user = AccountField()
    level = serializers.ChoiceField(choices=rules.LEVELS)
    part = serializers.CharField(max_length=50, required=False, default="", allow_blank=True)


class LinkModelSerializer(serializers.Serializer):
    """A registered model by name."""

    model = serializers.CharField(max_length=256)


class ReasonSerializer(serializers.Serializer):
    """Why, in words."""

    reason = serializers.CharField()


class LessonSerializer(serializers.Serializer):
    """What we learned."""

    lesson = serializers.CharField()

"""The registry in JSON."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.api import actor_of
from apps.registry import rules, selectors
from apps.registry.models import AliasRecord, ModelCard, ModelVersion, RegisteredModel, RunInput
from apps.registry.selectors.access import usecases_of


class AliasSerializer(serializers.ModelSerializer):
    """What an alias points (or pointed) at."""

    version = serializers.IntegerField(source="version.version")

    class Meta:
        model = AliasRecord
        fields = ["alias", "version", "decision_id", "set_by", "set_at", "ended_at"]


class UsecaseRefSerializer(serializers.Serializer):
    """A use case by name."""

    id = serializers.UUIDField()
    slug = serializers.SlugField()
    name = serializers.CharField()


class ModelSerializer(serializers.ModelSerializer):
    """A registered model in a list."""

    owner = serializers.EmailField(source="owner.email", default=None, read_only=True)
    version_count = serializers.IntegerField(read_only=True, default=0)
    latest_version = serializers.IntegerField(read_only=True, allow_null=True, default=None)
    governed = serializers.BooleanField(read_only=True, default=False, help_text="Whether some use case uses it.")
    usecases = serializers.SerializerMethodField()

    class Meta:
        model = RegisteredModel
        fields = [
            "id", "name", "description", "owner", "author", "tags", "governed", "usecases", "version_count", "latest_version", "registered_at",
            "synced_at", "gone_at", "created_at",
        ]  # fmt: skip

    @extend_schema_field(UsecaseRefSerializer(many=True))
    def get_usecases(self, model: RegisteredModel) -> list[dict[str, str]]:
        """Use cases that use it and that you may see, by name."""
        known = self.context.get("usecases")
        if known is None:
            known = usecases_of(actor_of(self.context["request"]), [model.id]) if "request" in self.context else {}
        return [{"id": u.id, "slug": u.slug, "name": u.name} for u in known.get(model.id, [])]


class CardSerializer(serializers.ModelSerializer):
    """A model card with what it still lacks."""

    missing = serializers.SerializerMethodField()
    completeness = serializers.SerializerMethodField()

    class Meta:
        model = ModelCard
        fields = [*rules.CARD_FIELDS, "revision", "updated_by", "updated_at", "missing", "completeness"]

    def get_missing(self, card: ModelCard) -> list[str]:
        """Needed fields that are not filled in."""
        return rules.missing_in_card(card)

    def get_completeness(self, card: ModelCard) -> float:
        """Share of needed fields that are, 0 to 1."""
        found = rules.completeness(card)
        return found.filled / found.total


class CardFormSerializer(serializers.Serializer):
    """Fields of a card to save; those left out stay. `revision`: the one you read, to be told of somebody else's save."""

    revision = serializers.IntegerField(required=False, min_value=0)

    def get_fields(self) -> dict[str, Any]:
        """One text field for each field of a card."""
        texts = {
            name: serializers.CharField(required=False, allow_blank=True, help_text=meaning, max_length=rules.CARD_MOST_CHARACTERS)
            for name, meaning in rules.CARD_FIELDS.items()
        }
        return {**super().get_fields(), **texts}


class InputSerializer(serializers.ModelSerializer):
    """A dataset the run read."""

    name = serializers.CharField(source="dataset.name")
    digest = serializers.CharField(source="dataset.digest")
    source_type = serializers.CharField(source="dataset.source_type")
    source = serializers.CharField(source="dataset.source")  # type: ignore[assignment]
    profile = serializers.JSONField(source="dataset.profile")

    class Meta:
        model = RunInput
        fields = ["name", "digest", "context", "source_type", "source", "profile"]


class VersionSerializer(serializers.ModelSerializer):
    """A version in a list."""

    name = serializers.CharField(source="model.name", read_only=True)
    label = serializers.CharField(read_only=True)  # type: ignore[assignment]
    aliases = serializers.SerializerMethodField()

    class Meta:
        model = ModelVersion
        fields = [
            "id", "name", "version", "label", "status", "detail", "flavor", "author", "run_id", "artifact_digest", "size_bytes", "metrics",
            "aliases", "registered_at", "synced_at", "created_at",
        ]  # fmt: skip

    def get_aliases(self, version: ModelVersion) -> list[str]:
        """Aliases that point here now."""
        return [a.alias for a in selectors.aliases(version)]


class DecisionSerializer(serializers.Serializer):
    """A decision that names the version's digest."""

    id = serializers.UUIDField()
    kind = serializers.CharField()
    usecase_id = serializers.UUIDField()
    environment = serializers.CharField()
    gate_id = serializers.UUIDField()
    issued_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    not_live_because = serializers.SerializerMethodField()

    def get_not_live_because(self, decision: Any) -> str:
        """Why it does not hold now; empty when it does."""
        return selectors.why_decision_is_not_live(decision)


class VersionDetailSerializer(VersionSerializer):
    """A version with everything the portal knows of it."""

    card = serializers.SerializerMethodField()
    inputs = InputSerializer(many=True, read_only=True)
    feature_names = serializers.SerializerMethodField()
    unpinned = serializers.SerializerMethodField()
    lineage = serializers.SerializerMethodField()
    decisions = serializers.SerializerMethodField()

    class Meta(VersionSerializer.Meta):
        fields = [
            *VersionSerializer.Meta.fields, "description", "source", "run_name", "flavors", "observed_digest", "artifact_manifest",
            "signature", "feature_names", "requirements", "unpinned", "params", "tags", "inputs", "lineage", "card", "decisions",
        ]  # fmt: skip

    def get_card(self, version: ModelVersion) -> dict[str, Any]:
        """The card, empty when nobody wrote one."""
        return dict(CardSerializer(getattr(version, "card", None) or ModelCard(version=version)).data)

    def get_feature_names(self, version: ModelVersion) -> list[str]:
        """Input columns in order."""
        return selectors.feature_names(version)

    def get_unpinned(self, version: ModelVersion) -> list[str]:
        """Requirements that do not fix one version."""
        return rules.unpinned(version.requirements)

    def get_lineage(self, version: ModelVersion) -> dict[str, Any]:
        """Nodes and edges: dataset, run, version."""
        return selectors.lineage(version)

    def get_decisions(self, version: ModelVersion) -> list[dict[str, Any]]:
        """Decisions that name this digest, of use cases the caller may see, newest first."""
        rows = selectors.decisions_naming(self.context["actor"], version)
        return [dict(row) for row in DecisionSerializer(rows, many=True).data]


class ModelDetailSerializer(ModelSerializer):
    """A registered model with what its aliases point at."""

    aliases = serializers.SerializerMethodField()

    class Meta(ModelSerializer.Meta):
        fields = [*ModelSerializer.Meta.fields, "aliases"]

    def get_aliases(self, model: RegisteredModel) -> list[dict[str, Any]]:
        """Now and before, newest first."""
        return [dict(a) for a in AliasSerializer(selectors.alias_history(model)[:100], many=True).data]

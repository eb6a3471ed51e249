"""Deployments in JSON."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.errors import Invalid
from apps.deployments import rules, selectors
from apps.deployments.models import Deployment, Endpoint, EndpointKey, Host, RollbackRehearsal, Rollout, TrafficShift, WorkOrder


class HostSerializer(serializers.ModelSerializer):
    """A serving host as it last reported itself."""

    reachable = serializers.SerializerMethodField()

    class Meta:
        model = Host
        fields = [
            "id", "name", "key_id", "state", "reachable", "last_seen_at", "cpu_count", "memory_bytes", "gpus", "engines", "running",
            "facts", "created_at",
        ]  # fmt: skip

    def get_reachable(self, host: Host) -> bool:
        """Whether its agent reported lately."""
        return selectors.host_is_fresh(host)


class NewHostSerializer(serializers.Serializer):
    """A host and its agent's public key."""

    name = serializers.CharField(max_length=63)
    public_key = serializers.CharField(max_length=64)
    replace_key = serializers.BooleanField(default=False)
    overlap_hours = serializers.FloatField(
        default=0, min_value=0, max_value=rules.MOST_OVERLAP_HOURS, help_text="how long reports that the old key signed still count"
    )


class PublicKeySerializer(serializers.Serializer):
    """A public key of the portal's own."""

    id = serializers.CharField(help_text="first 16 hex digits of sha256 over the raw key")
    algorithm = serializers.CharField()
    purpose = serializers.CharField(
        help_text="order: signs work orders; seal: signs checkpoints of the trail; agent: signs a host's reports"
    )
    public = serializers.CharField(help_text="base64 of the 32 raw bytes")
    host = serializers.CharField(allow_null=True, help_text="whose agent it is; null for the portal's own")
    created_at = serializers.DateTimeField(allow_null=True, help_text="null where it was not written down")
    accepted_until = serializers.DateTimeField(allow_null=True, help_text="of a key that was rotated out: agents refuse it from then on")


class KeySerializer(serializers.ModelSerializer):
    """A caller's key without its secret."""

    class Meta:
        model = EndpointKey
        fields = ["id", "name", "prefix", "department", "team", "revoked_at", "created_at"]


class IssuedKeySerializer(KeySerializer):
    """A new key with its secret, shown this once."""

    key = serializers.CharField(read_only=True)

    class Meta(KeySerializer.Meta):
        fields = [*KeySerializer.Meta.fields, "key"]


class NewKeySerializer(serializers.Serializer):
    """Which caller it is for, and for whom it calls: rollout phases go by department and team."""

    name = serializers.CharField(max_length=100)
    department = serializers.CharField(required=False, allow_blank=True, default="", max_length=100)
    team = serializers.CharField(required=False, allow_blank=True, default="", max_length=100)


class GroupSerializer(serializers.Serializer):
    """For whom a caller calls; empty takes it away. Both are set."""

    department = serializers.CharField(required=False, allow_blank=True, default="", max_length=100)
    team = serializers.CharField(required=False, allow_blank=True, default="", max_length=100)


class DeploymentSerializer(serializers.ModelSerializer):
    """One version on one host: what should be and what is."""

    endpoint = serializers.CharField(source="endpoint.slug", read_only=True)
    usecase = serializers.SlugField(source="endpoint.usecase.slug", read_only=True)
    environment = serializers.CharField(source="endpoint.environment", read_only=True)
    host = serializers.CharField(source="host.name", read_only=True)
    model_version = serializers.CharField(source="model_version_label", read_only=True)
    ready = serializers.BooleanField(source="is_ready", read_only=True)

    class Meta:
        model = Deployment
        fields = [
            "id", "endpoint", "endpoint_id", "usecase", "environment", "model_version", "model_version_id", "artifact_digest",
            "decision_id", "host", "role", "weight", "desired", "observed", "ready", "detail", "generation", "observed_generation",
            "observed_at", "ready_at", "stop_at", "pid", "engine_starts", "failures", "timings_ms", "requested_by", "created_at",
        ]  # fmt: skip


class OrderSerializer(serializers.ModelSerializer):
    """A work order, without its envelope."""

    class Meta:
        model = WorkOrder
        fields = ["id", "kind", "generation", "state", "detail", "issued_at", "expires_at"]


class DeploymentDetailSerializer(DeploymentSerializer):
    """With the orders given for it."""

    orders = serializers.SerializerMethodField()

    class Meta(DeploymentSerializer.Meta):
        fields = [*DeploymentSerializer.Meta.fields, "orders"]

    def get_orders(self, deployment: Deployment) -> list[dict[str, Any]]:
        """The last twenty, newest first."""
        return list(OrderSerializer(selectors.work_orders(deployment)[:20], many=True).data)


class NewDeploymentSerializer(serializers.Serializer):
    """Which version is to serve which endpoint, and how it gets there."""

    endpoint = serializers.CharField(help_text="id or slug")
    model = serializers.CharField(required=False, help_text="name of the registered model, with `version`")
    version = serializers.IntegerField(required=False, min_value=1)
    model_version = serializers.UUIDField(required=False, help_text="id of the version, instead of `model` and `version`")
    strategy = serializers.ChoiceField(choices=["all_at_once", "canary"], default="all_at_once")
    steps = serializers.ListField(child=serializers.IntegerField(), required=False, help_text="percentages, the last 100")
    bake_s = serializers.FloatField(required=False, help_text="seconds each step is watched")
    host = serializers.CharField(required=False, default="", allow_blank=True)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        """Either the id, or name and number."""
        if not data.get("model_version") and not (data.get("model") and data.get("version")):
            raise Invalid(
                "model_version: give model and version, or model_version.", errors={"model_version": ["Give model and version, or this."]}
            )
        return data


class ShiftSerializer(serializers.ModelSerializer):
    """One change of weights; `seconds` until every gateway routed by it."""

    seconds = serializers.FloatField(read_only=True, allow_null=True)

    class Meta:
        model = TrafficShift
        fields = [
            "id", "kind", "step", "weights", "requested_at", "published_at", "snapshot_version", "confirmed_at", "seconds", "reason", "by",
        ]  # fmt: skip


class RolloutSerializer(serializers.ModelSerializer):
    """How traffic goes from one deployment to another."""

    endpoint = serializers.CharField(source="endpoint.slug", read_only=True)
    from_version = serializers.CharField(source="from_deployment.model_version_label", read_only=True, default=None)
    to_version = serializers.CharField(source="to_deployment.model_version_label", read_only=True)
    deployment = DeploymentSerializer(source="to_deployment", read_only=True)
    shifts = ShiftSerializer(many=True, read_only=True)

    class Meta:
        model = Rollout
        fields = [
            "id", "endpoint", "endpoint_id", "from_deployment_id", "to_deployment_id", "from_version", "to_version", "decision_id",
            "strategy", "steps", "bake_s", "step", "state", "step_started_at", "waiting_for", "reason", "finished_at", "requested_by",
            "created_at", "deployment", "shifts",
        ]  # fmt: skip


class RehearsalSerializer(serializers.ModelSerializer):
    """A rollback done for practice; `ok` is null while it runs."""

    model_version = serializers.CharField(source="deployment.model_version_label", read_only=True)

    class Meta:
        model = RollbackRehearsal
        fields = ["id", "kind", "phase", "model_version", "artifact_digest", "started_at", "at", "seconds", "ok", "detail", "requested_by"]


class EndpointSerializer(serializers.ModelSerializer):
    """A public model name and what answers there."""

    usecase = serializers.CharField(source="usecase.slug", read_only=True)
    infer_url = serializers.SerializerMethodField()
    running = serializers.SerializerMethodField()

    class Meta:
        model = Endpoint
        fields = [
            "id", "slug", "name", "usecase", "usecase_id", "environment", "rate_limit_rps", "burst", "infer_url", "running", "created_at",
        ]  # fmt: skip

    def get_infer_url(self, endpoint: Endpoint) -> str:
        """Open Inference Protocol."""
        return f"{settings.GATEWAY_URL}/v2/models/{endpoint.slug}/infer"

    def get_running(self, endpoint: Any) -> list[dict[str, Any]]:
        """Deployments that are to run."""
        return [
            {
                "id": str(d.id), "model_version": d.model_version_label, "role": d.role, "weight": d.weight, "observed": d.observed,
                "ready": d.is_ready, "host": d.host.name,
            }
            for d in endpoint.running
        ]  # fmt: skip


class OpennessSerializer(serializers.Serializer):
    """What gateways counted since `since`. callers: keys that asked; callers_refused: those of them that were turned away at least once."""

    since = serializers.DateTimeField()
    admitted = serializers.IntegerField()
    refused = serializers.IntegerField()
    callers = serializers.IntegerField()
    callers_refused = serializers.IntegerField()
    waiting_for = serializers.DictField(child=serializers.IntegerField(), help_text="phase -> requests turned away until it opens")


class EndpointDetailSerializer(EndpointSerializer):
    """With keys, the last rollouts and rehearsals."""

    keys = serializers.SerializerMethodField()
    rollouts = serializers.SerializerMethodField()
    rehearsals = serializers.SerializerMethodField()
    openness = serializers.SerializerMethodField()

    class Meta(EndpointSerializer.Meta):
        fields = [*EndpointSerializer.Meta.fields, "keys", "rollouts", "rehearsals", "openness"]

    @extend_schema_field(OpennessSerializer(allow_null=True))
    def get_openness(self, endpoint: Endpoint) -> dict[str, Any] | None:
        """Requests of the last 7 days that were let in or turned away by rollout phases; null without a plan."""
        found = selectors.openness(endpoint)
        return OpennessSerializer(found).data if found else None

    def get_keys(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        """All keys, newest first, without secrets."""
        return list(KeySerializer(endpoint.keys.order_by("-id")[:100], many=True).data)

    def get_rollouts(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        """The last ten."""
        rows = selectors.rollouts(self.context["actor"], endpoint_id=endpoint.id)[:10]
        return [{k: v for k, v in row.items() if k != "deployment"} for row in RolloutSerializer(rows, many=True).data]

    def get_rehearsals(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        """The last ten."""
        return list(RehearsalSerializer(selectors.rehearsals(self.context["actor"], endpoint_id=endpoint.id)[:10], many=True).data)


class NewEndpointSerializer(serializers.Serializer):
    """An endpoint of a use case in one environment."""

    usecase = serializers.CharField(help_text="id or slug")
    environment = serializers.ChoiceField(choices=["pilot", "production"])
    name = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)
    slug = serializers.CharField(required=False, default="", allow_blank=True, max_length=80)
    rate_limit_rps = serializers.FloatField(required=False, default=100.0)
    burst = serializers.IntegerField(required=False, allow_null=True, default=None)


class RollBackSerializer(serializers.Serializer):
    """Why, for whoever reads the trail."""

    reason = serializers.CharField(max_length=2000)


class StopSerializer(serializers.Serializer):
    """Why; needed when traffic is taken away."""

    reason = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)

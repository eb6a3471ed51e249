"""Load tests in JSON."""

from rest_framework import serializers

from apps.loadtests.models import LoadRun


class LoadRunSerializer(serializers.ModelSerializer):
    """A run and what it measured; figures are null until it is done."""

    endpoint = serializers.SlugField(source="deployment.endpoint.slug", read_only=True)
    usecase = serializers.SlugField(source="deployment.endpoint.usecase.slug", read_only=True)
    model_version = serializers.CharField(source="model_version_label", read_only=True)
    host = serializers.CharField(source="deployment.host.name", read_only=True)

    class Meta:
        model = LoadRun
        fields = [
            "id", "deployment_id", "endpoint", "usecase", "host", "model_version", "artifact_digest", "multiplier", "projected_rps",
            "rate_rps", "duration_s", "seed", "schedule", "state", "passed", "detail", "latency_target_ms", "max_error_share", "sent",
            "completed", "errors", "error_share", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms", "mean_ms", "max_send_lag_ms",
            "throughput_rps", "cost_per_1k", "currency", "rate_card", "order_id", "requested_by", "started_at", "finished_at", "created_at",
        ]  # fmt: skip


class NewLoadRunSerializer(serializers.Serializer):
    """How much load, for how long, on which deployment."""

    deployment = serializers.UUIDField()
    multiplier = serializers.FloatField(help_text="times the projected load of the use case")
    duration_s = serializers.FloatField(help_text="seconds, 1 to 900")
    examples = serializers.ListField(
        child=serializers.DictField(), required=False, help_text="rows to send; none: the model's own input example"
    )
    seed = serializers.IntegerField(required=False, min_value=0)
    max_error_share = serializers.FloatField(required=False, help_text="share of requests that may fail, 0 to 1")

"""Monitoring in JSON."""

from typing import Any

from rest_framework import serializers

from apps.monitoring.models import Incident, Monitor, MonitorWindow, PredictionLabel


class WindowSerializer(serializers.ModelSerializer):
    """What a monitor found in one window."""

    monitor_id = serializers.UUIDField(read_only=True)
    kind = serializers.CharField(source="monitor.kind", read_only=True)

    class Meta:
        model = MonitorWindow
        fields = ["id", "monitor_id", "kind", "started_at", "ended_at", "n", "state", "statistics", "created_at"]


class MonitorSerializer(serializers.ModelSerializer):
    """A monitor with what its reference is, not the bins themselves."""

    endpoint = serializers.CharField(source="endpoint.slug", read_only=True)
    usecase = serializers.SlugField(source="endpoint.usecase.slug", read_only=True)
    reference = serializers.SerializerMethodField()

    class Meta:
        model = Monitor
        fields = [
            "id", "endpoint", "endpoint_id", "usecase", "kind", "name", "config", "reference", "reference_digest", "active", "cursor_at",
            "created_by", "created_at",
        ]  # fmt: skip

    def get_reference(self, monitor: Monitor) -> dict[str, Any] | None:
        """Rows, source and feature names."""
        if not monitor.reference:
            return None
        return {"n": monitor.reference["n"], "source": monitor.reference["source"], "features": sorted(monitor.reference["features"])}


class NewMonitorSerializer(serializers.Serializer):
    """What to watch and from which reference."""

    endpoint = serializers.CharField(help_text="id or slug")
    kind = serializers.ChoiceField(choices=["drift", "cost", "latency"])
    name = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)
    config = serializers.DictField(required=False, default=dict, help_text="settings of this kind; see the reference")
    reference = serializers.DictField(
        required=False, default=dict, help_text='drift: {"rows": [...], "source": ...}, {"since", "until"} or {"monitor": id}'
    )
    since = serializers.DateTimeField(required=False, allow_null=True, default=None)


class EvaluationSerializer(serializers.Serializer):
    """What a look gave: a window, or why there is none yet."""

    window = WindowSerializer(allow_null=True)
    detail = serializers.CharField()
    incident_id = serializers.CharField()


class LabelSerializer(serializers.Serializer):
    """What turned out to be true for one row of one request."""

    request_id = serializers.CharField(max_length=128)
    row = serializers.IntegerField(default=0, min_value=0)
    label = serializers.FloatField()  # type: ignore[assignment]


class LabelsSerializer(serializers.Serializer):
    """A batch of labels, at most 20,000."""

    labels = LabelSerializer(many=True)
    strict = serializers.BooleanField(default=False, help_text="refuse the batch when a label has no captured prediction")
    correct = serializers.BooleanField(default=False, help_text="let a label that contradicts an earlier one take its place")


class RowOfRequestSerializer(serializers.Serializer):
    """One row of one request."""

    request_id = serializers.CharField()
    row = serializers.IntegerField()


class ContradictionSerializer(RowOfRequestSerializer):
    """A label that differs from the one that is kept."""

    kept = serializers.FloatField()
    sent = serializers.FloatField()


class LabelReportSerializer(serializers.Serializer):
    """What became of a batch; the two lists name the first 20."""

    accepted = serializers.IntegerField()
    repeated = serializers.IntegerField()
    contradicting = serializers.IntegerField(help_text="known with another value, which stays")
    corrected = serializers.IntegerField(help_text="took the place of another value, which is kept beside it")
    unmatched = serializers.IntegerField(help_text="taken, but no prediction is captured for them (yet)")
    contradictions = ContradictionSerializer(many=True)
    without_prediction = RowOfRequestSerializer(many=True)


class KeptLabelSerializer(serializers.ModelSerializer):
    """A label as it was received; `corrected_to` where another took its place, `matched_at` null while no prediction is captured."""

    corrected_to = serializers.FloatField(source="superseded_by.label", read_only=True, default=None, allow_null=True)
    label = serializers.FloatField()  # type: ignore[assignment]

    class Meta:
        model = PredictionLabel
        fields = ["id", "request_id", "row", "label", "received_at", "received_from", "matched_at", "corrected_to"]


class VersionCountSerializer(serializers.Serializer):
    """What one version answered."""

    deployment_id = serializers.CharField()
    model_version = serializers.CharField()
    shadow = serializers.BooleanField()
    rows = serializers.IntegerField()
    requests = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]
    share = serializers.FloatField(allow_null=True)


class CaptureCountsSerializer(serializers.Serializer):
    """What the versions of an endpoint answered in a time."""

    endpoint = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    total = serializers.IntegerField()
    versions = VersionCountSerializer(many=True)


class IncidentSerializer(serializers.ModelSerializer):
    """An incident."""

    usecase = serializers.CharField(source="usecase.slug", read_only=True)
    endpoint = serializers.CharField(source="endpoint.slug", read_only=True, default=None)
    deployment = serializers.CharField(source="deployment.model_version_label", read_only=True, default=None)

    class Meta:
        model = Incident
        fields = [
            "id", "usecase", "endpoint", "deployment", "deployment_id", "monitor_id", "window_id", "rollout_id", "decision_id", "hold_id",
            "severity", "title", "detail", "numbers", "source", "opened_at", "opened_by", "closed_at", "closed_by", "resolution",
        ]  # fmt: skip


class NewIncidentSerializer(serializers.Serializer):
    """Something a person saw."""

    endpoint = serializers.CharField(help_text="id or slug")
    severity = serializers.ChoiceField(choices=["low", "medium", "high", "critical"])
    title = serializers.CharField(max_length=300)
    detail = serializers.CharField(max_length=10_000)
    deployment = serializers.UUIDField(required=False, allow_null=True, default=None)
    hold = serializers.BooleanField(default=True, help_text="suspend the deployment's decision while it is open")


class ResolutionSerializer(serializers.Serializer):
    """What was done about it."""

    resolution = serializers.CharField(max_length=10_000)

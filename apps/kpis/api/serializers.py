"""KPIs in JSON."""

from dataclasses import asdict
from typing import Any

from rest_framework import serializers

from apps.kpis.models import Baseline, CostEntry, Kpi, Measurement, RateCard, ValueConversion
from apps.kpis.rules.effects import Effect
from apps.kpis.rules.rows import MODES
from apps.usecases.api.serializers import AccountField


class KpiSerializer(serializers.ModelSerializer):
    """A definition; `usecase` is the use case's slug."""

    usecase = serializers.SlugField(source="usecase.slug", read_only=True)
    owner = AccountField(read_only=False)

    class Meta:
        model = Kpi
        fields = [
            "id", "usecase", "slug", "name", "question", "dimension", "unit", "direction", "aggregation", "scale", "target", "floor",
            "cadence", "owner", "source", "primary", "created_at",
        ]  # fmt: skip


class NewKpiSerializer(serializers.Serializer):
    """A new KPI of a use case (id or slug)."""

    usecase = serializers.CharField()
    name = serializers.CharField(max_length=200)
    slug = serializers.SlugField(max_length=80, required=False)
    question = serializers.CharField(required=False, allow_blank=True)
    dimension = serializers.ChoiceField(choices=Kpi.Dimension.choices)
    unit = serializers.CharField(max_length=50)
    direction = serializers.ChoiceField(choices=Kpi.Direction.choices)
    aggregation = serializers.ChoiceField(choices=Kpi.Aggregation.choices)
    scale = serializers.FloatField(required=False)
    target = serializers.FloatField(required=False, allow_null=True)
    floor = serializers.FloatField(required=False, allow_null=True)
    cadence = serializers.CharField(required=False)
    owner = AccountField(required=False)
    source = serializers.CharField(required=False, allow_blank=True)  # type: ignore[assignment]
    primary = serializers.BooleanField(required=False)


class ChangeKpiSerializer(NewKpiSerializer):
    """Only what is given changes."""

    usecase = None  # type: ignore[assignment]
    slug = None  # type: ignore[assignment]


class MeasurementSerializer(serializers.ModelSerializer):
    """One measured period; `superseded_by` is set when it was corrected."""

    class Meta:
        model = Measurement
        fields = [
            "id", "period_start", "period_end", "value", "numerator", "denominator", "n", "variance", "source", "version_label",
            "external_id", "origin", "recorded_by", "counts", "received_at", "superseded_by",
        ]  # fmt: skip


class BatchSerializer(serializers.Serializer):
    """Rows {period_start, period_end, value | numerator, denominator, n, variance, source, version_label, external_id}."""

    rows = serializers.ListField(child=serializers.JSONField())
    mode = serializers.ChoiceField(choices=MODES, default="all")


class RefusedRowSerializer(serializers.Serializer):
    """A bad row, counted from 0, with what is wrong by field."""

    row = serializers.IntegerField()
    errors = serializers.DictField(child=serializers.CharField())  # type: ignore[assignment]


class ReportSerializer(serializers.Serializer):
    """What became of a batch."""

    accepted = serializers.IntegerField()
    corrected = serializers.IntegerField()
    repeated = serializers.IntegerField()
    refused = RefusedRowSerializer(many=True)


class BaselineSerializer(serializers.ModelSerializer):
    """A frozen baseline; spread is the standard error of the value."""

    class Meta:
        model = Baseline
        fields = [
            "id", "period_start", "period_end", "value", "spread", "n", "method", "digest", "frozen_at", "frozen_by", "note",
            "superseded_at",
        ]  # fmt: skip


class NewBaselineSerializer(serializers.Serializer):
    """The period to freeze; `attested_value` where nothing can be measured."""

    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField()
    note = serializers.CharField(required=False, allow_blank=True)
    attested_value = serializers.FloatField(required=False, allow_null=True)


class ConversionSerializer(serializers.ModelSerializer):
    """What one unit of improvement is worth."""

    signed_off_by = serializers.EmailField(source="signed_off_by.email", read_only=True)

    class Meta:
        model = ValueConversion
        fields = ["id", "value_per_unit", "currency", "per_n", "note", "signed_off_by", "signed_off_at"]
        read_only_fields = ["id", "signed_off_at"]


class RateCardSerializer(serializers.ModelSerializer):
    """Prices an hour, a GiB hour, a thousand requests."""

    name = serializers.CharField(max_length=100, default="default")

    class Meta:
        model = RateCard
        fields = ["id", "name", "cpu_hour", "gpu_hour", "memory_gib_hour", "per_1k_requests", "currency", "created_at"]
        read_only_fields = ["id", "created_at"]


class CostSerializer(serializers.ModelSerializer):
    """What running cost over a period."""

    external_id = serializers.CharField(max_length=200)

    class Meta:
        model = CostEntry
        fields = ["id", "period_start", "period_end", "amount", "currency", "source", "external_id", "received_at"]
        read_only_fields = ["id", "received_at"]


class EffectSerializer(serializers.Serializer):
    """A comparison with the baseline; see apps/kpis/rules/effects.py for the methods."""

    enough = serializers.BooleanField()
    method = serializers.CharField()
    detail = serializers.CharField()
    baseline = serializers.FloatField(allow_null=True)
    current = serializers.FloatField(allow_null=True)
    n_baseline = serializers.IntegerField()
    n_current = serializers.IntegerField()
    periods_baseline = serializers.IntegerField()
    periods_current = serializers.IntegerField()
    difference = serializers.FloatField(allow_null=True)
    difference_low = serializers.FloatField(allow_null=True)
    difference_high = serializers.FloatField(allow_null=True)
    improvement = serializers.FloatField(allow_null=True)
    improvement_low = serializers.FloatField(allow_null=True)
    improvement_high = serializers.FloatField(allow_null=True)


class OriginSerializer(serializers.Serializer):
    """Rows of one source: measured by the portal, or given by somebody; `share` is of all observations."""

    origin = serializers.CharField()
    by = serializers.CharField()
    counts = serializers.CharField()
    n = serializers.IntegerField()
    rows = serializers.IntegerField()
    share = serializers.FloatField()


class MeasuredEffectSerializer(EffectSerializer):
    """A comparison, and who measured the rows behind it."""

    origins = OriginSerializer(many=True)


def value_json(found: dict[str, Any]) -> dict[str, Any]:
    """selectors.value as JSON."""
    return found | {
        "kpis": [
            {
                **{k: entry[k] for k in ("low", "value", "high", "measured", "months", "detail")},
                "origins": [asdict(o) for o in entry["origins"]],
                "kpi": {"id": str(entry["kpi"].id), "slug": entry["kpi"].slug, "name": entry["kpi"].name},
                "conversion": ConversionSerializer(entry["conversion"]).data,
                "effect": effect_json(entry["effect"]),
            }
            for entry in found["kpis"]
        ]
    }


def effect_json(effect: Effect) -> dict[str, Any]:
    """An effect as JSON."""
    return dict(EffectSerializer(effect).data)

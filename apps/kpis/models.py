"""KPIs of a use case: definitions, measurements, frozen baselines, what an effect is worth and what running costs."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from apps.core.clock import now
from apps.core.models import BaseModel


class Kpi(BaseModel):
    """One figure by which a use case is judged.

    aggregation: how measurements of several periods become one value: `mean` (weighted by n), `sum`, `ratio` (sum of
    numerators over sum of denominators, times `scale`), `percentile` (mean of the periods' percentiles, weighted by n).
    """

    class Direction(models.TextChoices):
        """Which way is better."""

        HIGHER = "higher"
        LOWER = "lower"

    class Aggregation(models.TextChoices):
        """How periods combine."""

        MEAN = "mean"
        SUM = "sum"
        RATIO = "ratio"
        PERCENTILE = "percentile"

    class Dimension(models.TextChoices):
        """The four sides a use case is judged from."""

        BUSINESS = "business"
        QUALITY = "quality"
        TECHNICAL = "technical"
        ADOPTION = "adoption"

    usecase = models.ForeignKey("usecases.UseCase", on_delete=models.PROTECT, related_name="kpis")
    slug = models.SlugField(max_length=80)
    name = models.CharField(max_length=200)
    question = models.TextField(blank=True, default="")
    dimension = models.CharField(max_length=20, choices=Dimension.choices)
    unit = models.CharField(max_length=50)
    direction = models.CharField(max_length=10, choices=Direction.choices)
    aggregation = models.CharField(max_length=20, choices=Aggregation.choices)
    scale = models.FloatField(default=1.0)
    target = models.FloatField(null=True)
    floor = models.FloatField(null=True)
    cadence = models.CharField(max_length=20, default="monthly")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="owned_kpis")
    source = models.CharField(max_length=300, blank=True, default="")
    primary = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["usecase", "slug"], name="kpis_slug_once_a_usecase"),
            models.CheckConstraint(name="kpis_scale_positive", condition=Q(scale__gt=0)),
        ]

    def __str__(self) -> str:
        return self.name


class Measurement(BaseModel):
    """What a KPI was over one period [start, end). A correction is a new row that supersedes the old one.

    value is in the KPI's unit (scale applied). n counts the single observations behind it; variance is theirs, in unit squared.
    origin: `measured` by a monitor of the portal, or `given` by a person or a pipeline (`recorded_by`). counts: what the n
    observations of a measured row are, such as "labelled predictions".
    """

    class Origin(models.TextChoices):
        """Who measured it."""

        MEASURED = "measured"
        GIVEN = "given"

    kpi = models.ForeignKey(Kpi, on_delete=models.PROTECT, related_name="measurements")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    numerator = models.FloatField(null=True)
    denominator = models.FloatField(null=True)
    value = models.FloatField()
    n = models.PositiveIntegerField(default=1)
    variance = models.FloatField(null=True)
    source = models.CharField(max_length=300, blank=True, default="")
    version_label = models.CharField(max_length=300, blank=True, default="")
    external_id = models.CharField(max_length=200)
    origin = models.CharField(max_length=10, choices=Origin.choices, default=Origin.GIVEN)
    recorded_by = models.CharField(max_length=300, blank=True, default="")
    counts = models.CharField(max_length=300, blank=True, default="")
    received_at = models.DateTimeField(default=now)
    superseded_by = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="supersedes")

    class Meta:
        indexes = [models.Index(fields=["kpi", "period_start"], condition=Q(superseded_by=None), name="kpis_current_by_period")]
        constraints = [
            models.UniqueConstraint(fields=["kpi", "external_id"], condition=Q(superseded_by=None), name="kpis_external_id_once"),
            models.CheckConstraint(name="kpis_period_has_length", condition=Q(period_end__gt=F("period_start"))),
            models.CheckConstraint(name="kpis_measured_has_the_mark", condition=Q(origin="given") | Q(external_id__startswith="monitor:")),
        ]


class Baseline(BaseModel):
    """A KPI before the change, frozen: `sample` holds what was read, so that nothing later can alter the comparison.

    spread is the standard error of `value`, in the KPI's unit; null for an attested figure. A trigger forbids any change
    but setting `superseded_at` once.
    """

    kpi = models.ForeignKey(Kpi, on_delete=models.PROTECT, related_name="baselines")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    value = models.FloatField()
    spread = models.FloatField(null=True)
    n = models.PositiveIntegerField()
    method = models.TextField()
    sample = models.JSONField(default=list)
    digest = models.CharField(max_length=80)
    frozen_at = models.DateTimeField()
    frozen_by = models.CharField(max_length=300)
    note = models.TextField(blank=True, default="")
    superseded_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kpi"], condition=Q(superseded_at=None), name="kpis_one_baseline_in_force")]


class ValueConversion(BaseModel):
    """What one unit of improvement is worth, signed off by a person. The newest of a KPI is in force.

    per_n: the improvement counts once for every so many observations (1000 for a cost per 1,000 decisions);
    null when it counts once a period.
    """

    kpi = models.ForeignKey(Kpi, on_delete=models.PROTECT, related_name="conversions")
    value_per_unit = models.DecimalField(max_digits=18, decimal_places=6)
    currency = models.CharField(max_length=3)
    per_n = models.PositiveIntegerField(null=True)
    note = models.TextField(blank=True, default="")
    signed_off_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="value_conversions")
    signed_off_at = models.DateTimeField(default=now)


class RateCard(BaseModel):
    """What computing costs. The newest of a name is in force; older ones stay for figures made with them."""

    name = models.CharField(max_length=100)
    cpu_hour = models.DecimalField(max_digits=14, decimal_places=6)
    gpu_hour = models.DecimalField(max_digits=14, decimal_places=6)
    memory_gib_hour = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    per_1k_requests = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    currency = models.CharField(max_length=3)


class CostEntry(BaseModel):
    """What running a use case cost over a period, as metered by `source`."""

    usecase = models.ForeignKey("usecases.UseCase", on_delete=models.PROTECT, related_name="costs")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    amount = models.DecimalField(max_digits=18, decimal_places=6)
    currency = models.CharField(max_length=3)
    source = models.CharField(max_length=300)
    external_id = models.CharField(max_length=200)
    received_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["usecase", "external_id"], name="kpis_cost_once"),
            models.CheckConstraint(name="kpis_cost_period_has_length", condition=Q(period_end__gt=F("period_start"))),
        ]

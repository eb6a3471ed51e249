"""Monitors over captured predictions and labels, their windows, and incidents."""

from django.db import models
from django.db.models import F, Q

from apps.core.models import BaseModel
from apps.deployments.models import EndpointQuerySet, OfEndpointQuerySet


class WindowQuerySet(EndpointQuerySet):
    """Windows, seen with their monitor's use case."""

    path = "monitor__endpoint__usecase"


class Monitor(BaseModel):
    """A standing question to one endpoint's traffic. `cursor_at`: everything before it has been judged.

    config: see rules.py for the settings of each kind. reference (drift): `{"n", "source", "features": {name: bins}}`.
    """

    class Kind(models.TextChoices):
        """drift: are inputs like the reference; cost: is the live version dearer than the other; latency: is p99 in the target."""

        DRIFT = "drift"
        COST = "cost"
        LATENCY = "latency"

    endpoint = models.ForeignKey("deployments.Endpoint", on_delete=models.PROTECT, related_name="monitors")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    name = models.CharField(max_length=200)
    config = models.JSONField(default=dict)
    reference = models.JSONField(default=dict)
    reference_digest = models.CharField(max_length=71, blank=True, default="")
    active = models.BooleanField(default=True)
    cursor_at = models.DateTimeField()
    created_by = models.CharField(max_length=300)

    objects = OfEndpointQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["endpoint", "kind"], condition=Q(active=True), name="monitoring_one_of_a_kind")]

    def __str__(self) -> str:
        return self.name


class MonitorWindow(BaseModel):
    """What a monitor found in [started_at, ended_at). Windows follow each other without gaps and are written once."""

    class State(models.TextChoices):
        """quiet: nothing to do; too_few: not enough rows to judge; drift and worse: an incident was opened or is open."""

        QUIET = "quiet"
        DRIFT = "drift"
        TOO_FEW = "too_few"
        WORSE = "worse"

    monitor = models.ForeignKey(Monitor, on_delete=models.PROTECT, related_name="windows")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    n = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices)
    statistics = models.JSONField(default=dict)

    objects = WindowQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["monitor", "started_at"], name="monitoring_window_once"),
            models.CheckConstraint(name="monitoring_window_has_length", condition=Q(ended_at__gt=F("started_at"))),
        ]


class Incident(BaseModel):
    """Something went wrong with a model in use. While it is open, the decision named here is on hold."""

    class Severity(models.TextChoices):
        """How soon somebody has to act."""

        LOW = "low"
        MEDIUM = "medium"
        HIGH = "high"
        CRITICAL = "critical"

    usecase = models.ForeignKey("usecases.UseCase", on_delete=models.PROTECT, related_name="incidents")
    endpoint = models.ForeignKey("deployments.Endpoint", null=True, on_delete=models.PROTECT, related_name="incidents")
    deployment = models.ForeignKey("deployments.Deployment", null=True, on_delete=models.PROTECT, related_name="incidents")
    monitor = models.ForeignKey(Monitor, null=True, on_delete=models.PROTECT, related_name="incidents")
    window = models.ForeignKey(MonitorWindow, null=True, on_delete=models.PROTECT, related_name="incidents")
    rollout = models.ForeignKey("deployments.Rollout", null=True, on_delete=models.PROTECT, related_name="incidents")
    severity = models.CharField(max_length=10, choices=Severity.choices)
    title = models.CharField(max_length=300)
    detail = models.TextField()
    numbers = models.JSONField(default=dict)
    source = models.CharField(max_length=100)
    decision_id = models.UUIDField(null=True)
    hold_id = models.UUIDField(null=True)
    opened_at = models.DateTimeField()
    opened_by = models.CharField(max_length=300)
    closed_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=300, blank=True, default="")
    resolution = models.TextField(blank=True, default="")

    objects = EndpointQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["usecase", "-opened_at"])]
        constraints = [
            models.UniqueConstraint(
                fields=["monitor", "deployment"], condition=Q(closed_at=None), name="monitoring_one_open_incident_a_cause"
            ),
        ]

    def __str__(self) -> str:
        return self.title


class PredictionLabel(BaseModel):
    """What turned out to be true for one row of one request. A correction is a new row that supersedes the old one.

    first_received_at: when the row's first label came; later than that, no window counts it again. matched_at: when a captured
    prediction was found for it; null while there is none.
    """

    endpoint = models.ForeignKey("deployments.Endpoint", on_delete=models.PROTECT, related_name="labels")
    request_id = models.CharField(max_length=128)
    row = models.PositiveIntegerField(default=0)
    label = models.FloatField()
    received_at = models.DateTimeField()
    received_from = models.CharField(max_length=300, blank=True, default="")
    first_received_at = models.DateTimeField()
    matched_at = models.DateTimeField(null=True)
    superseded_by = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="supersedes")

    objects = OfEndpointQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["endpoint", "received_at"]),
            models.Index(fields=["endpoint", "received_at"], condition=Q(matched_at=None), name="monitoring_label_unmatched"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "request_id", "row"], condition=Q(superseded_by=None), name="monitoring_label_once"
            ),
            models.CheckConstraint(name="monitoring_label_first_before", condition=Q(first_received_at__lte=F("received_at"))),
        ]

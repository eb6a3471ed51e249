"""Load tests of a running deployment, with what they measured and what the throughput costs."""

from django.db import models
from django.db.models import Q

from apps.core.models import BaseModel
from apps.deployments.models import EndpointQuerySet


class RunQuerySet(EndpointQuerySet):
    """Runs, seen with their use case."""

    path = "deployment__endpoint__usecase"


class LoadRun(BaseModel):
    """One open-loop run by the agent beside the engine: arrivals are Poisson, latency counts from the planned send time.

    rate_rps = multiplier x the projected load of the use case at the time of asking. Latencies are milliseconds; error_share
    0..1; cost_per_1k in `currency`, from `rate_card` as it was. passed: p99 within the target, errors and throughput in bounds.
    """

    class State(models.TextChoices):
        """requested: waits to be ordered; sent: the agent has the order."""

        REQUESTED = "requested"
        SENT = "sent"
        DONE = "done"
        FAILED = "failed"

    deployment = models.ForeignKey("deployments.Deployment", on_delete=models.PROTECT, related_name="load_runs")
    model_version_label = models.CharField(max_length=300)
    artifact_digest = models.CharField(max_length=71)
    multiplier = models.FloatField()
    projected_rps = models.FloatField()
    rate_rps = models.FloatField()
    duration_s = models.FloatField()
    seed = models.PositiveIntegerField()
    examples = models.JSONField(default=list)
    state = models.CharField(max_length=10, choices=State.choices, default=State.REQUESTED)
    order_id = models.UUIDField(null=True)
    sent = models.PositiveIntegerField(null=True)
    completed = models.PositiveIntegerField(null=True)
    errors = models.PositiveIntegerField(null=True)
    error_share = models.FloatField(null=True)
    p50_ms = models.FloatField(null=True)
    p90_ms = models.FloatField(null=True)
    p95_ms = models.FloatField(null=True)
    p99_ms = models.FloatField(null=True)
    max_ms = models.FloatField(null=True)
    mean_ms = models.FloatField(null=True)
    max_send_lag_ms = models.FloatField(null=True)
    throughput_rps = models.FloatField(null=True)
    schedule = models.CharField(max_length=20, blank=True, default="")
    cost_per_1k = models.FloatField(null=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    rate_card = models.JSONField(default=dict)
    latency_target_ms = models.FloatField(null=True)
    max_error_share = models.FloatField(default=0.001)
    passed = models.BooleanField(null=True)
    detail = models.TextField(blank=True, default="")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    requested_by = models.CharField(max_length=300)

    objects = RunQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["artifact_digest", "-id"])]
        constraints = [
            models.UniqueConstraint(
                fields=["deployment"], condition=Q(state__in=["requested", "sent"]), name="loadtests_one_run_at_a_time"
            ),
            models.CheckConstraint(name="loadtests_rate_positive", condition=Q(rate_rps__gt=0) & Q(duration_s__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.multiplier:g}x on {self.model_version_label}"

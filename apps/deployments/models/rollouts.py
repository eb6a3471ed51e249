"""How traffic moves from one version to another, and back."""

from django.db import models
from django.db.models import Q

from apps.core.models import BaseModel
from apps.deployments.models.serving import Deployment, Endpoint, OfEndpointQuerySet


class Rollout(BaseModel):
    """How traffic goes from one deployment to another. `step` is the cursor: -1 waits for the engine, then the index in `steps`."""

    class State(models.TextChoices):
        """in_progress until the last step, or until it is taken back."""

        IN_PROGRESS = "in_progress"
        COMPLETED = "completed"
        ROLLED_BACK = "rolled_back"
        FAILED = "failed"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="rollouts")
    from_deployment = models.ForeignKey(Deployment, null=True, on_delete=models.PROTECT, related_name="rollouts_from")
    to_deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="rollouts_to")
    decision_id = models.UUIDField()
    strategy = models.CharField(max_length=20, choices=[("all_at_once", "all_at_once"), ("canary", "canary")])
    steps = models.JSONField(default=list)
    bake_s = models.FloatField(default=0)
    step = models.SmallIntegerField(default=-1)
    state = models.CharField(max_length=15, choices=State.choices, default=State.IN_PROGRESS)
    step_started_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True, default="")
    waiting_for = models.TextField(blank=True, default="")
    finished_at = models.DateTimeField(null=True)
    requested_by = models.CharField(max_length=300)

    objects = OfEndpointQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["endpoint"], condition=Q(state="in_progress"), name="deployments_one_rollout_at_a_time"),
            models.CheckConstraint(
                name="deployments_finished_has_moment",
                condition=Q(state="in_progress", finished_at=None) | (~Q(state="in_progress") & Q(finished_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.to_deployment} on {self.endpoint}"


class RollbackRehearsal(BaseModel):
    """A rollback done for practice on a pilot endpoint. `seconds` from the request to the gateway's confirmation.

    kind: `shift` moves all traffic to another warm version and back; `restart` stops the only engine and starts it again.
    phase is the cursor: away, back | stopping, starting | done.
    """

    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="rehearsals")
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="rehearsals")
    other = models.ForeignKey(Deployment, null=True, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=[("shift", "shift"), ("restart", "restart")])
    phase = models.CharField(max_length=10, default="away")
    artifact_digest = models.CharField(max_length=71)
    weights_before = models.JSONField(default=dict)
    started_at = models.DateTimeField()
    phase_started_at = models.DateTimeField()
    at = models.DateTimeField(null=True)
    seconds = models.FloatField(null=True)
    ok = models.BooleanField(null=True)
    detail = models.TextField(blank=True, default="")
    requested_by = models.CharField(max_length=300)

    objects = OfEndpointQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["endpoint"], condition=Q(ok=None), name="deployments_one_rehearsal_at_a_time"),
        ]


class TrafficShift(BaseModel):
    """One change of weights: who asked, which snapshot carried it, and when every gateway had taken it up."""

    class Kind(models.TextChoices):
        """Why the weights changed."""

        STEP = "step"
        ROLL_BACK = "roll_back"
        REHEARSAL = "rehearsal"
        STOP = "stop"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="shifts")
    rollout = models.ForeignKey(Rollout, null=True, on_delete=models.PROTECT, related_name="shifts")
    rehearsal = models.ForeignKey(RollbackRehearsal, null=True, on_delete=models.PROTECT, related_name="shifts")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    step = models.SmallIntegerField(null=True)
    weights = models.JSONField()
    requested_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True)
    snapshot_version = models.BigIntegerField(null=True)
    confirmed_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True, default="")
    by = models.CharField(max_length=300)

    objects = OfEndpointQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["snapshot_version"], condition=Q(confirmed_at=None), name="deployments_unconfirmed")]

    @property
    def seconds(self) -> float | None:
        """From the request until the gateways routed by it; None while that is not so."""
        return (self.confirmed_at - self.requested_at).total_seconds() if self.confirmed_at else None

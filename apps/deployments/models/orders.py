"""What was ordered of agents, and what they reported."""

from django.db import models
from django.db.models import Q

from apps.core.models import BaseModel
from apps.deployments.models.hosts import Host
from apps.deployments.models.serving import Deployment


class WorkOrder(BaseModel):
    """A signed order to an agent; its id is the order id. `accepted`: the agent reported on it but has not finished."""

    class State(models.TextChoices):
        """superseded: a later order took its place before it was finished."""

        SENT = "sent"
        ACCEPTED = "accepted"
        DONE = "done"
        FAILED = "failed"
        REFUSED = "refused"
        EXPIRED = "expired"
        SUPERSEDED = "superseded"

    OPEN = ("sent", "accepted")

    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="orders")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="orders")
    kind = models.CharField(max_length=10, choices=[("start", "start"), ("stop", "stop"), ("load_test", "load_test")])
    generation = models.PositiveIntegerField()
    envelope = models.JSONField()
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    progress_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.SENT)
    detail = models.TextField(blank=True, default="")

    class Meta:
        indexes = [models.Index(fields=["deployment", "-generation"])]
        constraints = [
            models.UniqueConstraint(fields=["deployment", "generation"], name="deployments_generation_once"),
            models.UniqueConstraint(
                fields=["deployment"],
                condition=Q(state__in=["sent", "accepted"], kind__in=["start", "stop"]),
                name="deployments_one_open_order",
            ),
        ]


class AgentReport(BaseModel):
    """A verified report, kept so that the same one is never taken twice. Heartbeats are not kept."""

    report_id = models.UUIDField()
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="reports")
    kind = models.CharField(max_length=20)
    seq = models.BigIntegerField()
    body = models.JSONField()
    reported_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["received_at"])]
        # Per host: one host must not be able to use up another's report ids.
        constraints = [models.UniqueConstraint(fields=["host", "report_id"], name="deployments_report_once")]


class RefusalTally(BaseModel):
    """How many messages of one source were refused for one reason in one minute; the trail tells the first few and the number."""

    action = models.CharField(max_length=60)
    source = models.CharField(max_length=80)
    reason = models.CharField(max_length=20)
    minute = models.DateTimeField()
    count = models.PositiveIntegerField(default=0)
    last_digest = models.CharField(max_length=80, blank=True, default="")
    summed_up = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["minute", "action", "source", "reason"], name="deployments_refusal_tally_once")]

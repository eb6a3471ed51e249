"""What gateways route by, and what they counted."""

from django.db import models

from apps.core.models import BaseModel
from apps.deployments.models.serving import Endpoint


class RoutingSnapshot(BaseModel):
    """What the gateways route by, signed. `content_digest` is of the endpoints alone, so that nothing new is published for nothing."""

    version = models.BigIntegerField(unique=True)
    envelope = models.JSONField()
    content_digest = models.CharField(max_length=71)


class GatewayState(BaseModel):
    """The newest snapshot a gateway said it routes by. `name` is its token's: give each gateway a token of its own name.

    counts_since: from then on it counted the requests of every endpoint and has told the portal; None: it does not say that it does.
    """

    name = models.CharField(max_length=200, unique=True)
    version = models.BigIntegerField(default=0)
    seen_at = models.DateTimeField()
    counts_since = models.DateTimeField(null=True)


class PhaseTally(BaseModel):
    """Requests of one key in one hour that one run of a gateway let in (`phase` empty) or turned away until `phase` opens.

    A kill of a gateway loses its last seconds: good for who calls and how much, not for billing.
    """

    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="phase_tallies")
    run = models.UUIDField()
    hour = models.DateTimeField()
    key_prefix = models.CharField(max_length=16)
    phase = models.CharField(max_length=100, blank=True, default="")
    admitted = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["endpoint", "hour"], name="deployments_tally_by_hour")]
        constraints = [models.UniqueConstraint(fields=["run", "endpoint", "hour", "key_prefix", "phase"], name="deployments_tally_once")]

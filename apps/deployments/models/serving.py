"""Endpoints, who may call them, what should run on them, and the engines that did."""

from django.db import models
from django.db.models import Q

from apps.core.actor import Actor
from apps.core.models import BaseModel, VisibleQuerySet
from apps.deployments.models.hosts import Host
from apps.usecases.models import UseCase

ENVIRONMENTS = [("pilot", "pilot"), ("production", "production")]


class EndpointQuerySet(VisibleQuerySet):
    """Endpoints, or rows that belong to one; `path` leads from the row to the use case."""

    path = "usecase"

    def visible_to(self, actor: Actor) -> "EndpointQuerySet":
        """Those of the use cases the actor may see."""
        if actor.sees_everything:
            return self
        return self.filter(**{f"{self.path}__in": UseCase.objects.visible_to(actor).values("id")})

    def changeable_by(self, actor: Actor) -> "EndpointQuerySet":
        """Those of the use cases the actor may change."""
        if actor.is_admin:
            return self
        return self.filter(**{f"{self.path}__in": UseCase.objects.changeable_by(actor).values("id")})


class OfEndpointQuerySet(EndpointQuerySet):
    """Rows with a foreign key `endpoint`."""

    path = "endpoint__usecase"


class Endpoint(BaseModel):
    """A public model name of one use case in one environment; `rate_limit_rps` and `burst` make its token bucket."""

    usecase = models.ForeignKey("usecases.UseCase", on_delete=models.PROTECT, related_name="endpoints")
    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=200)
    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    rate_limit_rps = models.FloatField(default=100.0)
    burst = models.PositiveIntegerField(default=200)

    objects = EndpointQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="deployments_endpoint_environment", condition=Q(environment__in=["pilot", "production"])),
            models.CheckConstraint(name="deployments_endpoint_limit", condition=Q(rate_limit_rps__gt=0)),
        ]

    def __str__(self) -> str:
        return self.name


class EndpointKey(BaseModel):
    """A caller's key of one endpoint: shown once, stored as a hash. `department` and `team` say whom it calls for: rollout phases go by them."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True)
    key_hash = models.CharField(max_length=64)
    department = models.CharField(max_length=100, blank=True, default="")
    team = models.CharField(max_length=100, blank=True, default="")
    revoked_at = models.DateTimeField(null=True)

    objects = OfEndpointQuerySet.as_manager()


class Deployment(BaseModel):
    """One model version on one host for one endpoint: what should be (`desired`) and what the agent reports (`observed`).

    generation: number of the last order of any kind, strictly growing. observed_generation: that of the last start or stop
    the agent reported on. fence: grows with every change of `desired`, and travels in each order. weight: percent of traffic.
    failures: starts that failed since the last that succeeded.
    """

    class Role(models.TextChoices):
        """live answers; canary answers a share; shadow gets copies; standby is warm and idle."""

        LIVE = "live"
        CANARY = "canary"
        SHADOW = "shadow"
        STANDBY = "standby"

    class Observed(models.TextChoices):
        """The agent's words, `unknown` before the first, and `lost` when the host no longer knows a running engine."""

        UNKNOWN = "unknown"
        DOWNLOADING = "downloading"
        VERIFYING = "verifying"
        STARTING = "starting"
        READY = "ready"
        FAILED = "failed"
        STOPPED = "stopped"
        LOST = "lost"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="deployments")
    model_version = models.ForeignKey("registry.ModelVersion", on_delete=models.PROTECT, related_name="deployments")
    model_version_label = models.CharField(max_length=300)
    artifact_digest = models.CharField(max_length=71)
    decision_id = models.UUIDField()
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="deployments")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.STANDBY)
    weight = models.PositiveSmallIntegerField(default=0)
    desired = models.CharField(max_length=10, default="running", choices=[("running", "running"), ("stopped", "stopped")])
    stop_at = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=1)
    generation = models.PositiveIntegerField(default=0)
    observed = models.CharField(max_length=15, choices=Observed.choices, default=Observed.UNKNOWN)
    observed_generation = models.PositiveIntegerField(default=0)
    observed_at = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(null=True)
    url = models.CharField(max_length=300, blank=True, default="")
    pid = models.PositiveIntegerField(null=True)
    engine_starts = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    timings_ms = models.JSONField(default=dict)
    detail = models.TextField(blank=True, default="")
    requested_by = models.CharField(max_length=300)

    objects = OfEndpointQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["endpoint", "-id"])]
        constraints = [
            models.CheckConstraint(name="deployments_weight_is_percent", condition=Q(weight__lte=100)),
            models.CheckConstraint(name="deployments_stopped_gets_no_traffic", condition=Q(desired="running") | Q(weight=0)),
            models.UniqueConstraint(fields=["endpoint"], condition=Q(role="live", desired="running"), name="deployments_one_live"),
        ]

    def __str__(self) -> str:
        return self.model_version_label

    @property
    def is_ready(self) -> bool:
        """Runs and may take traffic."""
        return self.desired == "running" and self.observed == self.Observed.READY and bool(self.url)


class EngineStart(BaseModel):
    """One real start of an engine process, counted once. `ended_at` ends its cost; memory_bytes: the most that its agent saw it hold."""

    engine_start_id = models.UUIDField(unique=True)
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="starts")
    generation = models.PositiveIntegerField()
    pid = models.PositiveIntegerField(null=True)
    started_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    cpu_cores = models.FloatField(default=1.0)
    gpus = models.PositiveSmallIntegerField(default=0)
    memory_bytes = models.BigIntegerField(null=True)

    class Meta:
        indexes = [models.Index(fields=["deployment", "-started_at"])]

"""Hosts, endpoints, what should run on them, what was ordered, what was reported, and where traffic goes."""

from django.db import models
from django.db.models import Q

from apps.core.actor import Actor, Role
from apps.core.models import BaseModel, VisibleQuerySet
from apps.usecases.models import UseCase

ENVIRONMENTS = [("pilot", "pilot"), ("production", "production")]


class HostQuerySet(VisibleQuerySet):
    """Serving hosts, seen by those who deploy or audit."""

    def visible_to(self, actor: Actor) -> "HostQuerySet":
        """All for engineers, auditors and administrators; none for others."""
        return self if actor.sees_everything or actor.has_role(Role.ML_ENGINEER) else self.none()


class Host(BaseModel):
    """A machine with an agent. `public_key` (base64 of 32 bytes, Ed25519) is what its reports are checked against.

    `last_seen_at` is this side's clock at the last verified report, `heartbeat_at` the agent's own at its last heartbeat.
    `running` is the heartbeat's list of `{deployment_id, generation, state, pid, port, started_at}`. Memory is bytes.
    """

    name = models.CharField(max_length=63, unique=True)
    public_key = models.CharField(max_length=64)
    key_id = models.CharField(max_length=16, unique=True)
    # The key before, while reports that it signed still count.
    previous_public_key = models.CharField(max_length=64, blank=True, default="")
    previous_key_id = models.CharField(max_length=16, blank=True, default="", db_index=True)
    previous_until = models.DateTimeField(null=True)
    state = models.CharField(max_length=10, default="active", choices=[("active", "active"), ("retired", "retired")])
    last_seen_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    cpu_count = models.PositiveIntegerField(null=True)
    memory_bytes = models.BigIntegerField(null=True)
    gpus = models.JSONField(default=list)
    engines = models.JSONField(default=list)
    running = models.JSONField(default=list)
    facts = models.JSONField(default=dict)

    objects = HostQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


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

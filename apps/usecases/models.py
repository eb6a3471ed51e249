"""Use cases: what is decided with AI, for whom, with which people, demands and models, and the stage it has reached."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.module_loading import import_string
from guardian.shortcuts import get_objects_for_user

from apps.core.actor import Actor, Function
from apps.core.clock import now
from apps.core.models import BaseModel, VisibleQuerySet
from apps.usecases import materiality


class Stage(models.TextChoices):
    """Where a use case stands. The allowed moves are in rules.py and, word for word, in the database trigger."""

    PROPOSAL = "proposal"
    POC = "poc"
    PILOT = "pilot"
    PRODUCTION = "production"
    RETIRED = "retired"
    ON_HOLD = "on_hold"
    STOPPED = "stopped"


class RiskTier(models.TextChoices):
    """How much harm a wrong output can do."""

    MINIMAL = "minimal"
    LIMITED = "limited"
    HIGH = "high"


class Exposure(models.TextChoices):
    """How many people, decisions and how much money a year hang on the output; materiality.py says where each begins."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Purpose(models.TextChoices):
    """How much the decision touches people."""

    INFORMS = "informs"
    ASSISTS = "assists"
    DECIDES = "decides"
    VITAL = "vital"


class UseCaseQuerySet(VisibleQuerySet):
    """Use cases filtered by who looks."""

    def visible_to(self, actor: Actor) -> "UseCaseQuerySet":
        """Own ones, those granted to the person, and, for an approver or their delegate, those with a gate that needs their function."""
        if actor.sees_everything:
            return self
        return self.filter(self._own(actor) | self._granted(actor, ["view_usecase", "change_usecase"]) | self._signed_by(actor))

    def changeable_by(self, actor: Actor) -> "UseCaseQuerySet":
        """Those the actor may change: own ones, granted ones, all for administrators."""
        if actor.is_admin:
            return self
        return self.filter(self._own(actor) | self._granted(actor, ["change_usecase"]))

    @staticmethod
    def _own(actor: Actor) -> Q:
        person = actor.user_id
        return Q(owner_id=person) | Q(sponsor_id=person) | Q(created_by_id=person) if person else Q(pk__in=[])

    def _granted(self, actor: Actor, permissions: list[str]) -> Q:
        if not actor.user_id:
            return Q(pk__in=[])
        from apps.accounts.models import User

        granted = get_objects_for_user(
            User(id=actor.user_id), permissions, klass=UseCase, any_perm=True, with_superuser=False, accept_global_perms=False
        )
        return Q(pk__in=granted.values("pk"))

    @staticmethod
    def _signed_by(actor: Actor) -> Q:
        if not actor.user_id:
            return Q(pk__in=[])
        # Delegations lie above use cases, which ask by name: settings.USECASE_DELEGATIONS.
        delegated = import_string(settings.USECASE_DELEGATIONS)(actor.user_id)
        opened = FunctionAccess.objects.filter(Q(function__in=sorted(actor.functions)) | Q(function__in=delegated))
        return Q(pk__in=opened.values("usecase_id"))


class UseCase(BaseModel):
    """One use of AI. Its stage is changed only by inserting a StageMove (a database trigger applies it)."""

    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=200)
    problem = models.TextField()
    decision_supported = models.TextField(blank=True, default="")
    output_users = models.TextField(blank=True, default="")
    sponsor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="sponsored_usecases")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="owned_usecases")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="created_usecases")
    risk_tier = models.CharField(max_length=20, choices=RiskTier.choices)
    risk_reason = models.TextField(blank=True, default="")
    # Together its materiality, from which the tier follows; empty: not said yet.
    exposure = models.CharField(max_length=20, choices=Exposure.choices, blank=True, default="", db_default="")
    purpose = models.CharField(max_length=20, choices=Purpose.choices, blank=True, default="", db_default="")
    stage = models.CharField(max_length=20, choices=Stage.choices, default=Stage.PROPOSAL)
    stage_since = models.DateTimeField(default=now)
    lesson = models.TextField(blank=True, default="")
    # The use case whose idea this one builds anew.
    predecessor = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="successors")
    currency = models.CharField(max_length=3, default="EUR")

    objects = UseCaseQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["stage"]), models.Index(fields=["owner"])]
        constraints = [
            models.CheckConstraint(name="usecases_known_stage", condition=Q(stage__in=Stage.values)),
            models.CheckConstraint(name="usecases_known_tier", condition=Q(risk_tier__in=RiskTier.values)),
            models.CheckConstraint(name="usecases_known_exposure", condition=Q(exposure__in=["", *Exposure.values])),
            models.CheckConstraint(name="usecases_known_purpose", condition=Q(purpose__in=["", *Purpose.values])),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def computed_tier(self) -> str:
        """The tier that exposure and purpose make; empty while they are not said."""
        return materiality.tier_of(self.exposure, self.purpose)


class TierException(BaseModel):
    """A lower risk tier than follows, asked for with a reason; in force once a risk owner has signed, for exactly what it was asked for.

    A trigger lets nothing change but its answer, once, and its end.
    """

    class State(models.TextChoices):
        """asked: waits for a risk owner; signed: in force; ended: what it was signed for no longer holds."""

        ASKED = "asked"
        SIGNED = "signed"
        REFUSED = "refused"
        ENDED = "ended"

    usecase = models.ForeignKey(UseCase, on_delete=models.PROTECT, related_name="tier_exceptions")
    exposure = models.CharField(max_length=20, choices=Exposure.choices)
    purpose = models.CharField(max_length=20, choices=Purpose.choices)
    from_tier = models.CharField(max_length=20, choices=RiskTier.choices)
    tier = models.CharField(max_length=20, choices=RiskTier.choices)
    reason = models.TextField()
    state = models.CharField(max_length=20, choices=State.choices, default=State.ASKED)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="asked_tier_exceptions")
    asked_at = models.DateTimeField()
    signer = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="signed_tier_exceptions")
    printed_name = models.CharField(max_length=200, blank=True, default="")
    method = models.CharField(max_length=50, blank=True, default="")
    comment = models.TextField(blank=True, default="")
    signed_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    end_reason = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["usecase"], condition=Q(state="asked"), name="usecases_one_tier_asked_at_a_time"),
            models.UniqueConstraint(fields=["usecase"], condition=Q(state="signed"), name="usecases_one_tier_exception_in_force"),
            models.CheckConstraint(name="usecases_tier_exception_has_reason", condition=~Q(reason="")),
            models.CheckConstraint(
                name="usecases_tier_exception_is_signed",
                condition=Q(state="asked", signer=None)
                | (~Q(state="asked") & Q(signer__isnull=False, signed_at__isnull=False))
                | Q(state="ended"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.from_tier} to {self.tier}"


class Requirements(BaseModel):
    """What the use case demands beside being right. Load tests, monitors and gates read it."""

    usecase = models.OneToOneField(UseCase, on_delete=models.PROTECT, related_name="requirements")
    latency_p99_ms = models.FloatField(null=True)
    availability_pct = models.FloatField(null=True)
    freshness_hours = models.FloatField(null=True)
    concurrent_users = models.PositiveIntegerField(null=True)
    projected_rps = models.FloatField(null=True)
    peak_factor = models.FloatField(default=10.0)


class IntegrationPoint(BaseModel):
    """A system the use case reads from or writes to."""

    usecase = models.ForeignKey(UseCase, on_delete=models.PROTECT, related_name="integrations")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=50, blank=True, default="")
    direction = models.CharField(max_length=10, choices=[("in", "in"), ("out", "out"), ("both", "both")])
    owner = models.CharField(max_length=200, blank=True, default="")
    note = models.TextField(blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["usecase", "name"], name="usecases_integration_once")]


class UsedModel(BaseModel):
    """A registered model that serves this use case."""

    usecase = models.ForeignKey(UseCase, on_delete=models.PROTECT, related_name="used_models")
    model = models.ForeignKey("registry.RegisteredModel", on_delete=models.PROTECT, related_name="used_by")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["usecase", "model"], name="usecases_model_once")]


class StageMove(BaseModel):
    """One move between stages. Inserting it is the only way to change a stage; append-only; a decision moves once."""

    usecase = models.ForeignKey(UseCase, on_delete=models.PROTECT, related_name="moves")
    from_stage = models.CharField(max_length=20, choices=Stage.choices)
    to_stage = models.CharField(max_length=20, choices=Stage.choices)
    moved_at = models.DateTimeField(default=now)
    decision_id = models.UUIDField(null=True, unique=True)
    reason = models.TextField(blank=True, default="")
    by = models.CharField(max_length=300)

    class Meta:
        indexes = [models.Index(fields=["usecase", "moved_at"])]


class Person(BaseModel):
    """Somebody's part in a use case, for people to find each other. Access is given by grants, not by this."""

    usecase = models.ForeignKey(UseCase, on_delete=models.PROTECT, related_name="people")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="usecase_parts")
    part = models.CharField(max_length=50)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["usecase", "user", "part"], name="usecases_part_once")]


class FunctionAccess(BaseModel):
    """Approvers of this function may read the use case, since a gate needed them. It stays after the gate."""

    usecase = models.ForeignKey(UseCase, on_delete=models.PROTECT, related_name="function_access")
    function = models.CharField(max_length=20, choices=[(f.value, f.value) for f in Function])

    class Meta:
        constraints = [models.UniqueConstraint(fields=["usecase", "function"], name="usecases_function_once")]


class RolloutPhase(BaseModel):
    """One phase of the rollout in production: who it covers, and whether it is open to them.

    departments: names of departments or teams, as callers' keys carry them; empty: all. percent: of the users among these; null: all.
    Opened by a live decision about this very phase alone (a trigger sees to it); who an open phase covers does not change.
    position is null once the phase was dropped.
    """

    class State(models.TextChoices):
        """planned until a decision opens it; closed once it was rolled back; dropped when it was never opened and is not wanted."""

        PLANNED = "planned"
        OPEN = "open"
        CLOSED = "closed"
        DROPPED = "dropped"

    usecase = models.ForeignKey(UseCase, on_delete=models.PROTECT, related_name="phases")
    position = models.PositiveSmallIntegerField(null=True)
    name = models.CharField(max_length=100)
    departments = models.JSONField(default=list)
    percent = models.PositiveSmallIntegerField(null=True)
    planned_on = models.DateField()
    entry_criteria = models.TextField()
    # Checks that its gate asks for beside those of the policy: [{"check", "with"}].
    checks = models.JSONField(default=list)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="owned_phases")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLANNED)
    decision_id = models.UUIDField(null=True, unique=True)
    opened_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    close_reason = models.TextField(blank=True, default="")
    closed_by = models.CharField(max_length=300, blank=True, default="")

    objects = VisibleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["usecase", "position"], name="usecases_phase_order", deferrable=models.Deferrable.DEFERRED),
            models.UniqueConstraint(fields=["usecase", "name"], condition=~Q(state="dropped"), name="usecases_phase_name_once"),
            models.CheckConstraint(name="usecases_phase_percent", condition=Q(percent=None) | Q(percent__gte=1, percent__lte=100)),
            models.CheckConstraint(
                name="usecases_dropped_phase_has_no_place",
                condition=Q(state="dropped", position=None) | (~Q(state="dropped") & Q(position__isnull=False)),
            ),
            models.CheckConstraint(
                name="usecases_open_phase_has_decision",
                condition=~Q(state="open") | Q(decision_id__isnull=False, opened_at__isnull=False),
            ),
            models.CheckConstraint(
                name="usecases_closed_phase_has_reason", condition=~Q(state="closed") | (~Q(close_reason="") & Q(closed_at__isnull=False))
            ),
        ]

    def __str__(self) -> str:
        return self.name

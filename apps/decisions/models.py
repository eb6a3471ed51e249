"""Decisions and what suspends or ends them. A decision is never changed: revocations and holds are rows beside it."""

from django.db import models

from apps.core.clock import now
from apps.core.models import BaseModel, VisibleQuerySet


class Decision(BaseModel):
    """One passed gate: this use case may move, or this artifact may run there, until the expiry.

    Subjects are ids without foreign keys, because the apps that own them lie above. A database trigger forbids change.
    """

    class Kind(models.TextChoices):
        """`stage` moves a use case (and admits the artifact into the stage's environment); `deploy` admits an artifact only; `phase`
        opens a rollout phase in production to the people it covers."""

        STAGE = "stage"
        DEPLOY = "deploy"
        PHASE = "phase"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    usecase_id = models.UUIDField(db_index=True)
    environment = models.CharField(max_length=20, blank=True, default="", choices=[("pilot", "pilot"), ("production", "production")])
    stage_to = models.CharField(max_length=20, blank=True, default="")
    model_version_id = models.UUIDField(null=True)
    model_version_label = models.CharField(max_length=300, blank=True, default="")
    artifact_digest = models.CharField(max_length=80, blank=True, default="")
    phase_id = models.UUIDField(null=True, db_index=True)
    phase_name = models.CharField(max_length=100, blank=True, default="")
    gate_id = models.UUIDField(unique=True)
    evidence_digest = models.CharField(max_length=80)
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    issued_to = models.CharField(max_length=300, blank=True, default="")

    objects = VisibleQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["artifact_digest", "environment", "-issued_at"], name="decisions_by_artifact")]
        constraints = [
            models.CheckConstraint(name="decisions_expire_later", condition=models.Q(expires_at__gt=models.F("issued_at"))),
            models.CheckConstraint(
                name="decisions_environment_needs_artifact",
                condition=models.Q(environment="") | models.Q(artifact_digest__startswith="sha256:"),
            ),
            models.CheckConstraint(
                name="decisions_kind_and_subject",
                condition=(models.Q(kind="stage", phase_id=None) & ~models.Q(stage_to=""))
                | (models.Q(kind="deploy", stage_to="", phase_id=None) & ~models.Q(environment=""))
                | models.Q(kind="phase", stage_to="", environment="", artifact_digest="", phase_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        if self.kind == self.Kind.PHASE:
            return f"rollout phase “{self.phase_name}”"
        what = self.model_version_label or "use case"
        return f"{what} to {self.stage_to or self.environment}"


class Revocation(BaseModel):
    """The end of a decision before its expiry. Append-only."""

    decision = models.OneToOneField(Decision, on_delete=models.PROTECT, related_name="revocation")
    reason = models.TextField()
    revoked_at = models.DateTimeField(default=now)
    revoked_by = models.CharField(max_length=300)


class Hold(BaseModel):
    """A pause of a decision, for example by an incident. The decision lives again when its last hold is lifted."""

    decision = models.ForeignKey(Decision, on_delete=models.PROTECT, related_name="holds")
    reason = models.TextField()
    source_type = models.CharField(max_length=50)
    source_id = models.CharField(max_length=100)
    placed_at = models.DateTimeField(default=now)
    placed_by = models.CharField(max_length=300)
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=300, blank=True, default="")
    lift_reason = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["decision", "source_type", "source_id"], condition=models.Q(lifted_at=None), name="decisions_one_open_hold_a_source"
            ),
        ]

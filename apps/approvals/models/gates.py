"""Gates with their frozen evidence, attestations and signatures."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from apps.approvals.models.policies import PolicyVersion
from apps.core.actor import Actor, Function
from apps.core.models import BaseModel, VisibleQuerySet
from apps.usecases.models import UseCase

MEANINGS = ("approved", "rejected", "abstain", "stopped", "rebuild")


class GateQuerySet(VisibleQuerySet):
    """Gates filtered by who looks."""

    def visible_to(self, actor: Actor) -> "GateQuerySet":
        """Those of the use cases the actor may see."""
        if actor.sees_everything:
            return self
        return self.filter(usecase_id__in=UseCase.objects.visible_to(actor).values("id"))

    def requested_by(self, user_id: Any) -> "GateQuerySet":
        """Those this person began or requested."""
        return self.filter(Q(requested_by_id=user_id) | Q(opened_by_id=user_id))


class Gate(BaseModel):
    """One request: to move a use case (`stage`), to bring a model version into an environment it is in (`version`), or to open a
    rollout phase in production (`phase`)."""

    class Kind(models.TextChoices):
        """What passing it allows."""

        STAGE = "stage"
        VERSION = "version"
        PHASE = "phase"

    class State(models.TextChoices):
        """draft: evidence is gathered; open: frozen, waits for signatures. Every other state is an end."""

        DRAFT = "draft"
        OPEN = "open"
        APPROVED = "approved"
        REJECTED = "rejected"
        WITHDRAWN = "withdrawn"
        STOPPED = "stopped"
        REBUILT = "rebuilt"
        LAPSED = "lapsed"

    usecase = models.ForeignKey("usecases.UseCase", on_delete=models.PROTECT, related_name="gates")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    from_stage = models.CharField(max_length=20)
    to_stage = models.CharField(max_length=20)
    environment = models.CharField(max_length=20, blank=True, default="")
    model_version = models.ForeignKey("registry.ModelVersion", null=True, on_delete=models.PROTECT, related_name="gates")
    phase = models.ForeignKey("usecases.RolloutPhase", null=True, on_delete=models.PROTECT, related_name="gates")
    policy = models.ForeignKey(PolicyVersion, on_delete=models.PROTECT, related_name="gates")
    state = models.CharField(max_length=20, choices=State.choices, default=State.DRAFT)
    opened_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="opened_gates")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="requested_gates")
    requested_at = models.DateTimeField(null=True)
    note = models.TextField(blank=True, default="")
    evidence_text = models.TextField(blank=True, default="")
    evidence_digest = models.CharField(max_length=80, blank=True, default="")
    frozen_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(null=True)
    decision = models.OneToOneField("decisions.Decision", null=True, on_delete=models.PROTECT, related_name="gate")

    objects = GateQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["state", "due_at"]), models.Index(fields=["usecase", "-requested_at"])]
        constraints = [
            models.UniqueConstraint(
                fields=["usecase"], condition=Q(kind="stage", state__in=["draft", "open"]), name="approvals_one_stage_gate_at_a_time"
            ),
            models.UniqueConstraint(
                fields=["usecase", "model_version", "environment"],
                condition=Q(kind="version", state__in=["draft", "open"]),
                name="approvals_one_gate_a_version",
            ),
            models.UniqueConstraint(
                fields=["phase"], condition=Q(kind="phase", state__in=["draft", "open"]), name="approvals_one_gate_a_phase"
            ),
            models.CheckConstraint(
                name="approvals_phase_gate_has_phase",
                condition=Q(kind="phase", phase__isnull=False, model_version=None) | (~Q(kind="phase") & Q(phase=None)),
            ),
            models.CheckConstraint(
                name="approvals_frozen_once_open",
                condition=Q(state__in=["draft", "withdrawn"])
                | (~Q(evidence_digest="") & ~Q(evidence_text="") & Q(frozen_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="approvals_approved_has_decision",
                condition=Q(state__in=["approved", "rebuilt"], decision__isnull=False)
                | (~Q(state__in=["approved", "rebuilt"]) & Q(decision__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        if self.kind == self.Kind.VERSION:
            return f"new version into {self.environment}"
        if self.kind == self.Kind.PHASE:
            return f"rollout phase “{self.phase}”"
        return f"{self.from_stage} to {self.to_stage}"


class Attestation(BaseModel):
    """A named person's answer to one item of the policy. The last one in force; older ones stay."""

    gate = models.ForeignKey(Gate, on_delete=models.PROTECT, related_name="attestations")
    item = models.CharField(max_length=100)
    answer = models.CharField(max_length=20, choices=[("yes", "yes"), ("no", "no"), ("not_applicable", "not_applicable")])
    note = models.TextField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="attestations")
    at = models.DateTimeField()
    superseded_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["gate", "item"], condition=Q(superseded_at=None), name="approvals_one_answer_an_item")
        ]


class Signature(BaseModel):
    """A person's signature over the digest of the frozen evidence. A trigger allows nothing but voiding it, once."""

    gate = models.ForeignKey(Gate, on_delete=models.PROTECT, related_name="signatures")
    signer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="signatures")
    # Whom the signer stood in for, by a delegation in force then.
    on_behalf_of = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="signatures_by_delegates")
    on_behalf_of_name = models.CharField(max_length=200, blank=True, default="")
    printed_name = models.CharField(max_length=200)
    function = models.CharField(max_length=20, choices=[(f.value, f.value) for f in Function])
    meaning = models.CharField(max_length=20, choices=[(m, m) for m in MEANINGS])
    # Why; for `stopped` the lesson, for `rebuild` why this architecture cannot go on.
    comment = models.TextField(blank=True, default="")
    # What would change a refusal.
    would_change = models.TextField(blank=True, default="")
    method = models.CharField(max_length=50, default="password")
    signed_at = models.DateTimeField()
    evidence_digest = models.CharField(max_length=80)
    void_at = models.DateTimeField(null=True)
    void_reason = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["gate", "signer"], condition=Q(void_at=None), name="approvals_one_signature_a_person"),
            # Whoever writes it, a person's voice counts once.
            models.UniqueConstraint(
                F("gate"), Coalesce("on_behalf_of", "signer"), condition=Q(void_at=None), name="approvals_one_voice_a_person"
            ),
            models.CheckConstraint(name="approvals_refusal_has_words", condition=Q(meaning="approved") | ~Q(comment="")),
        ]

"""Waivers: what is let pass for a time, on whose word."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from apps.approvals.models.gates import Gate
from apps.core.models import BaseModel


class Waiver(BaseModel):
    """One check or item of one gate, let pass until a day. It counts from the risk owner's signature on.

    A trigger lets it only go on: asked -> signed or refused; signed -> ended. `subject` is the check's or the item's name.
    """

    class State(models.TextChoices):
        """asked: waits for the risk owner; signed: in force until `until`; ended: no longer needed, replaced or run out."""

        ASKED = "asked"
        SIGNED = "signed"
        REFUSED = "refused"
        ENDED = "ended"

    gate = models.ForeignKey(Gate, on_delete=models.PROTECT, related_name="waivers")
    subject = models.CharField(max_length=100)
    title = models.CharField(max_length=1000)
    reason = models.TextField()
    until = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.ASKED)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="asked_waivers")
    asked_at = models.DateTimeField()
    signer = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="signed_waivers")
    printed_name = models.CharField(max_length=200, blank=True, default="")
    method = models.CharField(max_length=50, blank=True, default="")
    comment = models.TextField(blank=True, default="")
    signed_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    end_reason = models.TextField(blank=True, default="")

    class Meta:
        indexes = [models.Index(fields=["state", "until"], name="approvals_waiver_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["gate", "subject", "state"], condition=Q(state__in=["asked", "signed"]), name="approvals_one_waiver_a_subject"
            ),
            models.CheckConstraint(
                name="approvals_signed_waiver_has_signer",
                condition=Q(state="asked", signer=None) | (~Q(state="asked") & Q(signer__isnull=False, signed_at__isnull=False)),
            ),
            models.CheckConstraint(name="approvals_waiver_has_reason", condition=~Q(reason="")),
        ]

    def __str__(self) -> str:
        return f"waiver of {self.subject} until {self.until:%Y-%m-%d}"


class Reminder(BaseModel):
    """Something that was told once: `mark` says which of several times (`30`, `7`, `overdue-2`)."""

    event = models.CharField(max_length=50)
    subject_id = models.UUIDField()
    mark = models.CharField(max_length=30, blank=True, default="")
    told_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "subject_id", "mark"], name="approvals_told_once")]

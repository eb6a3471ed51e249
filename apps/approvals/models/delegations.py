"""Delegations: who signs for whom while they are away."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from apps.core.actor import Function
from apps.core.models import BaseModel


class Delegation(BaseModel):
    """One person signs in a function for another from a moment until another. A trigger allows nothing but ending it, once."""

    delegator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="delegations_given")
    delegate = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="delegations_taken")
    function = models.CharField(max_length=20, choices=[(f.value, f.value) for f in Function])
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.TextField()
    made_by = models.CharField(max_length=300)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        indexes = [models.Index(fields=["delegate", "ends_at"], name="approvals_delegations_to")]
        constraints = [
            models.CheckConstraint(name="approvals_delegation_has_length", condition=Q(ends_at__gt=F("starts_at"))),
            models.CheckConstraint(name="approvals_delegation_to_another", condition=~Q(delegate=F("delegator"))),
        ]

    def __str__(self) -> str:
        return f"{self.function}: {self.delegate} for {self.delegator}"

"""When a person last opened a gate, and what they saw."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from apps.approvals.models.gates import Gate
from apps.core.models import BaseModel


class Look(BaseModel):
    """One row for a person and a gate, moved on whenever they open it; a convenience of theirs, and no evidence of anything.

    `seen` holds the evidence as it stood then. `before` and `before_at` are the look before that: what is new is told against it while
    somebody reads on, reloads or comes back within minutes.
    """

    gate = models.ForeignKey(Gate, on_delete=models.CASCADE, related_name="looks")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="gate_looks")
    looked_at = models.DateTimeField()
    seen = models.JSONField()
    before_at = models.DateTimeField(null=True)
    before = models.JSONField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["gate", "user"], name="approvals_one_look_a_person"),
            models.CheckConstraint(
                name="approvals_look_before_is_whole", condition=Q(before_at=None, before=None) | Q(before_at__isnull=False)
            ),
        ]

"""What the evidence of an open gate came to when the portal last looked."""

from django.db import models
from django.db.models import Q

from apps.approvals.models.gates import Gate
from apps.core.models import BaseModel


class EvidenceWatch(BaseModel):
    """One row an open gate: how much of its evidence reads otherwise than it was frozen, for lists that cannot evaluate it themselves.

    It decides nothing: whoever opens or signs the gate has its evidence evaluated anew. `changed_at`: when a change was first seen.
    """

    gate = models.OneToOneField(Gate, on_delete=models.CASCADE, related_name="watch")
    checked_at = models.DateTimeField(db_index=True)
    changes = models.PositiveIntegerField(default=0)
    first = models.TextField(blank=True, default="")
    changed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="approvals_watch_is_whole",
                condition=Q(changes=0, changed_at=None, first="") | Q(changes__gt=0, changed_at__isnull=False),
            ),
        ]

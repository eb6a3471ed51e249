"""What people say of a dataset, and lineage that other tools report."""

from typing import Any

from django.conf import settings
from django.db import models

from apps.core.models import BaseModel
from apps.registry.models import Dataset
from apps.registry.rules.datasets import SENSITIVITIES


class GovernedDataset(BaseModel):
    """What holds for all versions of a dataset, by its name: who owns it, what may be done with it, how long it is kept."""

    name = models.CharField(max_length=500, unique=True)
    description = models.TextField(blank=True, default="")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    permissions = models.TextField(blank=True, default="")
    licence = models.CharField(max_length=200, blank=True, default="")
    retention = models.TextField(blank=True, default="")
    sensitivity = models.CharField(max_length=20, blank=True, default="", choices=[(s, s) for s in SENSITIVITIES])
    revision = models.PositiveIntegerField(default=0)
    updated_by = models.CharField(max_length=300, blank=True, default="")
    updated_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class LineageEvent(BaseModel):
    """An OpenLineage run event that somebody sent: kept as sent, taken once. `digest` is of the event."""

    digest = models.CharField(max_length=71, unique=True)
    run_id = models.CharField(max_length=64, db_index=True)
    job_namespace = models.CharField(max_length=500)
    job_name = models.CharField(max_length=500)
    event_type = models.CharField(max_length=10, blank=True, default="")
    event_at = models.DateTimeField()
    producer = models.TextField()
    body = models.JSONField()
    received_by = models.CharField(max_length=300)
    received_at = models.DateTimeField()


class RunEdge(BaseModel):
    """A run read or wrote a dataset, as an event said. `run_id` is MLflow's: the UUID of the run without its dashes."""

    run_id = models.CharField(max_length=64, db_index=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="edges")
    direction = models.CharField(max_length=6, choices=[("input", "input"), ("output", "output")])
    event = models.ForeignKey(LineageEvent, on_delete=models.PROTECT, related_name="edges")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run_id", "dataset", "direction"], name="registry_edge_once")]

    def __str__(self) -> str:
        return f"{self.direction} {self.dataset_id}"

    def as_dict(self) -> dict[str, Any]:
        """For an event of the trail."""
        return {"run_id": self.run_id, "dataset": str(self.dataset), "direction": self.direction}

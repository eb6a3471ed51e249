"""Machines that serve."""

from django.db import models

from apps.core.actor import Actor, Role
from apps.core.models import BaseModel, VisibleQuerySet


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

"""The trail's tables as Django reads them.

All four are made by SQL in the migration and unmanaged: append-only, with columns PostgreSQL generates from the recorded
text. Nothing here writes; `services.record` and the sealer do, with SQL of their own.
"""

import json
from typing import Any, NoReturn

from django.db import models
from django.db.models.expressions import RawSQL

from apps.core.actor import Actor
from apps.core.models import VisibleQuerySet


class AppendOnly(models.Model):
    """A row that Django may read and never write."""

    class Meta:
        abstract = True
        managed = False

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: see `services.record`."""
        raise TypeError("the trail is written by apps.audit.services.record alone")

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: the trail is append-only."""
        raise TypeError("the trail is append-only")


class EventQuerySet(VisibleQuerySet):
    """Events, narrowed to what an actor may read."""

    def visible_to(self, actor: Actor, usecase_ids: Any = ()) -> "EventQuerySet":
        """All for auditors, administrators and our own processes; else one's own acts and those of `usecase_ids`."""
        if actor.sees_everything:
            return self
        own = models.Q(actor_id=actor.id)
        if actor.user_id:
            own |= models.Q(actor_id=f"user:{actor.user_id}") | models.Q(on_behalf_of=f"user:{actor.user_id}")
        return self.filter(own | models.Q(usecase_id__in=[str(u) for u in usecase_ids]))

    def with_leaf_index(self) -> "EventQuerySet":
        """Each event with `leaf_index`, its place in the sealed tree; null while it waits for the sealer."""
        sql = "SELECT leaf_index FROM audit_leaf WHERE audit_leaf.event_id = audit_event.id"
        return self.annotate(leaf_index=RawSQL(f"({sql})", [], output_field=models.BigIntegerField(null=True)))  # noqa: S611


class Event(AppendOnly):
    """Something that happened. `payload` is the canonical JSON text that is hashed; the columns below it are generated from it."""

    id = models.UUIDField(primary_key=True)
    payload = models.TextField()
    occurred_at = models.DateTimeField()
    action = models.TextField()
    actor_kind = models.TextField()
    actor_id = models.TextField()
    actor_label = models.TextField()
    on_behalf_of = models.TextField()
    object_type = models.TextField()
    object_id = models.TextField()
    object_label = models.TextField()
    usecase_id = models.TextField(null=True)  # noqa: DJ001  null is what the JSON says when there is none
    decision_id = models.TextField(null=True)  # noqa: DJ001
    request_id = models.TextField()

    objects = EventQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "audit_event"

    def __str__(self) -> str:
        return f"{self.action} {self.id}"

    @property
    def facts(self) -> dict[str, Any]:
        """The recorded text, parsed: `before`, `after`, `reason` and all the columns."""
        parsed: dict[str, Any] = json.loads(self.payload)
        return parsed


class Leaf(AppendOnly):
    """Which event is which leaf of the tree."""

    leaf_index = models.BigIntegerField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    leaf_hash = models.BinaryField()

    class Meta:
        managed = False
        db_table = "audit_leaf"


class Subtree(AppendOnly):
    """Roots of complete subtrees at levels 8, 16, 24, ...: what makes proofs cheap."""

    pk = models.CompositePrimaryKey("level", "position")
    level = models.SmallIntegerField()
    position = models.BigIntegerField()
    root = models.BinaryField()

    class Meta:
        managed = False
        db_table = "audit_subtree"


class Checkpoint(AppendOnly):
    """One signed statement of size and root. `note` is the signed text; the rest is what the sealer needs to go on."""

    tree_size = models.BigIntegerField(primary_key=True)
    root = models.BinaryField()
    note = models.TextField()
    sealed_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "audit_checkpoint"

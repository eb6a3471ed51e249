"""The trail's tables as Django reads them, and the files that people ask for.

The trail's four are made by SQL in the migration and unmanaged: append-only, with columns PostgreSQL generates from the recorded
text. Nothing here writes them; `services.record` and the sealer do, with SQL of their own.
"""

import json
from typing import Any, NoReturn

from django.db import models
from django.db.models.expressions import RawSQL

from apps.core.actor import Actor
from apps.core.models import BaseModel, VisibleQuerySet


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


# Near in time: in a database restored from a dump, transaction ids begin anew and are those of old events.
_OF_ITS_TRANSACTION = (
    "FROM audit_event e WHERE e.xid = audit_row.xid"
    " AND e.occurred_at BETWEEN audit_row.at - interval '1 hour' AND audit_row.at + interval '1 hour'"
)


class RowChangeQuerySet(VisibleQuerySet):
    """Row history. An event tells of a change when it was recorded in the same transaction."""

    def told(self) -> "RowChangeQuerySet":
        """Changes that an event tells of."""
        return self.alias(told=self._told()).filter(told=True)

    def untold(self) -> "RowChangeQuerySet":
        """Changes that none does."""
        return self.alias(told=self._told()).filter(told=False)

    def unrecorded(self) -> "RowChangeQuerySet":
        """Changes for which `history.reconcile` has not recorded an event."""
        recorded = (
            "EXISTS (SELECT 1 FROM audit_event u WHERE u.action = 'audit.row.untold' AND u.object_label = 'row change ' || audit_row.id"
            " AND u.object_id = coalesce(nullif(audit_row.pk, ''), audit_row.table_name))"
        )
        return self.alias(recorded=RawSQL(recorded, [], output_field=models.BooleanField())).filter(recorded=False)  # noqa: S611

    @staticmethod
    def _told() -> RawSQL:
        return RawSQL(f"EXISTS (SELECT 1 {_OF_ITS_TRANSACTION})", [], output_field=models.BooleanField())  # noqa: S611

    def with_event(self) -> "RowChangeQuerySet":
        """Each with the first event of its transaction: `event_id` (null without one), `event_actor_id` and `event_actor`."""
        first = f"(SELECT e.{{}} {_OF_ITS_TRANSACTION} ORDER BY e.id LIMIT 1)"
        return self.annotate(
            event_id=RawSQL(first.format("id"), [], output_field=models.UUIDField(null=True)),  # noqa: S611
            event_actor_id=RawSQL(first.format("actor_id"), [], output_field=models.TextField(null=True)),  # noqa: S611
            event_actor=RawSQL(first.format("actor_label"), [], output_field=models.TextField(null=True)),  # noqa: S611
        )


class RowChange(AppendOnly):
    """What happened to one row of a governed table. `actor`: whom the transaction named itself, empty where its event says it."""

    id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    table_name = models.TextField()
    row_id = models.TextField(db_column="pk")
    operation = models.TextField()
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    actor = models.TextField()
    db_role = models.TextField()

    objects = RowChangeQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "audit_row"

    def __str__(self) -> str:
        return f"{self.operation} of {self.table_name} {self.row_id}"

    @property
    def who(self) -> str:
        """Whom the event names, else the transaction; `with_event` has to have been asked for."""
        return str(getattr(self, "event_actor", None) or self.actor)


class DownloadQuerySet(VisibleQuerySet):
    """Files that were asked for, narrowed to who may take them."""

    def visible_to(self, actor: Actor) -> "DownloadQuerySet":
        """One's own; all for auditors and administrators."""
        if actor.sees_everything:
            return self
        return self.filter(user_id=actor.user_id) if actor.user_id else self.filter(actor_id=actor.id)


class Download(BaseModel):
    """A part of the trail, or an evidence pack, asked for as a file that expires.

    `jsonl` and `csv` are a function of `filters` and `tree_size`: they are written from the trail whenever they are taken, so nothing
    is kept. A `pack` is put together in the background and kept in pieces. `done` of `total`: events written, or documents.
    """

    class Kind(models.TextChoices):
        """What it is."""

        JSONL = "jsonl"
        CSV = "csv"
        PACK = "pack"

    class State(models.TextChoices):
        """waiting, working: a pack is being put together; expired: what was kept is gone."""

        WAITING = "waiting"
        WORKING = "working"
        READY = "ready"
        FAILED = "failed"
        EXPIRED = "expired"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    filters = models.JSONField(default=dict)
    usecase_id = models.UUIDField(null=True)
    decision_id = models.UUIDField(null=True)
    actor_id = models.CharField(max_length=300)
    user_id = models.UUIDField(null=True)
    requested_by = models.CharField(max_length=300)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    step = models.CharField(max_length=200, blank=True, default="")
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    tree_size = models.BigIntegerField(null=True)
    size_bytes = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    detail = models.TextField(blank=True, default="")
    worked_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()

    objects = DownloadQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["user_id", "-id"], name="audit_download_of_person"),
            models.Index(fields=["state"], name="audit_download_to_do", condition=models.Q(state__in=["waiting", "working"])),
        ]
        constraints = [
            models.CheckConstraint(
                name="audit_ready_download_has_a_seal", condition=~models.Q(state="ready") | models.Q(tree_size__isnull=False)
            ),
            models.CheckConstraint(
                name="audit_pack_is_of_a_usecase", condition=~models.Q(kind="pack") | models.Q(usecase_id__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.requested_by}"


class Piece(models.Model):
    """One piece of a kept file; all but the last are of `downloads.PIECE_BYTES`."""

    download = models.ForeignKey(Download, on_delete=models.CASCADE, related_name="pieces")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["download", "number"], name="audit_piece_once")]

    def __str__(self) -> str:
        return f"piece {self.number}"

"""Reads of the trail: search it, read one event, prove it, follow the seal."""

import base64
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F, Func, Q, QuerySet, TextField, Value
from django.utils.module_loading import import_string

from apps.audit.models import Checkpoint, Event, EventQuerySet, Leaf
from apps.audit.sealing import SealBroken, consistency_path, inclusion_path, leaf_hash, verify_consistency, verify_inclusion
from apps.audit.tree import StoredTree
from apps.core.actor import Actor
from apps.core.canonical import canonical_json
from apps.core.clock import now
from apps.core.errors import Conflict, DomainError, Invalid, NotFound

# Names that stand in every event: searching for "reason" means a reason that says so.
_STRUCTURE = '"(action|actor|after|before|decision_id|id|kind|label|object|occurred_at|on_behalf_of|reason|request_id|type|usecase_id|v)":'
MAX_SEARCH_WORDS = 10


class NotSealedYet(Conflict):
    """The event is recorded; the sealer has not reached it."""

    code, title = "not-sealed-yet", "This event is not sealed yet"


class TrailDamaged(DomainError):
    """The stored tree contradicts a signed checkpoint."""

    status, code, title = 500, "trail-damaged", "The trail does not match its seal"


def visible_usecases(actor: Actor) -> Iterable[Any]:
    """Ids of the use cases whose events the actor may read. Apps above answer, through the path in settings.AUDIT_USECASE_SCOPE."""
    path = getattr(settings, "AUDIT_USECASE_SCOPE", "")
    return () if not path or actor.sees_everything else import_string(path)(actor)


def visible_to(actor: Actor) -> EventQuerySet:
    """The events an actor may read, newest first."""
    found: EventQuerySet = Event.objects.visible_to(actor, visible_usecases(actor)).order_by("-id")
    return found


def search(
    actor: Actor,
    *,
    text: str = "",
    action: str = "",
    who: str = "",
    obj: str = "",
    usecase: str = "",
    decision: str = "",
    since: str = "",
    until: str = "",
) -> EventQuerySet:
    """Visible events, newest first, that meet every filter given.

    text: words, each anywhere in what was recorded. action: whole, or its beginning (`approvals`, `approvals.gate`).
    who: id (with or without `user:`) or part of a name. obj: id, type, or `type:id`. since, until: RFC 3339 times or dates;
    `until` is exclusive as a time and inclusive as a date. Raises Invalid for a time that is none.
    """
    found = visible_to(actor)
    if action:
        exact = action.count(".") == 2 and not action.endswith(".")
        found = found.filter(action=action) if exact else found.filter(action__startswith=action.rstrip(".") + ".")
    if who:
        ids = [who, *(f"{kind}:{who}" for kind in ("user", "token", "agent", "system"))]
        found = found.filter(Q(actor_id__in=ids) | Q(on_behalf_of__in=ids) | Q(actor_label__icontains=who))
    if obj:
        kind, _, rest = obj.partition(":")
        found = found.filter(Q(object_id=obj) | Q(object_type=obj) | Q(object_type=kind, object_id=rest))
    if usecase:
        found = found.filter(usecase_id=usecase)
    if decision:
        found = found.filter(decision_id=decision)
    if since:
        found = found.filter(occurred_at__gte=read_moment("since", since))
    if until:
        found = found.filter(occurred_at__lt=read_moment("until", until, whole_day=True))
    return _with_words(found, text)


def _with_words(found: EventQuerySet, text: str) -> EventQuerySet:
    words = text.replace("\x00", "").split()[:MAX_SEARCH_WORDS]
    if not words:
        return found
    told = Func(F("payload"), Value(_STRUCTURE), Value(" "), Value("g"), function="regexp_replace", output_field=TextField())
    found = found.alias(told=told)
    for word in words:
        written = canonical_json(word)[1:-1]
        # The plain column first: it is what an index can serve.
        found = found.filter(payload__icontains=written).filter(told__icontains=written)
    return found


def read_moment(name: str, value: str, *, whole_day: bool = False) -> datetime:
    """A time or date as somebody wrote it, UTC where it says nothing else; a date is its midnight, or its end. Raises Invalid."""
    try:
        # A plus sign that was not escaped in an address arrives as a space.
        moment = datetime.fromisoformat(value.strip().replace(" ", "+") if "T" in value else value.strip())
    except ValueError as error:
        raise Invalid(f"{name}: give a date or a time such as 2026-03-01T08:00:00Z.", errors={name: ["Not a date or time."]}) from error
    if whole_day and re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", value.strip()):
        moment += timedelta(days=1)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def event(actor: Actor, event_id: Any) -> Event:
    """One event with its `leaf_index`; raises NotFound."""
    found: Event = visible_to(actor).with_leaf_index().one("event", id=event_id)
    return found


def checkpoints() -> QuerySet[Checkpoint]:
    """All signed checkpoints, newest first. They hold no event, only sizes and roots: anyone signed in may read them."""
    return Checkpoint.objects.order_by("-tree_size")


def latest_checkpoint() -> Checkpoint | None:
    """The newest checkpoint, or None before the first event was sealed."""
    return checkpoints().first()


def _checkpoint(tree_size: int | None) -> Checkpoint:
    found = checkpoints().first() if tree_size is None else checkpoints().filter(tree_size=tree_size).first()
    if found is None:
        raise NotFound("There is no checkpoint of this size; see /api/v1/audit/checkpoints/.")
    return found


def _text(path: list[bytes]) -> list[str]:
    return [base64.b64encode(step).decode() for step in path]


def inclusion_proof(actor: Actor, event_id: Any, *, tree_size: int | None = None) -> dict[str, Any]:
    """That an event is in the trail: its text's hash, index, path (base64, lowest first) and the signed checkpoint.

    Checked before it is given out. Raises NotFound, NotSealedYet, Conflict (a checkpoint older than the event) or TrailDamaged.
    """
    found = event(actor, event_id)
    index = found.leaf_index  # type: ignore[attr-defined]
    if index is None:
        raise NotSealedYet("The event is recorded and waits for the next checkpoint, about a second. Ask again.")
    checkpoint = _checkpoint(tree_size)
    if index >= checkpoint.tree_size:
        raise Conflict(f"tree_size: the event is leaf {index}; ask for a checkpoint over more than {index} events.")
    leaf, root = leaf_hash(found.payload), bytes(checkpoint.root)
    try:
        path = inclusion_path(StoredTree(checkpoint.tree_size), index, checkpoint.tree_size)
        verify_inclusion(leaf=leaf, index=index, size=checkpoint.tree_size, path=path, root=root)
    except SealBroken as error:
        raise TrailDamaged(f"The event cannot be proved: {error}. Verify the whole trail with the offline verifier.") from error
    return {
        "event_id": str(found.id),
        "payload": found.payload,
        "leaf_hash": base64.b64encode(leaf).decode(),
        "leaf_index": index,
        "tree_size": checkpoint.tree_size,
        "path": _text(path),
        "root": base64.b64encode(root).decode(),
        "checkpoint": checkpoint.note,
    }


def consistency_proof(old: int, new: int) -> dict[str, Any]:
    """That the checkpoint over `old` events is a beginning of that over `new`. Raises NotFound, Invalid or TrailDamaged."""
    if old > new:
        raise Invalid("from: give the smaller size first.", errors={"from": ["Larger than `to`."]})
    first, second = _checkpoint(old), _checkpoint(new)
    try:
        path = consistency_path(StoredTree(new), old, new)
        verify_consistency(old=old, old_root=bytes(first.root), new=new, new_root=bytes(second.root), path=path)
    except SealBroken as error:
        raise TrailDamaged(f"The checkpoints cannot be connected: {error}. Verify with the offline verifier.") from error
    return {"from": first.note, "to": second.note, "path": _text(path)}


@dataclass(frozen=True)
class SealState:
    """How far the seal is behind. `lag_s` is the age of the oldest event without a leaf index, 0 when there is none."""

    tree_size: int
    sealed_at: datetime | None
    waiting: int
    lag_s: float


def seal_state() -> SealState:
    """For doctor, readiness and the audit page. Cheap: looks only behind the last checkpoint."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.tree_size, c.sealed_at, w.waiting, w.oldest
            FROM (SELECT 1) one
            LEFT JOIN (SELECT tree_size, sealed_at, sealed_xid, sealed_event_id FROM audit_checkpoint ORDER BY tree_size DESC LIMIT 1) c
                   ON true
            CROSS JOIN LATERAL (
                SELECT count(*) AS waiting, min(e.occurred_at) AS oldest FROM audit_event e
                WHERE (e.xid, e.id) > (coalesce(c.sealed_xid, '0'), coalesce(c.sealed_event_id, '00000000-0000-0000-0000-000000000000'))
                  AND NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.event_id = e.id)
            ) w
            """
        )
        size, sealed_at, waiting, oldest = cursor.fetchone()
    return SealState(size or 0, sealed_at, waiting, max(0.0, (now() - oldest).total_seconds()) if oldest else 0.0)


def wait_until_sealed(*, usecase_id: str | None = None, timeout_s: float = 5.0) -> int:
    """Wait for the sealer to reach the events that are there now; returns how many it did not reach. Use it outside a transaction."""
    found = Event.objects.with_leaf_index().filter(leaf_index=None)
    if usecase_id is not None:
        found = found.filter(usecase_id=usecase_id)
    elif not seal_state().waiting:
        return 0
    ids = list(found.values_list("id", flat=True)[:100_000])
    deadline = time.monotonic() + timeout_s
    left = len(ids)
    while left and time.monotonic() < deadline:
        time.sleep(0.2)
        left = found.filter(id__in=ids).count()
    return left


def wait_for_seal(event_id: Any, *, timeout_s: float) -> bool:
    """Wait for the sealer to reach one event; whether it did. Use it outside a transaction."""
    deadline = time.monotonic() + timeout_s
    while not (sealed := Leaf.objects.filter(event_id=event_id).exists()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return sealed


def sealed_events(*, tree_size: int, usecase_id: str | None) -> Iterator[tuple[int, str]]:
    """(leaf index, text) of sealed events in order, streamed; of one use case, or all. Needs an open transaction."""
    sql = "SELECT l.leaf_index, e.payload FROM audit_leaf l LEFT JOIN audit_event e ON e.id = l.event_id WHERE l.leaf_index < %s"
    values: list[Any] = [tree_size]
    if usecase_id is not None:
        sql += " AND e.usecase_id = %s"
        values.append(usecase_id)
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql + " ORDER BY l.leaf_index", values)
        while rows := cursor.fetchmany(2000):
            yield from rows

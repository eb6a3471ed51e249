"""Row history: what happened to the rows of governed tables, kept by triggers under the events, as the check that none escaped them.

A table is governed by its app's migration (`govern`), or named in `NOT_GOVERNED` with the reason why not; a test and `doctor` compare
both with the tables that there are. Only auditors and administrators read it: rows know nothing of who may see which use case.
"""

from dataclasses import dataclass
from datetime import datetime

from django.apps import apps
from django.db import connection, transaction

from apps.audit.models import RowChange, RowChangeQuerySet
from apps.audit.services import record
from apps.core.actor import Actor
from apps.core.errors import NotAllowed

TRIGGERS = ("audit_row", "audit_row_update", "audit_row_truncate")
# The history's own: that nobody changes it, and that nobody unnamed adds to it.
OWN_TABLE, OWN_TRIGGERS = "audit_row", ("audit_row_append_only", "audit_row_has_actor")
# Of changes recorded in one transaction.
BATCH = 1000

_OURS = "the trail itself: append-only by triggers of its own"
_FRAMEWORK = "written by `migrate` from the code: says nothing that the code does not"
NOT_GOVERNED: dict[str, str] = {
    "audit_event": _OURS,
    "audit_leaf": _OURS,
    "audit_subtree": _OURS,
    "audit_checkpoint": _OURS,
    "audit_row": "the row history itself: append-only by a trigger of its own",
    "audit_row_looked": "how far control has looked through the row history; `check_history` does not go by it",
    "audit_download": "how far a file made from the trail is; asking for one and taking it are events",
    "audit_piece": "the bytes of such a file",
    "auth_permission": _FRAMEWORK,
    "django_content_type": _FRAMEWORK,
    "django_migrations": _FRAMEWORK,
    "django_session": "browser sessions come and go with every visit; signing in and out are events",
    "accounts_signinattempt": "a counter that slows guessing, swept hourly; every failed try is an event",
    "accounts_idempotencykey": "answers kept for a repeated request, swept daily",
    "outbox_message": "messages between our processes, written and marked with every change",
    "notices_notice": "what people are told, made from events",
    "notices_delivery": "how far a notice has got to one person or webhook",
    "notices_try": "one try of a delivery",
    "registry_versionintent": "who is about to register a version; the request before it and the version after it are events",
    "registry_mlflowcontact": "when MLflow last answered, written every few seconds",
    "deployments_agentreport": "reports of agents, signed by them and received every few seconds, swept",
    "deployments_enginestart": "counted from agents' signed reports; ready and failed are events",
    "deployments_refusaltally": "a counter of refused messages; its sums are events",
    "deployments_phasetally": "counters of traffic by endpoint, key and rollout phase, swept",
    "deployments_gatewaystate": "which version each gateway routes by and since when it counts, written with every question it asks",
    "deployments_routingsnapshot": "signed itself, swept; each one published is an event with its digest",
    "monitoring_monitorwindow": "measurements of traffic; each window is an event",
    "monitoring_predictionlabel": "measurements of traffic, thousands a batch; each batch is an event, and a trigger says what may change",
    "approvals_evidencewatch": "what control last found of an open gate's evidence, for inboxes to count; decides nothing, and is found again",
    "approvals_look": "when somebody last read a gate; decides nothing",
    "approvals_reminder": "that a reminder was sent, so that it is not sent twice",
}


def visible_to(actor: Actor) -> RowChangeQuerySet:
    """All changes for those who see everything, newest first. Raises NotAllowed for others."""
    if not actor.sees_everything:
        raise NotAllowed("Row history is for auditors and administrators. Ask one, or read the events you may see.")
    found: RowChangeQuerySet = RowChange.objects.visible_to(actor).order_by("-id")
    return found


def search(actor: Actor, *, table: str = "", row_id: str = "", untold: bool | None = None) -> RowChangeQuerySet:
    """Changes of a table, of one row, and those that an event of the same transaction tells of, or none does."""
    found = visible_to(actor)
    if table:
        found = found.filter(table_name=table)
    if row_id:
        found = found.filter(row_id=row_id)
    if untold is not None:
        found = found.untold() if untold else found.told()
    return found.with_event()


def of_object(actor: Actor, object_id: str, *, most: int = 50) -> list[RowChange]:
    """The newest changes of the row with an object's id, in whichever table it is."""
    # Named one by one, so that the index by table and key serves.
    tables = [model._meta.db_table for model in apps.get_models(include_auto_created=True)]
    return list(search(actor, row_id=object_id).filter(table_name__in=[t for t in tables if t not in NOT_GOVERNED])[:most])


def governed() -> list[str]:
    """Names of the tables whose history is kept."""
    return sorted(name for name, wrong in states().items() if not wrong and name not in NOT_GOVERNED)


def states() -> dict[str, str]:
    """Every table -> what is wrong about its history; empty when it is kept whole, or excused by name."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relname, (SELECT array_agg(a.attname::text) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
                   coalesce(t.always, '{}'), coalesce(t.watched, '{}'), t.arguments
              FROM pg_class c LEFT JOIN LATERAL (
                    SELECT array_agg(t.tgname::text) FILTER (WHERE t.tgenabled = 'A') AS always,
                           max(encode(t.tgargs, 'escape')) FILTER (WHERE t.tgname = 'audit_row_update') AS arguments,
                           (SELECT array_agg(a.attname::text) FROM pg_trigger u JOIN pg_attribute a ON a.attrelid = c.oid
                             WHERE u.tgrelid = c.oid AND u.tgname = 'audit_row_update' AND a.attnum = ANY (u.tgattr::int2[])) AS watched
                      FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = ANY (%s)
                   ) t ON true
             WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
            """,
            [[*TRIGGERS, *OWN_TRIGGERS]],
        )
        return {name: _wrong(name, *rest) for name, *rest in cursor.fetchall()}


def _wrong(name: str, columns: list[str], always: list[str], watched: list[str], arguments: str | None) -> str:
    if name == OWN_TABLE and (off := set(OWN_TRIGGERS) - set(always)):
        return f"is not guarded: {', '.join(sorted(off))} missing or not enabled always"
    missing = set(TRIGGERS) - set(always)
    if name in NOT_GOVERNED:
        return "is excused by name and has triggers all the same" if len(missing) < len(TRIGGERS) else ""
    if missing:
        return f"is neither excused nor watched: {', '.join(sorted(missing))} missing or not enabled always"
    unkept = str(arguments).split("\\000")[2].strip("{}").split(",")
    if watched and (unseen := set(columns) - set(watched) - set(unkept)):
        return f"changes of {', '.join(sorted(unseen))} are not watched: repeat audit_govern in a migration"
    return ""


@dataclass(frozen=True)
class Found:
    """A change that no event of its transaction tells of."""

    id: int
    at: datetime
    table: str
    row_id: str
    operation: str
    actor: str
    db_role: str

    def __str__(self) -> str:
        return f"{self.operation} of {self.table} {self.row_id} at {self.at:%Y-%m-%d %H:%M:%S} UTC by {self.actor} ({self.db_role})"


def untold(*, since: datetime | None = None, most: int = 100) -> list[Found]:
    """The newest changes (of all, or since a moment) without an event in their transaction; each is a finding."""
    rows = RowChange.objects.untold().order_by("-id")
    if since is not None:
        rows = rows.filter(at__gte=since)
    return [_found(r) for r in rows[:most]]


def _found(row: RowChange) -> Found:
    return Found(row.id, row.at, row.table_name, row.row_id, row.operation, row.actor, row.db_role)


@transaction.atomic
def reconcile(*, actor: Actor, most: int = BATCH) -> list[Found]:
    """Record an event for the oldest changes that none tells of, once each; returns them. Fewer than `most`: those were all."""
    looked = _looked()
    rows = RowChange.objects.filter(id__gt=looked.id).untold().unrecorded().order_by("id")
    new = [_found(r) for r in rows[:most]]
    for found in new:
        record(
            "audit.row.untold", actor=actor, obj_type=found.table, obj_id=found.row_id or found.table, obj_label=f"row change {found.id}",
            after={"row_change": found.id, "operation": found.operation, "actor": found.actor, "db_role": found.db_role, "at": found.at},
            reason="A change that no event tells of.",
        )  # fmt: skip
    upto = min(looked.upto, new[-1].id) if len(new) == most else looked.upto
    with connection.cursor() as cursor:
        sql = "UPDATE audit_row_looked SET looked_id = greatest(looked_id, %s), next_id = %s, next_xid = %s::xid8"
        cursor.execute(sql, [upto, looked.next_id, looked.next_xid])
    return new


@dataclass(frozen=True)
class _Looked:
    """Everything up to `id` was looked at before, and everything up to `upto` can be seen now; the rest is for the next round."""

    id: int
    upto: int
    next_id: int
    next_xid: str


def _looked() -> _Looked:
    """Where to go on, locked. Ids are given before they can be seen, so the newest one says nothing of those before it."""
    with connection.cursor() as cursor:
        # In this order: whoever holds an id before the newest began before our own transaction has its number.
        cursor.execute("SELECT coalesce(max(id), 0) FROM audit_row")
        (newest,) = cursor.fetchone()
        cursor.execute("SELECT pg_current_xact_id()::text")
        (xid,) = cursor.fetchone()
        cursor.execute("SELECT looked_id, next_id, next_xid::text FROM audit_row_looked FOR UPDATE")
        looked_id, next_id, next_xid = cursor.fetchone()
        cursor.execute("SELECT %s::xid8 < pg_snapshot_xmin(pg_current_snapshot()), %s::xid8 > %s::xid8", [next_xid, next_xid, xid])
        ended, of_another_cluster = cursor.fetchone()
    if ended:
        return _Looked(looked_id, next_id, newest, xid)
    # Restored from a dump: that transaction will not come for long.
    return _Looked(looked_id, looked_id, newest, xid) if of_another_cluster else _Looked(looked_id, looked_id, next_id, next_xid)

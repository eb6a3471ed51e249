"""The trail's tables, in SQL: generated columns, xid8 and ENABLE ALWAYS triggers have no Django spelling."""

from django.db import migrations, models

APPEND_ONLY = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the audit trail is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE FUNCTION audit_refuse_untrue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an event must carry the id in its own text and be written by its own transaction'
        USING ERRCODE = 'check_violation';
END
$$;
"""


def text(path: str) -> str:
    """SQL that reads one text out of the payload. json, not jsonb: it only has to be scanned."""
    parent, _, key = path.rpartition(".")
    return f"payload::json->'{parent}'->>'{key}'" if parent else f"payload::json->>'{key}'"


def column(name: str, path: str, null: bool = False) -> str:
    return f'{name} text COLLATE "C" GENERATED ALWAYS AS ({text(path)}) STORED{"" if null else " NOT NULL"}'


# make_timestamp is immutable where a cast from text is not; the recorded form has a fixed width.
UTC = """
CREATE FUNCTION audit_utc(stamp text) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN make_timestamp(substr(stamp, 1, 4)::int, substr(stamp, 6, 2)::int, substr(stamp, 9, 2)::int,
                          substr(stamp, 12, 2)::int, substr(stamp, 15, 2)::int, substr(stamp, 18, 9)::double precision)
        AT TIME ZONE 'UTC';
END
$$;
"""

EVENT = f"""
CREATE TABLE audit_event (
    id uuid PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    payload text NOT NULL,
    occurred_at timestamptz GENERATED ALWAYS AS (audit_utc({text("occurred_at")})) STORED NOT NULL,
    {column("action", "action")},
    {column("actor_kind", "actor.kind")},
    {column("actor_id", "actor.id")},
    {column("actor_label", "actor.label")},
    {column("on_behalf_of", "actor.on_behalf_of")},
    {column("object_type", "object.type")},
    {column("object_id", "object.id")},
    {column("object_label", "object.label")},
    {column("usecase_id", "usecase_id", null=True)},
    {column("decision_id", "decision_id", null=True)},
    {column("request_id", "request_id")}
);
CREATE INDEX audit_event_to_seal ON audit_event (xid, id);
CREATE INDEX audit_event_action ON audit_event (action, id);
CREATE INDEX audit_event_actor ON audit_event (actor_id, id);
CREATE INDEX audit_event_object ON audit_event (object_id, id);
CREATE INDEX audit_event_usecase ON audit_event (usecase_id, id) WHERE usecase_id IS NOT NULL;
CREATE INDEX audit_event_occurred ON audit_event USING brin (occurred_at);
-- Canonical JSON sorts its keys, so the event's own id stands before its object: finding it costs no parsing.
CREATE TRIGGER audit_event_true BEFORE INSERT ON audit_event FOR EACH ROW
    WHEN (NEW.xid IS DISTINCT FROM pg_current_xact_id() OR strpos(NEW.payload, ',"id":"' || NEW.id::text || '","object":{{') = 0)
    EXECUTE FUNCTION audit_refuse_untrue();
ALTER TABLE audit_event ENABLE ALWAYS TRIGGER audit_event_true;
"""

SEAL = """
CREATE TABLE audit_leaf (
    leaf_index bigint PRIMARY KEY CHECK (leaf_index >= 0),
    event_id uuid NOT NULL UNIQUE,
    leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32)
);
CREATE TABLE audit_subtree (
    level smallint NOT NULL CHECK (level > 0 AND level % 8 = 0),
    position bigint NOT NULL CHECK (position >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (level, position)
);
CREATE TABLE audit_checkpoint (
    tree_size bigint PRIMARY KEY CHECK (tree_size > 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    frontier bytea NOT NULL CHECK (octet_length(frontier) % 32 = 0),
    note text NOT NULL,
    sealed_at timestamptz NOT NULL,
    sealed_xid xid8 NOT NULL,
    sealed_event_id uuid NOT NULL
);
"""

TABLES = ("audit_event", "audit_leaf", "audit_subtree", "audit_checkpoint")
# ENABLE ALWAYS: session_replication_role = replica does not skip them. Owners and superusers meet them too.
GUARDS = "".join(
    f"""
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only;
"""
    for table in TABLES
)
UNDO = "DROP TABLE audit_checkpoint, audit_subtree, audit_leaf, audit_event; DROP FUNCTION audit_refuse(), audit_refuse_untrue(), audit_utc(text);"


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.RunSQL(APPEND_ONLY + UTC + EVENT + SEAL + GUARDS, UNDO),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("payload", models.TextField()),
                ("occurred_at", models.DateTimeField()),
                ("action", models.TextField()),
                ("actor_kind", models.TextField()),
                ("actor_id", models.TextField()),
                ("actor_label", models.TextField()),
                ("on_behalf_of", models.TextField()),
                ("object_type", models.TextField()),
                ("object_id", models.TextField()),
                ("object_label", models.TextField()),
                ("usecase_id", models.TextField(null=True)),
                ("decision_id", models.TextField(null=True)),
                ("request_id", models.TextField()),
            ],
            options={"db_table": "audit_event", "managed": False},
        ),
        migrations.CreateModel(
            name="Leaf",
            fields=[
                ("leaf_index", models.BigIntegerField(primary_key=True, serialize=False)),
                ("event_id", models.UUIDField(unique=True)),
                ("leaf_hash", models.BinaryField()),
            ],
            options={"db_table": "audit_leaf", "managed": False},
        ),
        migrations.CreateModel(
            name="Subtree",
            fields=[
                ("pk", models.CompositePrimaryKey("level", "position", blank=True, editable=False, primary_key=True, serialize=False)),
                ("level", models.SmallIntegerField()),
                ("position", models.BigIntegerField()),
                ("root", models.BinaryField()),
            ],
            options={"db_table": "audit_subtree", "managed": False},
        ),
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("tree_size", models.BigIntegerField(primary_key=True, serialize=False)),
                ("root", models.BinaryField()),
                ("note", models.TextField()),
                ("sealed_at", models.DateTimeField()),
            ],
            options={"db_table": "audit_checkpoint", "managed": False},
        ),
    ]

"""What happened to each governed row, kept by triggers; and no such change without somebody who did it."""

from django.db import migrations, models

TABLE = """
CREATE TABLE audit_row (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    table_name text COLLATE "C" NOT NULL,
    pk text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')),
    before jsonb,
    after jsonb,
    actor text NOT NULL,
    db_role text NOT NULL
);
CREATE INDEX audit_row_of ON audit_row (table_name, pk, id);
CREATE INDEX audit_row_at ON audit_row USING brin (at);
CREATE TRIGGER audit_row_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_row
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
ALTER TABLE audit_row ENABLE ALWAYS TRIGGER audit_row_append_only;

-- Up to which row control has looked for changes that no event tells of. Rows up to next_id were written by transactions that
-- began before next_xid: once those have all ended, no such row can still appear.
CREATE TABLE audit_row_looked (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    looked_id bigint NOT NULL DEFAULT 0,
    next_id bigint NOT NULL DEFAULT 0,
    next_xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);
INSERT INTO audit_row_looked DEFAULT VALUES;
"""

# SECURITY DEFINER: who changes a governed row needs no right to write history, and so cannot make any up.
KEEP = """
CREATE FUNCTION audit_kept(name text, value jsonb, secret text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN value IS NULL OR value = 'null' THEN value
        WHEN name = ANY (secret) THEN '"(left out: a secret)"'::jsonb
        WHEN length(value::text) > 4096 THEN jsonb_build_object(
            'sha256', encode(sha256(convert_to(value::text, 'UTF8')), 'hex'), 'characters', length(value::text))
        ELSE value END
$$;

-- Arguments: the key's columns, those that are secrets, those that are not kept.
CREATE FUNCTION audit_keep_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    key_columns CONSTANT text[] := TG_ARGV[0];
    secret CONSTANT text[] := TG_ARGV[1];
    unkept CONSTANT text[] := TG_ARGV[2];
    old_row jsonb;
    new_row jsonb;
    before jsonb;
    after jsonb;
    key text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        old_row := to_jsonb(OLD);
        new_row := to_jsonb(NEW);
        SELECT jsonb_object_agg(c.key, audit_kept(c.key, old_row -> c.key, secret)), jsonb_object_agg(c.key, audit_kept(c.key, c.value, secret))
          INTO before, after
          FROM jsonb_each(new_row) c WHERE c.value IS DISTINCT FROM old_row -> c.key AND c.key <> ALL (unkept);
        IF after IS NULL THEN
            RETURN NULL;
        END IF;
    ELSIF TG_OP = 'INSERT' THEN
        old_row := to_jsonb(NEW);
        SELECT jsonb_object_agg(c.key, audit_kept(c.key, c.value, secret)) INTO after
          FROM jsonb_each(old_row) c WHERE c.key <> ALL (unkept);
    ELSE
        old_row := to_jsonb(OLD);
        SELECT jsonb_object_agg(c.key, audit_kept(c.key, c.value, secret)) INTO before
          FROM jsonb_each(old_row) c WHERE c.key <> ALL (unkept);
    END IF;
    key := old_row ->> key_columns[1];
    IF cardinality(key_columns) > 1 THEN
        SELECT string_agg(old_row ->> k.name, ',' ORDER BY k.place) INTO key FROM unnest(key_columns) WITH ORDINALITY k (name, place);
    END IF;
    INSERT INTO audit_row (table_name, pk, operation, before, after, actor, db_role)
        VALUES (TG_TABLE_NAME, key, TG_OP, before, after, left(coalesce(current_setting('gatehouse.actor', true), ''), 300), session_user);
    RETURN NULL;
END
$$;

CREATE FUNCTION audit_keep_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    rows bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO rows;
    IF rows > 0 THEN
        INSERT INTO audit_row (table_name, pk, operation, before, actor, db_role)
            VALUES (TG_TABLE_NAME, '', TG_OP, jsonb_build_object('rows', rows),
                    left(coalesce(current_setting('gatehouse.actor', true), ''), 300), session_user);
    END IF;
    RETURN NULL;
END
$$;
"""

# Asked at the end of the transaction: services change first and record their event after. Such an event names who did it.
# Near in time: in a database restored from a dump, transaction ids begin anew and are those of old events.
CHECK = """
CREATE FUNCTION audit_check_actor() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM audit_event e WHERE e.xid = NEW.xid
               AND e.occurred_at BETWEEN NEW.at - interval '1 hour' AND NEW.at + interval '1 hour') THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% of % % is refused: nobody is named who does it', NEW.operation, NEW.table_name, NEW.pk
        USING ERRCODE = 'insufficient_privilege',
              DETAIL = 'A change of a governed table needs an audit event in its transaction, or the name of who makes it.',
              HINT = 'Call the service that records the event; or use ./gatehouse manage, which names itself; '
                  || 'or begin the transaction with SET LOCAL gatehouse.actor = ''person:<name>''.';
END
$$;
CREATE CONSTRAINT TRIGGER audit_row_has_actor AFTER INSERT ON audit_row DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.actor = '') EXECUTE FUNCTION audit_check_actor();
ALTER TABLE audit_row ENABLE ALWAYS TRIGGER audit_row_has_actor;
"""

GOVERN = """
-- Keeps the history of a table from now on. secret: kept as changed, never with a value. unkept: as if they were not there.
-- Where some are unkept, a statement that sets only those costs nothing; call it again when the table gets another column.
CREATE FUNCTION audit_govern(which regclass, secret text[] DEFAULT '{{}}', unkept text[] DEFAULT '{{}}') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    key_columns text[];
    unknown text;
    keep text;
    set_by text := '';
BEGIN
    SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum)) INTO key_columns
      FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
     WHERE i.indrelid = which AND i.indisprimary;
    IF key_columns IS NULL THEN
        RAISE EXCEPTION '% has no primary key, by which its history is found', which;
    END IF;
    SELECT c.name INTO unknown FROM unnest(secret || unkept) c (name)
     WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = which AND a.attname = c.name AND NOT a.attisdropped);
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION '% has no column %', which, unknown;
    END IF;
    -- What PostgreSQL makes of other columns says nothing that they do not.
    unkept := unkept || ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = which AND a.attgenerated <> '');
    IF cardinality(unkept) > 0 THEN
        SELECT ' OF ' || string_agg(quote_ident(a.attname), ', ') INTO set_by FROM pg_attribute a
         WHERE a.attrelid = which AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (unkept);
    END IF;
    PERFORM audit_ungovern(which);
    keep := format('EXECUTE FUNCTION audit_keep_row(%L, %L, %L)', key_columns, secret, unkept);
    EXECUTE format('CREATE TRIGGER audit_row AFTER INSERT OR DELETE ON %s FOR EACH ROW %s', which, keep);
    EXECUTE format('CREATE TRIGGER audit_row_update AFTER UPDATE%s ON %s FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) %s', set_by, which, keep);
    EXECUTE format('CREATE TRIGGER audit_row_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION audit_keep_truncate()', which);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_row', which);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_row_update', which);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_row_truncate', which);
END
$$;

CREATE FUNCTION audit_ungovern(which regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TRIGGER IF EXISTS audit_row ON %s', which);
    EXECUTE format('DROP TRIGGER IF EXISTS audit_row_update ON %s', which);
    EXECUTE format('DROP TRIGGER IF EXISTS audit_row_truncate ON %s', which);
END
$$;
REVOKE EXECUTE ON FUNCTION audit_keep_row(), audit_keep_truncate(), audit_check_actor(), audit_govern(regclass, text[], text[]),
    audit_ungovern(regclass) FROM PUBLIC;
""".replace("{{}}", "{}")

UNDO = """
DROP FUNCTION audit_govern(regclass, text[], text[]), audit_ungovern(regclass), audit_keep_row(), audit_keep_truncate();
DROP TABLE audit_row, audit_row_looked;
DROP FUNCTION audit_check_actor(), audit_kept(text, jsonb, text[]);
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_downloads")]

    operations = [
        migrations.RunSQL(TABLE + KEEP + CHECK + GOVERN, UNDO),
        migrations.CreateModel(
            name="RowChange",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("table_name", models.TextField()),
                ("row_id", models.TextField(db_column="pk")),
                ("operation", models.TextField()),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                ("actor", models.TextField()),
                ("db_role", models.TextField()),
            ],
            options={"db_table": "audit_row", "managed": False},
        ),
    ]

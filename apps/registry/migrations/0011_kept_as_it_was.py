"""Revisions of cards, scans and received events are only ever added; of an evaluation only being superseded may be written, once."""

from django.db import migrations

KEPT = ("registry_cardrevision", "registry_artifactscan", "registry_lineageevent")
UP = """
CREATE FUNCTION registry_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows are never changed or deleted: add a new one instead', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
""" + "".join(
    f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION registry_refuse_change();\n"
    for table in KEPT
) + """
CREATE FUNCTION registry_evaluation_attached() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    allowed registry_evaluation%ROWTYPE;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        allowed := OLD;
        allowed.superseded_by_id := NEW.superseded_by_id;
        IF OLD.superseded_by_id IS NULL AND NEW.superseded_by_id IS NOT NULL AND NEW IS NOT DISTINCT FROM allowed THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'an evaluation stays as it was attached: attach a new one under the same name' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER registry_evaluation_attached BEFORE UPDATE OR DELETE ON registry_evaluation
    FOR EACH ROW EXECUTE FUNCTION registry_evaluation_attached();
"""
DOWN = (
    "".join(f"DROP TRIGGER {table}_kept ON {table};\n" for table in KEPT)
    + """
DROP TRIGGER registry_evaluation_attached ON registry_evaluation;
DROP FUNCTION registry_evaluation_attached();
DROP FUNCTION registry_refuse_change();
"""
)


class Migration(migrations.Migration):
    dependencies = [("registry", "0010_governed_pages")]

    operations = [migrations.RunSQL(UP, DOWN)]

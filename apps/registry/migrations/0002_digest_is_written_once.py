"""The digest of a version is what decisions name: the database itself lets it be written once."""

from django.db import migrations

UP = """
CREATE FUNCTION registry_digest_is_written_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.artifact_digest <> '' AND
       (NEW.artifact_digest, NEW.artifact_manifest, NEW.model_id, NEW.version)
       IS DISTINCT FROM (OLD.artifact_digest, OLD.artifact_manifest, OLD.model_id, OLD.version) THEN
        RAISE EXCEPTION 'the digest and manifest of a model version are written once' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER registry_digest_is_written_once BEFORE UPDATE ON registry_modelversion
    FOR EACH ROW EXECUTE FUNCTION registry_digest_is_written_once();
"""
DOWN = """
DROP TRIGGER registry_digest_is_written_once ON registry_modelversion;
DROP FUNCTION registry_digest_is_written_once();
"""


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]

    operations = [migrations.RunSQL(UP, DOWN)]

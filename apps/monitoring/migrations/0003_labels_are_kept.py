"""Of a label only that it was matched and that it was superseded may be written, each once. Raw SQL included."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION monitoring_label_kept() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    allowed monitoring_predictionlabel%ROWTYPE;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        allowed := OLD;
        IF OLD.superseded_by_id IS NULL THEN
            allowed.superseded_by_id := NEW.superseded_by_id;
        END IF;
        IF OLD.matched_at IS NULL THEN
            allowed.matched_at := NEW.matched_at;
        END IF;
        IF NEW IS NOT DISTINCT FROM allowed THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'a label is kept: send it again with correct' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER monitoring_label_kept BEFORE UPDATE OR DELETE ON monitoring_predictionlabel
    FOR EACH ROW EXECUTE FUNCTION monitoring_label_kept();
"""
BACKWARD = """
DROP TRIGGER monitoring_label_kept ON monitoring_predictionlabel;
DROP FUNCTION monitoring_label_kept();
"""


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0002_labels_matched_and_corrected")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

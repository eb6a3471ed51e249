"""A frozen baseline stays as it is; of a measurement only being superseded may be written, once. Raw SQL included."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION kpis_baseline_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    allowed kpis_baseline%ROWTYPE;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        allowed := OLD;
        allowed.superseded_at := NEW.superseded_at;
        IF OLD.superseded_at IS NULL AND NEW.superseded_at IS NOT NULL AND NEW IS NOT DISTINCT FROM allowed THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'a baseline is frozen: freeze a new one instead' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER kpis_baseline_frozen BEFORE UPDATE OR DELETE ON kpis_baseline
    FOR EACH ROW EXECUTE FUNCTION kpis_baseline_frozen();

CREATE FUNCTION kpis_measurement_kept() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    allowed kpis_measurement%ROWTYPE;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        allowed := OLD;
        allowed.superseded_by_id := NEW.superseded_by_id;
        IF OLD.superseded_by_id IS NULL AND NEW.superseded_by_id IS NOT NULL AND NEW IS NOT DISTINCT FROM allowed THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'a measurement is kept: send a correction under the same external_id' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER kpis_measurement_kept BEFORE UPDATE OR DELETE ON kpis_measurement
    FOR EACH ROW EXECUTE FUNCTION kpis_measurement_kept();
"""
BACKWARD = """
DROP TRIGGER kpis_baseline_frozen ON kpis_baseline;
DROP TRIGGER kpis_measurement_kept ON kpis_measurement;
DROP FUNCTION kpis_baseline_frozen();
DROP FUNCTION kpis_measurement_kept();
"""


class Migration(migrations.Migration):
    dependencies = [("kpis", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

"""Decisions and revocations are only ever added; of a hold only the lifting may be written, once. Raw SQL included."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION decisions_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows are never changed or deleted: revoke a decision instead', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER decisions_decision_immutable BEFORE UPDATE OR DELETE ON decisions_decision
    FOR EACH ROW EXECUTE FUNCTION decisions_refuse_change();
CREATE TRIGGER decisions_revocation_immutable BEFORE UPDATE OR DELETE ON decisions_revocation
    FOR EACH ROW EXECUTE FUNCTION decisions_refuse_change();

CREATE FUNCTION decisions_hold_only_lifted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.lifted_at IS NOT NULL OR NEW.lifted_at IS NULL
       OR (OLD.id, OLD.created_at, OLD.decision_id, OLD.reason, OLD.source_type, OLD.source_id, OLD.placed_at, OLD.placed_by)
          IS DISTINCT FROM
          (NEW.id, NEW.created_at, NEW.decision_id, NEW.reason, NEW.source_type, NEW.source_id, NEW.placed_at, NEW.placed_by) THEN
        RAISE EXCEPTION 'a hold can only be lifted, once' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decisions_hold_only_lifted BEFORE UPDATE OR DELETE ON decisions_hold
    FOR EACH ROW EXECUTE FUNCTION decisions_hold_only_lifted();

-- One answer to "does this decision hold now?", for every trigger that asks.
CREATE FUNCTION decisions_is_live(which uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT 1 FROM decisions_decision d
        WHERE d.id = which AND d.issued_at <= clock_timestamp() + interval '5 seconds' AND d.expires_at > clock_timestamp()
          AND NOT EXISTS (SELECT 1 FROM decisions_revocation r WHERE r.decision_id = d.id)
          AND NOT EXISTS (SELECT 1 FROM decisions_hold h WHERE h.decision_id = d.id AND h.lifted_at IS NULL))
$$;
"""
BACKWARD = """
DROP TRIGGER decisions_decision_immutable ON decisions_decision;
DROP TRIGGER decisions_revocation_immutable ON decisions_revocation;
DROP TRIGGER decisions_hold_only_lifted ON decisions_hold;
DROP FUNCTION decisions_is_live(uuid);
DROP FUNCTION decisions_hold_only_lifted();
DROP FUNCTION decisions_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("decisions", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

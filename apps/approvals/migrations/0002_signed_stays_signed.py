"""Policies never change; signatures can only be voided, once; a decided gate stays decided. Raw SQL included."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION approvals_policy_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a published policy version is never changed: publish a new version' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER approvals_policy_immutable BEFORE UPDATE OR DELETE ON approvals_policyversion
    FOR EACH ROW EXECUTE FUNCTION approvals_policy_immutable();

CREATE FUNCTION approvals_signature_stays() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    allowed approvals_signature%ROWTYPE;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        allowed := OLD;
        allowed.void_at := NEW.void_at;
        allowed.void_reason := NEW.void_reason;
        IF OLD.void_at IS NULL AND NEW.void_at IS NOT NULL AND NEW.void_reason <> '' AND NEW IS NOT DISTINCT FROM allowed THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'a signature is never changed or deleted, only voided with a reason' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER approvals_signature_stays BEFORE UPDATE OR DELETE ON approvals_signature
    FOR EACH ROW EXECUTE FUNCTION approvals_signature_stays();

CREATE FUNCTION approvals_signature_is_over_the_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    g approvals_gate%ROWTYPE;
BEGIN
    SELECT * INTO g FROM approvals_gate WHERE id = NEW.gate_id;
    IF g.state <> 'open' OR g.evidence_digest <> NEW.evidence_digest THEN
        RAISE EXCEPTION 'only an open gate is signed, over the digest of its frozen evidence' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.meaning = 'approved' AND (NEW.signer_id = g.opened_by_id OR NEW.signer_id IS NOT DISTINCT FROM g.requested_by_id) THEN
        RAISE EXCEPTION 'the requester of a gate does not approve it' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approvals_signature_is_over_the_evidence BEFORE INSERT ON approvals_signature
    FOR EACH ROW EXECUTE FUNCTION approvals_signature_is_over_the_evidence();

CREATE FUNCTION approvals_decided_gate_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('approved', 'rejected', 'withdrawn') THEN
        RAISE EXCEPTION 'a decided gate stays as it is' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approvals_decided_gate_stays BEFORE UPDATE ON approvals_gate
    FOR EACH ROW EXECUTE FUNCTION approvals_decided_gate_stays();
"""
BACKWARD = """
DROP TRIGGER approvals_policy_immutable ON approvals_policyversion;
DROP TRIGGER approvals_signature_stays ON approvals_signature;
DROP TRIGGER approvals_signature_is_over_the_evidence ON approvals_signature;
DROP TRIGGER approvals_decided_gate_stays ON approvals_gate;
DROP FUNCTION approvals_policy_immutable();
DROP FUNCTION approvals_signature_stays();
DROP FUNCTION approvals_signature_is_over_the_evidence();
DROP FUNCTION approvals_decided_gate_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

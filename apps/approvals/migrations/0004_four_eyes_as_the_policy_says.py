"""The signature trigger asks the gate's policy who may not approve: the requester, the model version's author. Raw SQL included."""

from django.db import migrations

BEGIN = """
CREATE OR REPLACE FUNCTION approvals_signature_is_over_the_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    g approvals_gate%ROWTYPE;
    body jsonb;
BEGIN
    SELECT * INTO g FROM approvals_gate WHERE id = NEW.gate_id;
    IF g.state <> 'open' OR g.evidence_digest <> NEW.evidence_digest THEN
        RAISE EXCEPTION 'only an open gate is signed, over the digest of its frozen evidence' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
"""
FORWARD = (
    BEGIN
    + """
    SELECT p.body INTO body FROM approvals_policyversion p WHERE p.id = g.policy_id;
    IF NEW.meaning = 'approved' AND COALESCE((body #>> '{four_eyes,requester}')::boolean, true)
       AND (NEW.signer_id = g.opened_by_id OR NEW.signer_id IS NOT DISTINCT FROM g.requested_by_id) THEN
        RAISE EXCEPTION 'the requester of a gate does not approve it' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.meaning = 'approved' AND COALESCE((body #>> '{four_eyes,authors}')::boolean, true) AND EXISTS (
        SELECT 1 FROM registry_modelversion v WHERE v.id = g.model_version_id AND v.author_user_id = NEW.signer_id) THEN
        RAISE EXCEPTION 'the author of a model version does not approve it' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""
)
BACKWARD = (
    BEGIN
    + """
    IF NEW.meaning = 'approved' AND (NEW.signer_id = g.opened_by_id OR NEW.signer_id IS NOT DISTINCT FROM g.requested_by_id) THEN
        RAISE EXCEPTION 'the requester of a gate does not approve it' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""
)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0003_policies_are_signed"), ("registry", "0002_digest_is_written_once")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

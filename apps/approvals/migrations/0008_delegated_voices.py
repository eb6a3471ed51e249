"""Who signs for somebody does so by a delegation in force, and four-eyes holds for both; talk and files stay. Raw SQL included."""

from django.db import migrations

HEAD = """
CREATE OR REPLACE FUNCTION approvals_signature_is_over_the_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    g approvals_gate%ROWTYPE;
    body jsonb;
BEGIN
    SELECT * INTO g FROM approvals_gate WHERE id = NEW.gate_id;
    IF g.state <> 'open' OR g.evidence_digest <> NEW.evidence_digest THEN
        RAISE EXCEPTION 'only an open gate is signed, over the digest of its frozen evidence' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT p.body INTO body FROM approvals_policyversion p WHERE p.id = g.policy_id;
"""
FORWARD = (
    HEAD
    + """
    IF NEW.on_behalf_of_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM approvals_delegation d WHERE d.delegator_id = NEW.on_behalf_of_id AND d.delegate_id = NEW.signer_id
            AND d.function = NEW.function AND d.ended_at IS NULL AND d.starts_at <= NEW.signed_at AND d.ends_at > NEW.signed_at) THEN
        RAISE EXCEPTION 'nobody signs for another without a delegation in force' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.meaning = 'approved' AND COALESCE((body #>> '{four_eyes,requester}')::boolean, true)
       AND (g.opened_by_id IN (NEW.signer_id, NEW.on_behalf_of_id) OR g.requested_by_id IN (NEW.signer_id, NEW.on_behalf_of_id)) THEN
        RAISE EXCEPTION 'the requester of a gate does not approve it' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.meaning = 'approved' AND COALESCE((body #>> '{four_eyes,authors}')::boolean, true) AND EXISTS (
        SELECT 1 FROM registry_modelversion v WHERE v.id = g.model_version_id
            AND v.author_user_id IN (NEW.signer_id, NEW.on_behalf_of_id)) THEN
        RAISE EXCEPTION 'the author of a model version does not approve it' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION approvals_delegation_only_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.ended_at IS NOT NULL OR NEW.ended_at IS NULL
       OR (OLD.id, OLD.created_at, OLD.delegator_id, OLD.delegate_id, OLD.function, OLD.starts_at, OLD.ends_at, OLD.reason, OLD.made_by)
          IS DISTINCT FROM
          (NEW.id, NEW.created_at, NEW.delegator_id, NEW.delegate_id, NEW.function, NEW.starts_at, NEW.ends_at, NEW.reason, NEW.made_by) THEN
        RAISE EXCEPTION 'a delegation can only be ended, once' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approvals_delegation_only_ends BEFORE UPDATE OR DELETE ON approvals_delegation
    FOR EACH ROW EXECUTE FUNCTION approvals_delegation_only_ends();

CREATE FUNCTION approvals_delegation_is_no_chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM approvals_delegation d WHERE d.function = NEW.function AND d.ended_at IS NULL
            AND d.starts_at < NEW.ends_at AND d.ends_at > NEW.starts_at
            AND (d.delegator_id IN (NEW.delegate_id, NEW.delegator_id) OR d.delegate_id = NEW.delegator_id)) THEN
        RAISE EXCEPTION 'a delegation is not handed on, and a function is delegated once at a time' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approvals_delegation_is_no_chain BEFORE INSERT ON approvals_delegation
    FOR EACH ROW EXECUTE FUNCTION approvals_delegation_is_no_chain();

CREATE FUNCTION approvals_talk_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows are never changed or deleted', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER approvals_comment_stays BEFORE UPDATE OR DELETE ON approvals_comment
    FOR EACH ROW EXECUTE FUNCTION approvals_talk_stays();
CREATE TRIGGER approvals_attachment_stays BEFORE UPDATE OR DELETE ON approvals_attachment
    FOR EACH ROW EXECUTE FUNCTION approvals_talk_stays();
"""
)
BACKWARD = (
    """
DROP TRIGGER approvals_attachment_stays ON approvals_attachment;
DROP TRIGGER approvals_comment_stays ON approvals_comment;
DROP FUNCTION approvals_talk_stays();
DROP TRIGGER approvals_delegation_is_no_chain ON approvals_delegation;
DROP FUNCTION approvals_delegation_is_no_chain();
DROP TRIGGER approvals_delegation_only_ends ON approvals_delegation;
DROP FUNCTION approvals_delegation_only_ends();
"""
    + HEAD
    + """
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


class Migration(migrations.Migration):
    dependencies = [("approvals", "0007_delegations_and_talk")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

"""Every end of a gate is an end; a refusal says what would change it; a waiver only goes on. Raw SQL included."""

from django.db import migrations

FORWARD = """
CREATE OR REPLACE FUNCTION approvals_decided_gate_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state NOT IN ('draft', 'open') THEN
        RAISE EXCEPTION 'a decided gate stays as it is' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION approvals_signature_has_its_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.meaning <> 'approved' AND btrim(NEW.comment) = '' THEN
        RAISE EXCEPTION 'this answer needs words' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.meaning = 'rejected' AND btrim(NEW.would_change) = '' THEN
        RAISE EXCEPTION 'a refusal says what would change it' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.meaning IN ('stopped', 'rebuild') AND NEW.function <> 'business' THEN
        RAISE EXCEPTION 'only business stops or rebuilds' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approvals_signature_has_its_words BEFORE INSERT ON approvals_signature
    FOR EACH ROW EXECUTE FUNCTION approvals_signature_has_its_words();

CREATE FUNCTION approvals_waiver_goes_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'asked' THEN
            RAISE EXCEPTION 'a waiver is asked for before it is signed' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE'
       OR (OLD.id, OLD.created_at, OLD.gate_id, OLD.subject, OLD.title, OLD.reason, OLD.until, OLD.asked_by_id, OLD.asked_at)
          IS DISTINCT FROM
          (NEW.id, NEW.created_at, NEW.gate_id, NEW.subject, NEW.title, NEW.reason, NEW.until, NEW.asked_by_id, NEW.asked_at)
       OR (OLD.state, NEW.state) NOT IN (('asked', 'signed'), ('asked', 'refused'), ('signed', 'ended'))
       OR (OLD.state = 'signed' AND (OLD.signer_id, OLD.printed_name, OLD.method, OLD.comment, OLD.signed_at)
           IS DISTINCT FROM (NEW.signer_id, NEW.printed_name, NEW.method, NEW.comment, NEW.signed_at)) THEN
        RAISE EXCEPTION 'a waiver is signed or refused once, and then only ended' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'signed' AND (NEW.signer_id = NEW.asked_by_id OR EXISTS (
        SELECT 1 FROM approvals_gate g WHERE g.id = NEW.gate_id AND NEW.signer_id IN (g.opened_by_id, g.requested_by_id))) THEN
        RAISE EXCEPTION 'who asks for a waiver or a gate does not sign the waiver' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approvals_waiver_goes_on BEFORE INSERT OR UPDATE OR DELETE ON approvals_waiver
    FOR EACH ROW EXECUTE FUNCTION approvals_waiver_goes_on();
"""
BACKWARD = """
DROP TRIGGER approvals_waiver_goes_on ON approvals_waiver;
DROP FUNCTION approvals_waiver_goes_on();
DROP TRIGGER approvals_signature_has_its_words ON approvals_signature;
DROP FUNCTION approvals_signature_has_its_words();
CREATE OR REPLACE FUNCTION approvals_decided_gate_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('approved', 'rejected', 'withdrawn') THEN
        RAISE EXCEPTION 'a decided gate stays as it is' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0005_waivers_and_outcomes")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

"""Where a policy names the people of a function, nobody else signs for it. Raw SQL included."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION approvals_signature_is_of_the_pool() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    named jsonb;
BEGIN
    SELECT p.body #> ARRAY['pools', NEW.function, 'people'] INTO named
        FROM approvals_gate g JOIN approvals_policyversion p ON p.id = g.policy_id WHERE g.id = NEW.gate_id;
    IF named IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM accounts_user u WHERE u.id = COALESCE(NEW.on_behalf_of_id, NEW.signer_id) AND named ? lower(u.email)) THEN
        RAISE EXCEPTION 'the policy names who signs for %, and this person is not among them', NEW.function
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approvals_signature_is_of_the_pool BEFORE INSERT ON approvals_signature
    FOR EACH ROW EXECUTE FUNCTION approvals_signature_is_of_the_pool();
"""
BACKWARD = """
DROP TRIGGER approvals_signature_is_of_the_pool ON approvals_signature;
DROP FUNCTION approvals_signature_is_of_the_pool();
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0010_looks"), ("accounts", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

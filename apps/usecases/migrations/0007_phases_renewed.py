"""An open rollout phase goes on by a later live decision about it, who it covers unchanged. Raw SQL included."""

from django.db import migrations

FORWARD = """
CREATE OR REPLACE FUNCTION usecases_phase_follows_decisions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stage_now varchar;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a rollout phase is dropped or closed, never deleted' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'planned' OR NEW.decision_id IS NOT NULL OR NEW.opened_at IS NOT NULL THEN
            RAISE EXCEPTION 'a rollout phase begins as planned, not %', NEW.state USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.id <> OLD.id OR NEW.usecase_id <> OLD.usecase_id OR OLD.state = 'dropped' THEN
        RAISE EXCEPTION 'a rollout phase stays with its use case, and a dropped one stays dropped' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (OLD.state = 'open' OR NEW.state = 'open')
       AND (OLD.name, OLD.departments, OLD.percent) IS DISTINCT FROM (NEW.name, NEW.departments, NEW.percent) THEN
        RAISE EXCEPTION 'who a rollout phase covers does not change while it is open' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'open' AND (OLD.state IN ('planned', 'closed') OR OLD.state = 'open' AND NEW.decision_id IS DISTINCT FROM OLD.decision_id) THEN
        SELECT stage INTO stage_now FROM usecases_usecase WHERE id = NEW.usecase_id;
        IF stage_now <> 'production' THEN
            RAISE EXCEPTION 'a rollout phase is opened in production, not at %', stage_now USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF NEW.decision_id IS NULL OR NEW.decision_id IS NOT DISTINCT FROM OLD.decision_id OR NOT decisions_is_live(NEW.decision_id)
           OR NOT EXISTS (SELECT 1 FROM decisions_decision d WHERE d.id = NEW.decision_id AND d.kind = 'phase'
                AND d.phase_id = NEW.id AND d.usecase_id = NEW.usecase_id
                AND (OLD.state <> 'open' OR d.issued_at > (SELECT was.issued_at FROM decisions_decision was WHERE was.id = OLD.decision_id))) THEN
            RAISE EXCEPTION 'opening a rollout phase needs a live decision of a passed gate about it' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (OLD.decision_id, OLD.opened_at) IS DISTINCT FROM (NEW.decision_id, NEW.opened_at) THEN
        RAISE EXCEPTION 'only opening a rollout phase writes its decision' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'dropped' THEN
        SELECT stage INTO stage_now FROM usecases_usecase WHERE id = NEW.usecase_id;
        IF OLD.state <> 'planned' OR OLD.opened_at IS NOT NULL THEN
            RAISE EXCEPTION 'a rollout phase that was opened stays in the plan' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF stage_now NOT IN ('proposal', 'poc', 'pilot') AND NOT EXISTS (SELECT 1 FROM usecases_rolloutphase p
                WHERE p.usecase_id = NEW.usecase_id AND p.id <> NEW.id AND p.state <> 'dropped') THEN
            RAISE EXCEPTION 'the last rollout phase is not dropped in production: without a plan everybody is served'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) <> ('open', 'closed') THEN
        RAISE EXCEPTION 'a rollout phase does not go from % to %', OLD.state, NEW.state USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""
BACKWARD = """
CREATE OR REPLACE FUNCTION usecases_phase_follows_decisions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stage_now varchar;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a rollout phase is dropped or closed, never deleted' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'planned' OR NEW.decision_id IS NOT NULL OR NEW.opened_at IS NOT NULL THEN
            RAISE EXCEPTION 'a rollout phase begins as planned, not %', NEW.state USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.id <> OLD.id OR NEW.usecase_id <> OLD.usecase_id OR OLD.state = 'dropped' THEN
        RAISE EXCEPTION 'a rollout phase stays with its use case, and a dropped one stays dropped' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (OLD.state = 'open' OR NEW.state = 'open')
       AND (OLD.name, OLD.departments, OLD.percent) IS DISTINCT FROM (NEW.name, NEW.departments, NEW.percent) THEN
        RAISE EXCEPTION 'who a rollout phase covers does not change while it is open' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'open' AND OLD.state IN ('planned', 'closed') THEN
        SELECT stage INTO stage_now FROM usecases_usecase WHERE id = NEW.usecase_id;
        IF stage_now <> 'production' THEN
            RAISE EXCEPTION 'a rollout phase is opened in production, not at %', stage_now USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF NEW.decision_id IS NULL OR NEW.decision_id IS NOT DISTINCT FROM OLD.decision_id OR NOT decisions_is_live(NEW.decision_id)
           OR NOT EXISTS (SELECT 1 FROM decisions_decision d WHERE d.id = NEW.decision_id AND d.kind = 'phase'
                AND d.phase_id = NEW.id AND d.usecase_id = NEW.usecase_id) THEN
            RAISE EXCEPTION 'opening a rollout phase needs a live decision of a passed gate about it' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (OLD.decision_id, OLD.opened_at) IS DISTINCT FROM (NEW.decision_id, NEW.opened_at) THEN
        RAISE EXCEPTION 'only opening a rollout phase writes its decision' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'dropped' THEN
        SELECT stage INTO stage_now FROM usecases_usecase WHERE id = NEW.usecase_id;
        IF OLD.state <> 'planned' OR OLD.opened_at IS NOT NULL THEN
            RAISE EXCEPTION 'a rollout phase that was opened stays in the plan' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF stage_now NOT IN ('proposal', 'poc', 'pilot') AND NOT EXISTS (SELECT 1 FROM usecases_rolloutphase p
                WHERE p.usecase_id = NEW.usecase_id AND p.id <> NEW.id AND p.state <> 'dropped') THEN
            RAISE EXCEPTION 'the last rollout phase is not dropped in production: without a plan everybody is served'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) <> ('open', 'closed') THEN
        RAISE EXCEPTION 'a rollout phase does not go from % to %', OLD.state, NEW.state USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("usecases", "0006_materiality"), ("decisions", "0003_phase_decisions")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

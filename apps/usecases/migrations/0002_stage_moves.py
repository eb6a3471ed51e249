"""The stage of a use case follows its moves, and a move forward needs a live decision that no move has used. Raw SQL included.

Inserting a StageMove is the only way to change a stage: its trigger checks the move, then writes the stage. An UPDATE of the
stage from anywhere else (trigger depth 1) is refused. The table of moves is the one in rules.py; a test compares them.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION usecases_begin_as_proposal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.stage <> 'proposal' THEN
        RAISE EXCEPTION 'a use case begins as a proposal, not at %', NEW.stage USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usecases_begin_as_proposal BEFORE INSERT ON usecases_usecase
    FOR EACH ROW EXECUTE FUNCTION usecases_begin_as_proposal();

CREATE FUNCTION usecases_stage_follows_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'the stage of a use case changes only through a stage move (% to %)', OLD.stage, NEW.stage
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usecases_stage_follows_moves BEFORE UPDATE ON usecases_usecase
    FOR EACH ROW WHEN (OLD.stage IS DISTINCT FROM NEW.stage) EXECUTE FUNCTION usecases_stage_follows_moves();

CREATE FUNCTION usecases_apply_move() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    present varchar;
    before_hold varchar;
BEGIN
    SELECT stage INTO present FROM usecases_usecase WHERE id = NEW.usecase_id FOR UPDATE;
    IF present IS NULL OR present <> NEW.from_stage THEN
        RAISE EXCEPTION 'the use case is at %, not at %', present, NEW.from_stage USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (NEW.from_stage, NEW.to_stage) IN (('proposal', 'poc'), ('poc', 'pilot'), ('pilot', 'production'), ('production', 'retired')) THEN
        IF NEW.decision_id IS NULL OR NOT decisions_is_live(NEW.decision_id) OR NOT EXISTS (
            SELECT 1 FROM decisions_decision d WHERE d.id = NEW.decision_id AND d.kind = 'stage'
                AND d.usecase_id = NEW.usecase_id AND d.stage_to = NEW.to_stage) THEN
            RAISE EXCEPTION 'moving forward to % needs a live decision of a passed gate', NEW.to_stage
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    ELSIF NEW.decision_id IS NOT NULL THEN
        RAISE EXCEPTION 'only a move forward uses a decision' USING ERRCODE = 'integrity_constraint_violation';
    ELSIF NEW.from_stage = 'on_hold' AND NEW.to_stage <> 'stopped' THEN
        SELECT m.from_stage INTO before_hold FROM usecases_stagemove m
            WHERE m.usecase_id = NEW.usecase_id AND m.to_stage = 'on_hold' ORDER BY m.moved_at DESC, m.id DESC LIMIT 1;
        IF before_hold IS DISTINCT FROM NEW.to_stage THEN
            RAISE EXCEPTION 'a use case on hold goes back to where it was (%)', before_hold USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    ELSIF (NEW.from_stage, NEW.to_stage) = ('production', 'pilot')
          OR (NEW.from_stage IN ('proposal', 'poc', 'pilot', 'production') AND NEW.to_stage = 'on_hold')
          OR (NEW.from_stage IN ('proposal', 'poc', 'pilot', 'production', 'on_hold') AND NEW.to_stage = 'stopped') THEN
        IF btrim(NEW.reason) = '' THEN
            RAISE EXCEPTION 'this move needs a reason' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    ELSE
        RAISE EXCEPTION 'there is no move from % to %', NEW.from_stage, NEW.to_stage USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    UPDATE usecases_usecase SET stage = NEW.to_stage, stage_since = NEW.moved_at WHERE id = NEW.usecase_id;
    RETURN NEW;
END $$;
CREATE TRIGGER usecases_apply_move BEFORE INSERT ON usecases_stagemove
    FOR EACH ROW EXECUTE FUNCTION usecases_apply_move();

CREATE FUNCTION usecases_moves_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'stage moves are never changed or deleted' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER usecases_moves_stay BEFORE UPDATE OR DELETE ON usecases_stagemove
    FOR EACH ROW EXECUTE FUNCTION usecases_moves_stay();
"""
BACKWARD = """
DROP TRIGGER usecases_begin_as_proposal ON usecases_usecase;
DROP TRIGGER usecases_stage_follows_moves ON usecases_usecase;
DROP TRIGGER usecases_apply_move ON usecases_stagemove;
DROP TRIGGER usecases_moves_stay ON usecases_stagemove;
DROP FUNCTION usecases_begin_as_proposal();
DROP FUNCTION usecases_stage_follows_moves();
DROP FUNCTION usecases_apply_move();
DROP FUNCTION usecases_moves_stay();
"""


class Migration(migrations.Migration):
    dependencies = [("usecases", "0001_initial"), ("decisions", "0002_immutable")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

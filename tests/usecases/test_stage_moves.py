"""Stages move by the one table of moves, forward only by an unused live decision, raw SQL included."""

import itertools

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit.models import Event
from apps.core.clock import now
from apps.core.errors import Conflict, DomainError, Invalid, NoLiveDecision, NotAllowed
from apps.core.ids import new_id
from apps.decisions import selectors as decisions
from apps.decisions import services as decision_services
from apps.usecases import rules, selectors, services
from apps.usecases.models import StageMove, UseCase

pytestmark = pytest.mark.django_db
INSERT = (
    "INSERT INTO usecases_stagemove (id, created_at, usecase_id, from_stage, to_stage, moved_at, decision_id, reason, by) "
    "VALUES (%s, now(), %s, %s, %s, now(), %s, %s, 'raw')"
)


def raw(statement, parameters=()):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def test_a_decision_moves_a_use_case_forward_once(usecase, decide, system):
    decision = decide(usecase, "poc")
    moved = services.promote(actor=system, usecase_id=usecase.id, to_stage="poc", decision=decision)
    assert moved.stage == "poc" and StageMove.objects.get().decision_id == decision.id
    assert Event.objects.filter(action="usecases.stage.promoted").count() == 1
    with pytest.raises(DomainError):
        services.promote(actor=system, usecase_id=usecase.id, to_stage="poc", decision=decision)
    assert StageMove.objects.count() == 1


def test_a_decision_about_something_else_does_not_move_it(usecase, owner, actor_of, decide, system):
    other = services.create_usecase(actor=actor_of(owner), name="Pumps", problem="They fail.", risk_tier="minimal")
    for wrong in (decide(other, "poc"), decide(usecase, "pilot")):
        with pytest.raises(NoLiveDecision):
            services.promote(actor=system, usecase_id=usecase.id, to_stage="poc", decision=wrong)
    assert UseCase.objects.get(id=usecase.id).stage == "proposal"


@pytest.mark.parametrize("how", ["revoked", "held", "expired"])
def test_a_decision_that_no_longer_holds_does_not_move_it(usecase, decide, system, how):
    decision = decide(usecase, "poc")
    if how == "revoked":
        decision_services.revoke(actor=system, decision_id=decision.id, reason="No.")
    elif how == "held":
        decision_services.place_hold(actor=system, decision_id=decision.id, reason="Wait.", source_type="t", source_id="1")
    else:
        from datetime import timedelta

        from apps.core.clock import fixed

        with fixed(now() - timedelta(days=40)):
            decision = decide(usecase, "poc")
    with pytest.raises(NoLiveDecision):
        services.promote(actor=system, usecase_id=usecase.id, to_stage="poc", decision=decision)
    with pytest.raises(DatabaseError, match="live decision"):
        raw(INSERT, [new_id(), usecase.id, "proposal", "poc", decision.id, ""])


@pytest.mark.parametrize("stage", ["poc", "pilot", "production", "retired", "on_hold", "stopped"])
def test_raw_sql_cannot_change_the_stage(usecase, stage):
    with pytest.raises(DatabaseError, match="only through a stage move"):
        raw("UPDATE usecases_usecase SET stage = %s WHERE id = %s", [stage, usecase.id])


def test_raw_sql_cannot_change_the_stage_even_beside_a_live_decision(usecase, decide):
    decide(usecase, "poc")
    with pytest.raises(DatabaseError, match="only through a stage move"):
        raw("UPDATE usecases_usecase SET stage = 'poc' WHERE id = %s", [usecase.id])


def test_raw_sql_cannot_insert_at_a_later_stage(usecase):
    copy = (
        "INSERT INTO usecases_usecase (id, created_at, slug, name, problem, decision_supported, output_users, owner_id, created_by_id, "
        "risk_tier, risk_reason, stage, stage_since, lesson, currency) SELECT %s, created_at, 'copy', name, problem, decision_supported, "
        "output_users, owner_id, created_by_id, risk_tier, risk_reason, %s, stage_since, lesson, currency FROM usecases_usecase"
    )
    with pytest.raises(DatabaseError, match="begins as a proposal"):
        raw(copy, [new_id(), "production"])
    raw(copy, [new_id(), "proposal"])


def test_raw_sql_moves_need_a_decision_that_fits_and_use_it_up(usecase, decide):
    with pytest.raises(DatabaseError, match="live decision"):
        raw(INSERT, [new_id(), usecase.id, "proposal", "poc", None, ""])
    with pytest.raises(DatabaseError, match="live decision"):
        raw(INSERT, [new_id(), usecase.id, "proposal", "poc", new_id(), ""])
    with pytest.raises(DatabaseError, match="not at pilot"):
        raw(INSERT, [new_id(), usecase.id, "pilot", "production", decide(usecase, "production").id, ""])
    decision = decide(usecase, "poc")
    raw(INSERT, [new_id(), usecase.id, "proposal", "poc", decision.id, ""])
    raw(INSERT, [new_id(), usecase.id, "poc", "on_hold", None, "why"])
    raw(INSERT, [new_id(), usecase.id, "on_hold", "poc", None, ""])
    assert UseCase.objects.get(id=usecase.id).stage == "poc"
    with pytest.raises(DatabaseError):
        raw("UPDATE usecases_stagemove SET decision_id = NULL")
    with pytest.raises(DatabaseError):
        raw("DELETE FROM usecases_stagemove")


def test_the_trigger_and_the_table_of_moves_agree_on_every_pair(usecase, move_to, decide, system):
    """Each (from, to): the rule refuses exactly when the database does, given all that a move can have."""
    reach = {
        "proposal": [], "poc": ["poc"], "pilot": ["poc", "pilot"], "production": ["poc", "pilot", "production"],
        "retired": ["poc", "pilot", "production", "retired"],
    }  # fmt: skip
    for from_stage, to_stage in itertools.product(rules.STAGES, rules.STAGES):
        with transaction.atomic():
            for step in reach.get(from_stage, ["poc"]):
                services.promote(actor=system, usecase_id=usecase.id, to_stage=step, decision=decide(usecase, step))
            if from_stage in ("on_hold", "stopped"):
                raw(INSERT, [new_id(), usecase.id, "poc", from_stage, None, "why"])
            move = rules.MOVES.get((from_stage, to_stage))
            expected = move is not None and (not move.back_to_where_it_was or to_stage == "poc")
            decision = decide(usecase, to_stage).id if move and move.needs_decision else None
            try:
                raw(INSERT, [new_id(), usecase.id, from_stage, to_stage, decision, "why"])
                happened = True
            except DatabaseError:
                happened = False
            assert happened == expected, (from_stage, to_stage)
            transaction.set_rollback(True)


def test_falling_back_revokes_what_production_allowed_and_needs_the_gate_again(usecase, owner, actor_of, move_to, decide, system):
    move_to(usecase, "pilot")
    digest = "sha256:" + "a" * 64
    decision = decide(usecase, "production", environment="production", artifact_digest=digest)
    services.promote(actor=system, usecase_id=usecase.id, to_stage="production", decision=decision)
    with pytest.raises(Invalid, match="reason"):
        services.fall_back(actor=actor_of(owner), usecase_id=usecase.id, reason=" ")
    back = services.fall_back(actor=actor_of(owner), usecase_id=usecase.id, reason="It costs too much.")
    assert back.stage == "pilot"
    assert decisions.live_decision(artifact_digest=digest, environment="production") is None
    with pytest.raises(NoLiveDecision):
        services.promote(actor=system, usecase_id=usecase.id, to_stage="production", decision=decision)


def test_only_production_falls_back(usecase, owner, actor_of):
    with pytest.raises(Conflict, match="no move from proposal to pilot"):
        services.fall_back(actor=actor_of(owner), usecase_id=usecase.id, reason="Why not.")


def test_on_hold_suspends_decisions_and_resuming_returns_to_the_same_stage(usecase, owner, actor_of, move_to, decide):
    move_to(usecase, "poc")
    digest = "sha256:" + "a" * 64
    decide(usecase, "pilot", environment="pilot", artifact_digest=digest)
    services.put_on_hold(actor=actor_of(owner), usecase_id=usecase.id, reason="No budget.")
    assert decisions.live_decision(artifact_digest=digest, environment="pilot") is None
    assert "No budget." in decisions.why_not_live(artifact_digest=digest, environment="pilot")
    assert services.resume(actor=actor_of(owner), usecase_id=usecase.id).stage == "poc"
    assert decisions.live_decision(artifact_digest=digest, environment="pilot") is not None
    with pytest.raises(Conflict):
        services.resume(actor=actor_of(owner), usecase_id=usecase.id)


def test_stopping_needs_the_lesson_keeps_it_and_ends_everything(usecase, owner, actor_of, move_to):
    move_to(usecase, "poc")
    with pytest.raises(Invalid, match="lesson"):
        services.stop(actor=actor_of(owner), usecase_id=usecase.id, lesson="")
    stopped = services.stop(actor=actor_of(owner), usecase_id=usecase.id, lesson="The labels come too late.")
    assert (stopped.stage, stopped.lesson) == ("stopped", "The labels come too late.")
    assert not decisions.live().filter(usecase_id=usecase.id).exists()
    with pytest.raises(Conflict):
        services.stop(actor=actor_of(owner), usecase_id=usecase.id, lesson="Again.")


def test_readers_cannot_move_it(usecase, owner, make_user, actor_of):
    reader = make_user("ml_engineer")
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
    for verb in (services.put_on_hold, services.fall_back):
        with pytest.raises(NotAllowed):
            verb(actor=actor_of(reader), usecase_id=usecase.id, reason="Mine.")


def test_time_in_each_stage_adds_up(usecase, owner, actor_of, move_to):
    move_to(usecase, "pilot")
    stays = selectors.time_in_stages(selectors.usecase(actor_of(owner), usecase.id))
    assert [s["stage"] for s in stays] == ["proposal", "poc", "pilot"]
    assert stays[0]["left_at"] == stays[1]["entered_at"] and stays[-1]["left_at"] is None
    assert all(s["seconds"] >= 0 for s in stays)


def test_the_next_stage_is_one_gate_further():
    assert [rules.next_stage(s) for s in rules.STAGES] == ["poc", "pilot", "production", "retired", "", "", ""]


@pytest.mark.parametrize("how", ["fall back", "retire", "hold"])
def test_what_an_incident_holds_does_not_live_again_after_the_move(usecase, owner, actor_of, move_to, decide, system, how):
    move_to(usecase, "production")
    deployed = decide(usecase, "", kind="deploy", environment="production", artifact_digest="sha256:" + "a" * 64)
    hold = decision_services.place_hold(actor=system, decision_id=deployed.id, reason="Odd.", source_type="incident", source_id="1")
    if how == "fall back":
        services.fall_back(actor=actor_of(owner), usecase_id=usecase.id, reason="Not good enough.")
    elif how == "retire":
        services.promote(actor=system, usecase_id=usecase.id, to_stage="retired", decision=decide(usecase, "retired"))
    else:
        services.put_on_hold(actor=actor_of(owner), usecase_id=usecase.id, reason="No budget.")
    decision_services.lift_hold(actor=system, hold_id=hold.id, reason="Mended.")
    assert not decisions.is_live(deployed.id)
    if how == "hold":
        services.resume(actor=actor_of(owner), usecase_id=usecase.id)
        assert decisions.is_live(deployed.id)

"""The rollout plan: what it must say, who may change it, and that only a live decision about a phase opens it, raw SQL included."""

import time
import uuid
from datetime import date, timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit.models import Event
from apps.core.clock import fixed, now
from apps.core.errors import Conflict, Invalid, NoLiveDecision, NotAllowed, NotFound, StaleEvidence
from apps.decisions import selectors as decisions
from apps.decisions import services as decision_services
from apps.outbox.models import Message
from apps.usecases import phase_rules as rules
from apps.usecases import phase_selectors as selectors
from apps.usecases import services
from apps.usecases.models import RolloutPhase
from apps.usecases.phase_rules import Cohort

DAY = date(2026, 12, 1)
WORDS = {"planned_on": DAY, "entry_criteria": "The desk was trained."}


# --- rules: tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("departments", "groups", "is_covered"),
    [
        ([], [], True), ([], ["Claims"], True), (["Claims"], ["Claims"], True), (["Claims"], ["claims "], True), (["Claims"], ["Billing"], False),
        (["Claims"], [], False), (["North  Team"], ["Claims", "north team"], True), (["A", "B"], ["b"], True),
    ],
)  # fmt: skip
def test_who_belongs_to_departments(departments, groups, is_covered):
    assert rules.covers(departments, groups) is is_covered


@pytest.mark.parametrize(
    ("cohort", "earlier", "nobody"),
    [
        (Cohort(("A",)), Cohort(), True), (Cohort(("A",), 10), Cohort(("a",), 10), True), (Cohort(("A",), 5), Cohort(("A", "B"), 10), True),
        (Cohort((), 10), Cohort((), 10), True), (Cohort((), 9), Cohort((), 10), True), (Cohort(), Cohort(), True),
        (Cohort((), 11), Cohort((), 10), False), (Cohort(("A",)), Cohort(("B",)), False), (Cohort(), Cohort(("A",)), False),
        (Cohort(("A",)), Cohort(("A",), 50), False), (Cohort(("A", "B")), Cohort(("A",)), False), (Cohort((), 10), Cohort(("A",)), False),
    ],
)  # fmt: skip
def test_a_phase_that_adds_nobody_is_told(cohort, earlier, nobody):
    assert rules.adds_nobody(cohort, earlier) is nobody


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "), ("name", "x" * 101), ("name", "a\u200bb"), ("entry_criteria", ""), ("percent", 0), ("percent", 101), ("percent", True), ("percent", 10.5),
        ("planned_on", None), ("planned_on", "2026-12-01"), ("departments", [""]), ("departments", ["x" * 101]), ("departments", [str(n) for n in range(51)]),
        ("checks", ["kpis.effect"]), ("checks", [{"check": "a"}, {"check": "a"}]), ("checks", [{"check": "a", "with": 3}]),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field, value):
    with pytest.raises(Invalid) as refused:
        rules.check_phase({field: value})
    assert list(refused.value.errors) == [field]


def test_departments_are_taken_once_and_the_words_say_who_is_covered():
    assert rules.check_phase({"departments": ["Claims", " claims", "North  Team"]}) == {"departments": ["Claims", "North Team"]}
    assert [Cohort().words, Cohort(("Claims",)).words, Cohort(("Claims",), 30).words, Cohort((), 10).words] == [
        "everybody", "everybody in Claims", "30% of the users in Claims", "10% of the users",
    ]  # fmt: skip


def test_checks_are_written_one_a_line():
    found = rules.read_checks("kpis.effect minimum_pct=5 floor=true\n\nmonitoring.no_open_incident\n")
    assert found == [
        {"check": "kpis.effect", "with": {"minimum_pct": 5, "floor": True}},
        {"check": "monitoring.no_open_incident", "with": {}},
    ]
    assert rules.check_words(found[0]) == "kpis.effect floor=true minimum_pct=5"
    with pytest.raises(Invalid, match="line 2"):
        rules.read_checks("kpis.effect\nkpis.effect minimum_pct")


# --- services ---------------------------------------------------------------------------------------


def test_checks_of_a_phase_can_be_read_as_they_are_written():
    for settings in ({"during": ""}, {"during": "any earlier", "floor": False}, {"during": "Claims desk, the “first” week's"}, {"during": 'a "b" \\ c'}):
        row = {"check": "kpis.effect", "with": {"minimum_pct": 5, **settings}}
        read = {**row, "with": {name: value for name, value in row["with"].items() if value != ""}}
        assert rules.read_checks(rules.check_words(row)) == [read], "what is left empty asks for nothing"
    with pytest.raises(Invalid, match="line 1: a quotation mark is not closed"):
        rules.read_checks("kpis.effect during='Claims")


@pytest.fixture
def plan(usecase, owner, actor_of):
    """plan("claims", departments=["Claims"]) -> a phase, planned by the owner."""

    def make(name, **more):
        return services.plan_phase(actor=actor_of(owner), usecase_id=usecase.id, name=name, **(WORDS | more))

    return make


@pytest.fixture
def decide_phase(system):
    """decide_phase(phase) -> a live decision about it."""

    def make(phase, **changed):
        given = {
            "usecase_id": phase.usecase_id, "kind": "phase", "stage_to": "", "environment": "", "model_version_id": None, "model_version_label": "",
            "artifact_digest": "", "gate_id": uuid.uuid4(), "evidence_digest": "sha256:" + "e" * 64, "valid_days": 30, "phase_id": phase.id,
            "phase_name": phase.name,
        } | changed  # fmt: skip
        return decision_services.issue(actor=system, **given)

    return make


@pytest.fixture
def open_it(system, decide_phase):
    """open_it(phase) opens it as approvals does."""

    def make(phase, **changed):
        fresh = RolloutPhase.objects.select_related("owner").get(id=phase.id)
        given = {"decision": changed.get("decision") or decide_phase(phase), "signed": changed.get("signed") or selectors.facts(fresh)}
        return services.open_phase(actor=system, phase_id=phase.id, **given)

    return make


def actions():
    return list(Event.objects.filter(action__startswith="usecases.phase").order_by("id").values_list("action", flat=True))


@pytest.mark.django_db
class TestPlan:
    def test_phases_stand_in_order_with_the_use_cases_owner(self, plan, usecase, owner):
        before = Message.objects.filter(topic="deployments.publish_routing").count()
        plan("claims", departments=["Claims"], checks=[{"check": "kpis.effect", "with": {"minimum_pct": 5.0}}])
        plan("half", percent=50)
        rows = selectors.plan(usecase.id)
        assert [(r.number, r.phase.name, r.state, r.serving, r.phase.owner) for r in rows] == [
            (1, "claims", "planned", False, owner), (2, "half", "planned", False, owner),
        ]  # fmt: skip
        assert rows[0].phase.checks == [{"check": "kpis.effect", "with": {"minimum_pct": 5.0, "floor": True, "origin": "any", "during": ""}}], "defaults filled in"
        assert actions() == ["usecases.phase.planned"] * 2
        assert Message.objects.filter(topic="deployments.publish_routing").count() == before + 2

    @pytest.mark.parametrize(
        ("changed", "error", "words"),
        [
            ({"name": "Claims"}, Conflict, "name"), ({"name": "other", "departments": ["claims"]}, Invalid, "add nobody"),
            ({"name": "other", "checks": [{"check": "no.such"}]}, Invalid, "no check"),
            ({"name": "other", "checks": [{"check": "kpis.effect", "with": {"odd": 1}}]}, Invalid, "unknown parameter"),
            ({"name": "other", "percent": 0}, Invalid, "percent"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_refused_and_nothing_is_stored(self, plan, usecase, changed, error, words):
        plan("claims", departments=["Claims"])
        with pytest.raises(error, match=words):
            plan(**changed)
        assert len(selectors.plan(usecase.id)) == 1

    def test_a_reader_does_not_plan_and_a_stranger_sees_nothing(self, plan, usecase, owner, make_user, actor_of):
        reader = make_user("stakeholder")
        services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
        with pytest.raises(NotAllowed):
            services.plan_phase(actor=actor_of(reader), usecase_id=usecase.id, name="x", **WORDS)
        phase = plan("claims")
        with pytest.raises(NotAllowed):
            services.close_phase(actor=actor_of(reader), phase_id=phase.id, reason="No.")
        with pytest.raises(NotFound):
            services.change_phase(actor=actor_of(make_user("ml_engineer")), phase_id=phase.id, name="y")

    def test_the_first_phase_in_production_has_to_be_meant(self, plan, usecase, move_to):
        move_to(usecase, "production")
        with pytest.raises(Conflict, match="everybody is served"):
            plan("claims")
        plan("claims", closes_now=True)
        assert selectors.reached(selectors.plan(usecase.id), ["Claims"]) == 0

    def test_a_plan_with_phases_that_cannot_add_anybody_after_everybody(self, plan):
        plan("everybody")
        with pytest.raises(Invalid, match="add nobody"):
            plan("claims", departments=["Claims"])

    def test_change_and_reorder(self, plan, usecase, owner, actor_of):
        first, second = plan("claims", departments=["Claims"]), plan("billing", departments=["Billing"])
        changed = services.change_phase(actor=actor_of(owner), phase_id=second.id, percent=30, position=1)
        assert [(r.phase.name, r.phase.position) for r in selectors.plan(usecase.id)] == [("billing", 1), ("claims", 2)]
        assert changed.percent == 30
        said = Event.objects.filter(action="usecases.phase.changed").count()
        services.change_phase(actor=actor_of(owner), phase_id=second.id, percent=30)
        assert Event.objects.filter(action="usecases.phase.changed").count() == said, "the same again changes nothing"
        with pytest.raises(Invalid, match="position"):
            services.change_phase(actor=actor_of(owner), phase_id=first.id, position=3)

    def test_drop_closes_the_gap_and_may_be_repeated(self, plan, usecase, owner, actor_of):
        first, second = plan("claims", departments=["Claims"]), plan("billing", departments=["Billing"])
        for _ in range(2):
            services.drop_phase(actor=actor_of(owner), phase_id=first.id)
        assert [(r.phase.id, r.phase.position) for r in selectors.plan(usecase.id)] == [(second.id, 1)]
        assert actions().count("usecases.phase.dropped") == 1
        plan("claims", departments=["Claims"])
        services.drop_phase(actor=actor_of(owner), phase_id=second.id)

    def test_in_production_the_last_phase_stays(self, plan, usecase, owner, actor_of, move_to):
        phase = plan("claims")
        move_to(usecase, "production")
        with pytest.raises(Conflict, match="last phase"):
            services.drop_phase(actor=actor_of(owner), phase_id=phase.id)


@pytest.mark.django_db
class TestOpen:
    def test_a_decision_opens_its_phase_once(self, plan, usecase, move_to, open_it, decide_phase):
        phase = plan("claims", departments=["Claims"])
        move_to(usecase, "production")
        decision = decide_phase(phase)
        open_it(phase, decision=decision)
        (row,) = selectors.plan(usecase.id)
        assert row.serving and row.state == "open" and row.decision == decision
        assert (selectors.reached([row], ["Claims"]), selectors.reached([row], ["Billing"]), selectors.reached([row], [])) == (100, 0, 0)
        assert Event.objects.get(action="usecases.phase.opened").decision_id == str(decision.id)
        with pytest.raises(Conflict, match="is open"):
            open_it(phase, decision=decision)

    @pytest.mark.parametrize("how", ["another phase", "revoked", "held", "expired", "not in production", "changed"])
    def test_what_does_not_fit_opens_nothing(self, plan, usecase, move_to, open_it, decide_phase, system, owner, actor_of, how):
        phase, other = plan("claims", departments=["Claims"]), plan("billing", departments=["Billing"])
        if how != "not in production":
            move_to(usecase, "production")
        error, signed = NoLiveDecision, None
        decision = decide_phase(other if how == "another phase" else phase)
        if how == "revoked":
            decision_services.revoke(actor=system, decision_id=decision.id, reason="No.")
        elif how == "held":
            decision_services.place_hold(actor=system, decision_id=decision.id, reason="Wait.", source_type="t", source_id="1")
        elif how == "expired":
            with fixed(now() - timedelta(days=40)):
                decision = decide_phase(phase)
        elif how == "changed":
            signed, error = selectors.facts(phase), StaleEvidence
            services.change_phase(actor=actor_of(owner), phase_id=phase.id, percent=50)
        elif how == "not in production":
            error = Conflict
        with pytest.raises(error):
            open_it(phase, decision=decision, signed=signed)
        assert not any(r.serving for r in selectors.plan(usecase.id))

    def test_who_an_open_phase_covers_stays(self, plan, usecase, move_to, open_it, owner, actor_of):
        phase = plan("claims", departments=["Claims"])
        move_to(usecase, "production")
        open_it(phase)
        for change in ({"percent": 50}, {"departments": []}, {"name": "all"}):
            with pytest.raises(Conflict, match="signed for"):
                services.change_phase(actor=actor_of(owner), phase_id=phase.id, **change)
        services.change_phase(actor=actor_of(owner), phase_id=phase.id, entry_criteria="Seen, and kept.")
        with pytest.raises(Conflict, match="keeps its place"):
            plan("billing", departments=["Billing"])
            services.change_phase(actor=actor_of(owner), phase_id=phase.id, position=2)
        with pytest.raises(Conflict, match="Close it instead"):
            services.drop_phase(actor=actor_of(owner), phase_id=phase.id)

    def test_closing_needs_a_reason_revokes_and_is_not_repeated(self, plan, usecase, move_to, open_it, owner, actor_of):
        phase = plan("claims", departments=["Claims"])
        move_to(usecase, "production")
        opened = open_it(phase)
        with pytest.raises(Invalid, match="reason"):
            services.close_phase(actor=actor_of(owner), phase_id=phase.id, reason=" ")
        closed = services.close_phase(actor=actor_of(owner), phase_id=phase.id, reason="Odd answers.")
        assert closed.state == "closed" and closed.close_reason == "Odd answers."
        assert "revoked" in decisions.state_of(decisions.decision(opened.decision_id))
        assert not selectors.plan(usecase.id)[0].serving
        with pytest.raises(Conflict, match="is closed"):
            services.close_phase(actor=actor_of(owner), phase_id=phase.id, reason="Again.")
        open_it(phase)
        assert selectors.plan(usecase.id)[0].serving, "a new decision opens it again"

    @pytest.mark.parametrize("how", ["fall back", "stop", "retire"])
    def test_leaving_production_closes_what_was_open(self, plan, usecase, move_to, open_it, owner, actor_of, system, decide, how):
        phase = plan("claims")
        move_to(usecase, "production")
        open_it(phase)
        if how == "fall back":
            services.fall_back(actor=actor_of(owner), usecase_id=usecase.id, reason="Drift.")
        elif how == "stop":
            services.stop(actor=actor_of(owner), usecase_id=usecase.id, lesson="It did not pay.")
        else:
            services.promote(actor=system, usecase_id=usecase.id, to_stage="retired", decision=decide(usecase, "retired"))
        (row,) = selectors.plan(usecase.id)
        assert row.state == "closed" and not row.serving and actions()[-1] == "usecases.phase.closed"

    def test_a_held_decision_serves_on_and_an_expired_one_does_not(self, plan, usecase, move_to, open_it, decide_phase, system):
        phase = plan("claims")
        move_to(usecase, "production")
        opened = open_it(phase)
        decision_services.place_hold(actor=system, decision_id=opened.decision_id, reason="Wait.", source_type="t", source_id="1")
        (row,) = selectors.plan(usecase.id)
        assert row.serving and "on hold" in row.why_not, "those it serves are served on; nothing further opens"
        with fixed(now() + timedelta(days=31)):
            (row,) = selectors.plan(usecase.id)
            assert not row.serving and row.state == "ended"

    def test_plans_of_many_use_cases_take_four_queries(self, plan, usecase, move_to, open_it, django_assert_max_num_queries):
        for name in ("claims", "billing", "north"):
            phase = plan(name, departments=[name])
        move_to(usecase, "production")
        open_it(phase)
        with django_assert_max_num_queries(4):
            [r.why_not for r in selectors.plans([usecase.id])[usecase.id]]


@pytest.mark.django_db
def test_a_phase_whose_approval_has_ended_is_opened_by_a_new_one(plan, usecase, move_to, decide_phase, open_it):
    phase = plan("claims", departments=["Claims"])
    move_to(usecase, "production")
    with fixed(now() - timedelta(days=1) + timedelta(seconds=2)):
        first = open_it(phase, decision=decide_phase(phase, valid_days=1))
    time.sleep(max(0, (decisions.decision(first.decision_id).expires_at - now()).total_seconds()) + 0.05)
    assert selectors.plan(usecase.id)[0].state == "ended" and selectors.reached(selectors.plan(usecase.id), ["claims"]) == 0
    again = open_it(phase)
    (row,) = selectors.plan(usecase.id)
    assert row.serving and row.decision.id == again.decision_id != first.decision_id and again.opened_at > first.opened_at
    assert not hasattr(decisions.decision(first.decision_id), "revocation"), "it had run out, nobody ended it"
    assert actions() == ["usecases.phase.planned", "usecases.phase.opened", "usecases.phase.renewed"]


# --- raw SQL ----------------------------------------------------------------------------------------


def raw(statement, *parameters):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


@pytest.mark.django_db
class TestRawSql:
    def test_a_phase_is_not_opened_without_a_live_decision_about_it(self, plan, usecase, move_to, decide_phase, decide, system):
        phase, other = plan("claims", departments=["Claims"]), plan("billing", departments=["Billing"])
        opening = "UPDATE usecases_rolloutphase SET state = 'open', opened_at = now(), decision_id = %s WHERE id = %s"
        good = decide_phase(phase)
        with pytest.raises(DatabaseError, match="in production"):
            raw(opening, good.id, phase.id)
        move_to(usecase, "production")
        revoked = decide_phase(phase)
        decision_services.revoke(actor=system, decision_id=revoked.id, reason="No.")
        stage = decide(usecase, "retired")
        for wrong in (None, uuid.uuid4(), revoked.id, stage.id, decide_phase(other).id):
            with pytest.raises(DatabaseError, match="needs a live decision"):
                raw(opening, wrong, phase.id)
        with pytest.raises(DatabaseError, match="does not change while it is open"):
            raw(
                "UPDATE usecases_rolloutphase SET state = 'open', opened_at = now(), decision_id = %s, percent = 100 WHERE id = %s",
                good.id,
                phase.id,
            )
        raw(opening, good.id, phase.id)
        assert selectors.plan(usecase.id)[0].serving

    @pytest.mark.parametrize(
        ("statement", "words"),
        [
            ("UPDATE usecases_rolloutphase SET percent = 100", "does not change"),
            ("UPDATE usecases_rolloutphase SET departments = '[]'", "does not change"),
            ("UPDATE usecases_rolloutphase SET decision_id = gen_random_uuid()", "needs a live decision"),
            ("UPDATE usecases_rolloutphase SET decision_id = NULL", "needs a live decision"),
            ("UPDATE usecases_rolloutphase SET opened_at = now()", "only opening"),
            ("UPDATE usecases_rolloutphase SET state = 'planned'", "does not go from"),
            ("UPDATE usecases_rolloutphase SET state = 'dropped', position = NULL", "stays in the plan"),
            ("UPDATE usecases_rolloutphase SET state = 'closed'", "reason"),
            ("DELETE FROM usecases_rolloutphase", "never deleted"),
        ],
    )
    def test_an_open_phase_stays_what_was_signed(self, plan, usecase, move_to, open_it, statement, words):
        phase = plan("claims", departments=["Claims"])
        move_to(usecase, "production")
        open_it(phase)
        with pytest.raises(DatabaseError, match=words):
            raw(statement)

    def test_an_open_phase_goes_on_by_a_later_live_decision_about_it_alone(self, plan, usecase, move_to, decide_phase, open_it, system):
        phase, other = plan("claims", departments=["Claims"]), plan("billing", departments=["Billing"])
        move_to(usecase, "production")
        earlier = decide_phase(phase)
        open_it(phase)
        swap = "UPDATE usecases_rolloutphase SET decision_id = %s WHERE id = %s"
        revoked, good = decide_phase(phase), decide_phase(phase)
        decision_services.revoke(actor=system, decision_id=revoked.id, reason="No.")
        for wrong in (earlier.id, revoked.id, decide_phase(other).id):
            with pytest.raises(DatabaseError, match="needs a live decision"):
                raw(swap, wrong, phase.id)
        with pytest.raises(DatabaseError, match="does not change while it is open"):
            raw("UPDATE usecases_rolloutphase SET decision_id = %s, percent = 10 WHERE id = %s", good.id, phase.id)
        raw(swap, good.id, phase.id)
        assert selectors.plan(usecase.id)[0].decision.id == good.id

    def test_a_phase_begins_as_planned(self, plan, usecase):
        plan("claims")
        copy = (
            "INSERT INTO usecases_rolloutphase (id, created_at, usecase_id, position, name, departments, percent, planned_on, entry_criteria, checks, "
            "owner_id, state, decision_id, opened_at, close_reason, closed_by) SELECT gen_random_uuid(), created_at, usecase_id, 2, 'copy', departments, "
            "percent, planned_on, entry_criteria, checks, owner_id, %s, NULL, NULL, '', '' FROM usecases_rolloutphase"
        )
        for state in ("open", "closed", "dropped"):
            with pytest.raises(DatabaseError):
                raw(copy, state)
        raw(copy, "planned")

    def test_the_last_phase_is_not_dropped_in_production(self, plan, usecase, move_to):
        plan("claims")
        move_to(usecase, "production")
        with pytest.raises(DatabaseError, match="without a plan everybody is served"):
            raw("UPDATE usecases_rolloutphase SET state = 'dropped', position = NULL")

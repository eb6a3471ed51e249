"""Decisions: issued once a gate, never changed, ended or suspended by rows beside them."""

import uuid
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit.models import Event
from apps.core.clock import fixed, now
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.decisions import rules, selectors, services
from apps.decisions.models import Decision

pytestmark = pytest.mark.django_db
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def issue(system):
    def make(**changed):
        given = {
            "usecase_id": uuid.uuid4(), "kind": "stage", "stage_to": "pilot", "environment": "pilot", "model_version_id": uuid.uuid4(),
            "model_version_label": "outreach/1", "artifact_digest": DIGEST, "gate_id": uuid.uuid4(), "evidence_digest": "sha256:" + "e" * 64,
            "valid_days": 30,
        } | changed  # fmt: skip
        return services.issue(actor=system, **given)

    return make


def test_an_issued_decision_is_live_for_its_artifact_environment_and_use_case(issue):
    decision = issue()
    found = selectors.live_decision(artifact_digest=DIGEST, environment="pilot", usecase_id=decision.usecase_id)
    assert found == decision
    assert Event.objects.filter(action="decisions.decision.issued", object_id=str(decision.id)).count() == 1


def test_it_allows_nothing_else(issue):
    decision = issue()
    assert selectors.live_decision(artifact_digest=DIGEST, environment="production", usecase_id=decision.usecase_id) is None
    assert selectors.live_decision(artifact_digest="sha256:" + "b" * 64, environment="pilot") is None
    assert selectors.live_decision(artifact_digest=DIGEST, environment="pilot", usecase_id=uuid.uuid4()) is None
    assert selectors.live_decision(artifact_digest="", environment="") is None


def test_a_gate_has_one_decision(issue):
    gate = uuid.uuid4()
    issue(gate_id=gate)
    with pytest.raises(Conflict, match="has its decision already"):
        issue(gate_id=gate)
    assert Decision.objects.filter(gate_id=gate).count() == 1


def test_an_engineer_cannot_issue(make_user, actor_of, issue):
    actor = actor_of(make_user("ml_engineer"))
    with pytest.raises(NotAllowed, match="passed gate"):
        services.issue(
            actor=actor, usecase_id=uuid.uuid4(), kind="stage", stage_to="poc", environment="", model_version_id=None, model_version_label="",
            artifact_digest="", gate_id=uuid.uuid4(), evidence_digest="x", valid_days=1,
        )  # fmt: skip
    assert not Decision.objects.exists()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"kind": "other"}, "kind"),
        ({"environment": "staging"}, "environment"),
        ({"stage_to": ""}, "stage_to"),
        ({"kind": "deploy"}, "environment"),
        ({"kind": "deploy", "stage_to": "", "environment": ""}, "environment"),
        ({"artifact_digest": ""}, "artifact_digest"),
        ({"artifact_digest": "md5:1"}, "artifact_digest"),
        ({"valid_days": 0}, "valid_days"),
        ({"valid_days": 5000}, "valid_days"),
    ],
)
def test_fields_that_do_not_fit_are_refused_by_name(issue, changed, field):
    with pytest.raises(Invalid) as refused:
        issue(**changed)
    assert field in refused.value.errors


@pytest.mark.parametrize(
    "statement", ["UPDATE decisions_decision SET expires_at = now() + interval '10 years'", "DELETE FROM decisions_decision"]
)
def test_raw_sql_cannot_change_a_decision(issue, statement):
    issue()
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_decision_ends_at_its_expiry(issue):
    decision = issue(valid_days=1)
    with fixed(decision.expires_at - timedelta(seconds=1)):
        assert selectors.is_live(decision.id)
    with fixed(decision.expires_at):
        assert not selectors.is_live(decision.id)
        assert "expired" in selectors.why_not_live(artifact_digest=DIGEST, environment="pilot")


def test_revoking_ends_it_and_doing_it_twice_changes_nothing(issue, system):
    decision = issue()
    before = now()
    services.revoke(actor=system, decision_id=decision.id, reason="The data were wrong.")
    services.revoke(actor=system, decision_id=decision.id, reason="Again.")
    assert not selectors.is_live(decision.id)
    assert selectors.is_live(decision.id, at=before), "the past stays as it was"
    assert "The data were wrong." in selectors.why_not_live(artifact_digest=DIGEST, environment="pilot")
    assert Event.objects.filter(action="decisions.decision.revoked").count() == 1
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM decisions_revocation")


def test_revoking_needs_a_reason_and_a_decision(issue, system):
    with pytest.raises(Invalid, match="reason"):
        services.revoke(actor=system, decision_id=issue().id, reason="  ")
    with pytest.raises(NotFound):
        services.revoke(actor=system, decision_id=uuid.uuid4(), reason="Why not.")


def test_a_hold_suspends_until_the_last_one_is_lifted(issue, system):
    decision = issue()
    first = services.place_hold(actor=system, decision_id=decision.id, reason="Incident 1.", source_type="incident", source_id="1")
    again = services.place_hold(actor=system, decision_id=decision.id, reason="Incident 1.", source_type="incident", source_id="1")
    second = services.place_hold(actor=system, decision_id=decision.id, reason="Incident 2.", source_type="incident", source_id="2")
    assert first == again != second
    assert "on hold. Incident 1." in selectors.why_not_live(artifact_digest=DIGEST, environment="pilot")
    services.lift_hold(actor=system, hold_id=first.id, reason="Mended.")
    assert not selectors.is_live(decision.id)
    services.lift_hold(actor=system, hold_id=second.id, reason="Mended.")
    services.lift_hold(actor=system, hold_id=second.id, reason="Mended.")
    assert selectors.is_live(decision.id)
    assert Event.objects.filter(action="decisions.hold.lifted").count() == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE decisions_hold SET reason = 'nothing'",
        "UPDATE decisions_hold SET lifted_at = now() - interval '1 day', source_id = 'x'",
        "DELETE FROM decisions_hold",
    ],
)
def test_raw_sql_can_only_lift_a_hold(issue, system, statement):
    services.place_hold(actor=system, decision_id=issue().id, reason="Incident.", source_type="incident", source_id="1")
    with pytest.raises(DatabaseError, match="only be lifted"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_without_any_decision_the_words_say_so(db):
    assert "No gate has been passed" in selectors.why_not_live(artifact_digest=DIGEST, environment="pilot")


def test_the_newest_live_decision_counts(issue):
    usecase = uuid.uuid4()
    old = issue(usecase_id=usecase)
    new = issue(usecase_id=usecase)
    assert selectors.live_decision(artifact_digest=DIGEST, environment="pilot", usecase_id=usecase) == new
    assert [d.id for d in selectors.for_usecase(usecase)] == [new.id, old.id]


def test_the_database_and_the_rule_agree_on_what_is_live(issue, system):
    """`decisions_is_live` in SQL is what triggers ask; the rule is what people read."""
    plain, revoked, held = issue(), issue(), issue()
    services.revoke(actor=system, decision_id=revoked.id, reason="No.")
    services.place_hold(actor=system, decision_id=held.id, reason="Wait.", source_type="t", source_id="1")
    for decision in (plain, revoked, held):
        with connection.cursor() as cursor:
            cursor.execute("SELECT decisions_is_live(%s)", [decision.id])
            in_database = cursor.fetchone()[0]
        assert in_database == selectors.is_live(decision.id) == (not selectors.state_of(selectors.decision(decision.id)))


def test_an_expiry_is_counted_in_days():
    moment = now()
    assert rules.expiry(moment, 2) - moment == timedelta(days=2)

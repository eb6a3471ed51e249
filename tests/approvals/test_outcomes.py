"""What a gate can end with besides yes: refused with what would change it, stopped with its lesson, built anew. And abstaining."""

import pytest
from django.db import DatabaseError, connection, transaction

from apps.approvals import rules, selectors
from apps.approvals.models import Gate, Signature
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid
from apps.core.ids import new_id
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.notices.models import Notice
from apps.usecases.models import StageMove, UseCase

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"meaning": "rejected", "comment": "", "would_change": "More."}, "comment"),
        ({"meaning": "rejected", "comment": "No.", "would_change": " "}, "would_change"),
        ({"meaning": "abstain", "comment": ""}, "comment"),
        ({"meaning": "stopped", "comment": ""}, "comment"),
        ({"meaning": "rebuild", "comment": ""}, "comment"),
        ({"meaning": "maybe", "comment": "Hm."}, "meaning"),
    ],
)
def test_an_answer_without_its_words_names_the_field_and_stores_nothing(pilot_gate, business, sign, given, field):
    with pytest.raises(Invalid) as refused:
        sign(pilot_gate, business, "business", **given)
    assert field in refused.value.errors and not Signature.objects.exists()


@pytest.mark.parametrize("meaning", ["stopped", "rebuild"])
def test_only_business_stops_or_rebuilds(pilot_gate, risk, sign, meaning):
    with pytest.raises(Invalid, match="only business"):
        sign(pilot_gate, risk, "risk", meaning=meaning, comment="Words.")


def test_a_refusal_keeps_what_would_change_it(pilot_gate, risk, sign):
    gate = sign(pilot_gate, risk, "risk", meaning="rejected", comment="Recall is low.", would_change="Recall above 0.8 at every site.")
    assert gate.state == "rejected" and gate.signatures.get().would_change == "Recall above 0.8 at every site."


def test_abstaining_counts_for_nothing_and_is_said(pilot_gate, risk, business, make_user, sign, actor_of):
    gate = sign(pilot_gate, risk, "risk", meaning="abstain", comment="I know the vendor.")
    assert gate.state == "open" and rules.still_wanted(gate.policy.quorum, []) == {"business": 1, "risk": 1}
    with pytest.raises(Conflict, match="one person, one signature"):
        sign(pilot_gate, risk, "risk")
    sign(pilot_gate, business, "business")
    page = selectors.gate_page(actor_of(business), gate.id)
    assert [s.printed_name for s in page.abstained] == ["Rita Risk"] and {s.function: s.wanted for s in page.seats} == {"business": 0, "risk": 1}
    assert sign(pilot_gate, make_user("approver:risk"), "risk").state == "approved"


def test_stopping_ends_the_use_case_with_its_lesson(pilot_gate, usecase, business, sign):
    gate = sign(pilot_gate, business, "business", meaning="stopped", comment="Nobody reads the list.")
    usecase.refresh_from_db()
    assert gate.state == "stopped" and usecase.stage == "stopped" and usecase.lesson == "Nobody reads the list."
    assert not decisions.live().filter(usecase_id=usecase.id).exists() and not Decision.objects.filter(gate_id=gate.id).exists()
    assert Notice.objects.filter(event="gate.stopped").count() == 1


def test_rebuilding_begins_a_linked_successor_at_proof_of_concept_by_a_decision(pilot_gate, usecase, business, engineer, sign, api):
    gate = sign(pilot_gate, business, "business", meaning="rebuild", comment="It works; batch files cannot carry ten times the load.")
    successor = UseCase.objects.get(predecessor=usecase)
    assert gate.state == "rebuilt" and successor.stage == "poc" and successor.slug != usecase.slug
    move = StageMove.objects.get(usecase=successor)
    assert move.decision_id == gate.decision_id and Decision.objects.get(id=gate.decision_id).usecase_id == successor.id
    usecase.refresh_from_db()
    assert usecase.stage == "poc", "the use case itself stays where it is"
    assert list(successor.integrations.values_list("name", flat=True)) == ["Register"]
    seen = api(engineer).get(f"/api/v1/usecases/{successor.slug}/").json()
    assert seen["predecessor"] == usecase.slug, "who could change the old one can change the new one"
    assert api(engineer).get(f"/api/v1/usecases/{usecase.slug}/").json()["successors"] == [successor.slug]


def test_there_is_nothing_to_rebuild_before_there_is_something(poc_gate, business, sign):
    with pytest.raises(Invalid, match="pilot or production"):
        sign(poc_gate, business, "business", meaning="rebuild", comment="Again.")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"meaning": "rejected", "comment": "No."}, "what would change"),
        ({"meaning": "abstain", "comment": " "}, "needs words"),
        ({"meaning": "stopped", "comment": "x", "function": "risk"}, "only business"),
    ],
)
def test_raw_sql_cannot_leave_the_words_out(pilot_gate, risk, changed, words):
    row = {
        "id": new_id(), "gate_id": pilot_gate.id, "signer_id": risk.id, "printed_name": "R", "function": "risk", "comment": "", "method": "m",
        "would_change": "", "evidence_digest": pilot_gate.evidence_digest, "void_reason": "", "created_at": now(), "signed_at": now(),
    } | changed  # fmt: skip
    statement = f"INSERT INTO approvals_signature ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"
    with pytest.raises(DatabaseError, match=words), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, list(row.values()))


@pytest.mark.parametrize("state", ["stopped", "rebuilt", "lapsed", "rejected", "withdrawn"])
def test_every_end_is_an_end(poc_gate, business, sign, state):
    sign(poc_gate, business, "business", meaning="stopped", comment="Over.")
    with pytest.raises(DatabaseError, match="stays as it is"), transaction.atomic():
        Gate.objects.filter(id=poc_gate.id).update(state="open")

"""What is new on a gate since a person looked: told to each on their own, in words, and lost by nobody who comes back in a hurry."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import F

from apps.approvals import look_rules, looks, selectors, services
from apps.approvals.models import Look
from apps.core.doors import call
from tests.approvals.conftest import policy

pytestmark = pytest.mark.django_db
T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def words(page):
    return [n.text for n in page.news]


@pytest.fixture
def look(actor_of, monkeypatch):
    """look(person, gate): they open the gate's page, each time anew."""
    monkeypatch.setattr(look_rules, "SAME_READING", timedelta(0))
    return lambda person, gate: services.look(actor=actor_of(person), gate_id=gate.id)


def test_the_first_look_has_nothing_to_tell_and_neither_has_one_after_which_nothing_happened(look, poc_gate, business):
    assert look(business, poc_gate).news == []
    assert look(business, poc_gate).news == []
    assert Look.objects.count() == 1


def test_comments_signatures_and_files_of_others_are_told_and_ones_own_are_not(look, pilot_gate, business, risk, actor_of, sign):
    look(business, pilot_gate), look(risk, pilot_gate)
    services.comment(actor=actor_of(risk), gate_id=pilot_gate.id, text="Who reviews it?", kind="question")
    sign(pilot_gate, risk, "risk")
    assert words(look(business, pilot_gate)) == [f"{risk} asked: “Who reviews it?”", "Rita Risk signed for risk: approved"]
    assert words(look(risk, pilot_gate)) == []


def test_an_answer_and_a_file_of_a_draft(look, policies, usecase, engineer, owner, business, actor_of):
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc")
    look(engineer, gate)
    services.attach(actor=actor_of(owner), gate_id=gate.id, item="described", name="plan.txt", content=b"The plan.")
    services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="yes", note="I wrote it.")
    told = words(look(engineer, gate))
    assert told == ["It is described: not answered → yes: I wrote it.", f"{owner} attached plan.txt"]


def test_evidence_that_changed_is_told_as_a_diff_and_the_void_signature_with_it(
    look, pilot_gate, usecase, owner, engineer, business, risk, actor_of, sign
):
    from apps.usecases import services as usecases

    sign(pilot_gate, risk, "risk")
    look(business, pilot_gate)
    usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, name="Care outreach, wider")
    told = words(look(business, pilot_gate))
    assert told == ["Use case: name: Care outreach → Care outreach, wider"]
    services.request_gate(actor=actor_of(engineer), gate_id=pilot_gate.id)
    told = words(look(business, pilot_gate))
    assert told == [
        "The evidence was frozen again, and signatures are asked for",
        "The signature of Rita Risk for risk is void. The evidence changed and was frozen again.",
    ]


def test_a_newer_policy_is_told_and_does_not_bind_the_gate(look, poc_gate, business, system):
    look(business, poc_gate)
    newer = policy("proposal_poc", {"business": 2}, checks=[{"check": "usecases.complete"}], version=2)
    services.publish_policy(actor=system, text=newer)
    assert words(look(business, poc_gate)) == ["test-proposal_poc 2 was published; this gate keeps test-proposal_poc 1"]


def test_who_reloads_within_minutes_still_sees_what_was_new(poc_gate, business, risk, owner, actor_of):
    actor = actor_of(business)
    services.look(actor=actor, gate_id=poc_gate.id)
    Look.objects.update(looked_at=F("looked_at") - timedelta(hours=3))
    services.comment(actor=actor_of(owner), gate_id=poc_gate.id, text="One more thing.")
    first, again = (services.look(actor=actor, gate_id=poc_gate.id) for _ in range(2))
    assert words(first) == words(again) and f"{owner} wrote: “One more thing.”" in words(again)


def test_the_inbox_counts_what_is_new_for_gates_that_were_opened(look, pilot_gate, business, risk, owner, actor_of, sign):
    assert looks.counts(actor_of(business), [pilot_gate.id]) == {}
    look(business, pilot_gate)
    at, said = looks.counts(actor_of(business), [pilot_gate.id])[pilot_gate.id]
    assert said == "" and at
    services.comment(actor=actor_of(owner), gate_id=pilot_gate.id, text="One.")
    services.comment(actor=actor_of(owner), gate_id=pilot_gate.id, text="Two.")
    services.comment(actor=actor_of(business), gate_id=pilot_gate.id, text="Mine.")
    sign(pilot_gate, risk, "risk")
    assert looks.counts(actor_of(business), [pilot_gate.id])[pilot_gate.id][1] == "2 comments, 1 signature"


def test_a_gate_that_one_may_not_see_is_not_looked_at(poc_gate, make_user, actor_of):
    from apps.core.errors import NotFound

    with pytest.raises(NotFound):
        services.look(actor=actor_of(make_user("stakeholder")), gate_id=poc_gate.id)
    assert not Look.objects.exists()


def test_over_rest_reading_tells_and_looking_remembers(api, poc_gate, business, owner, actor_of):
    client, path = api(business), f"/api/v1/gates/{poc_gate.id}/"
    assert client.get(path).json()["looked_at"] is None
    assert client.post(f"{path}look/").status_code == 200
    services.comment(actor=actor_of(owner), gate_id=poc_gate.id, text="Now?")
    for _ in range(2):  # reading alone does not move it on
        (row,) = client.get(path).json()["news"]
        assert (row["kind"], row["text"]) == ("comment", f"{owner} wrote: “Now?”") and row["at"]
    assert api(owner).post(f"{path}look/").json()["news"] == []


@pytest.mark.parametrize(
    ("minutes", "before", "same"),
    [(1, T0, True), (14, T0, True), (15, T0, False), (60, T0, False), (1, None, False)],
)
def test_what_counts_as_the_same_reading(minutes, before, same):
    assert look_rules.is_same_reading(T0, before, T0 + timedelta(minutes=minutes)) is same


@pytest.mark.parametrize(
    ("counts", "frozen", "said"),
    [
        ({}, False, ""),
        ({"comment": 0}, False, ""),
        ({"comment": 1, "signature": 2}, False, "1 comment, 2 signatures"),
        ({"comment": 1}, True, "1 comment, evidence frozen"),
        ({}, True, "evidence frozen"),
    ],
)
def test_what_an_inbox_says(counts, frozen, said):
    assert look_rules.counted(counts, frozen) == said


def test_what_only_one_of_two_documents_holds_is_no_news():
    draft = {"checks": [], "attestations": []}
    frozen = {**draft, "usecase": {"name": "A"}, "policy": {"name": "p", "version": 1}}
    assert look_rules.compared(draft, frozen) == []
    assert [n.text for n in look_rules.compared(frozen, {**frozen, "usecase": {"name": "B"}})] == ["Use case: name: A → B"]


@pytest.mark.django_db(transaction=True)
def test_two_tabs_at_once_leave_one_row(poc_gate, business, actor_of):
    from django.db import connections

    actor, failures, barrier = actor_of(business), [], threading.Barrier(4)

    def open_it():
        try:
            barrier.wait()
            call(services.look, actor=actor, gate_id=poc_gate.id)
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures and Look.objects.count() == 1
    assert selectors.gate_page(actor, poc_gate.id).look is not None

"""The inbox: what waits for whom."""

import pytest

from apps.approvals import services
from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db


def test_a_visitor_is_sent_to_sign_in(client):
    assert client.get("/inbox/").status_code == 302


@pytest.mark.parametrize("role", ["stakeholder", "approver:legal", "ml_engineer", "auditor", "admin"])
def test_an_empty_inbox_says_what_would_be_there(page_of, make_user, role):
    answer = page_of(make_user(role)).get("/inbox/")
    assert answer.status_code == 200
    assert "Nothing waits for you." in answer.content.decode() and "No gate was decided yet." in answer.content.decode()


def test_an_open_gate_waits_for_the_approver_it_asks(page_of, business, risk, poc_gate):
    text = page_of(business).get("/inbox/").content.decode()
    assert "1 gate waits for your signature." in text and f"/gates/{poc_gate.id}/" in text and "1 of 1 pass" in text
    assert '<span class="count">1</span>' in text
    assert str(poc_gate.id) not in page_of(risk).get("/inbox/").content.decode()


def test_who_asked_sees_it_under_their_own(page_of, engineer, poc_gate):
    text = page_of(engineer).get("/inbox/").content.decode()
    assert "You began these" in text and str(poc_gate.id) in text and "For you to sign" not in text


def test_a_draft_asks_the_owner_for_an_answer(page_of, owner, engineer, actor_of, usecase, policies):
    services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc")
    text = page_of(owner).get("/inbox/").content.decode()
    assert "asks you for an answer" in text and "answer: It is described." in text


def test_a_signed_gate_no_longer_waits_and_stands_under_decided(page_of, business, poc_gate, sign):
    sign(poc_gate, business, "business")
    text = page_of(business).get("/inbox/").content.decode()
    assert "Nothing waits for you." in text and "approved" in text and "Bea Business" in text


def test_many_gates_take_no_more_queries_than_one(page_of, business, owner, engineer, actor_of, poc_gate, django_assert_max_num_queries):
    for number in range(9):
        other = usecases.create_usecase(
            actor=actor_of(owner), name=f"Case {number}", problem="p", risk_tier="high", decision_supported="d", output_users="u",
            sponsor=owner, integrations=[{"name": "Register", "direction": "in"}],
        )  # fmt: skip
        usecases.give_access(actor=actor_of(owner), usecase_id=other.id, user=engineer, level="change")
        gate = services.open_gate(actor=actor_of(engineer), usecase_id=other.id, to_stage="poc")
        services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="yes", note="I wrote it.")
        services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
    browser = page_of(business)
    with django_assert_max_num_queries(22):
        assert "10 gates wait" in browser.get("/inbox/").content.decode()

"""The page of a gate: evidence, answers, request, signatures, refusals, withdrawal, revocation."""

import hashlib
import re

import pytest

from apps.accounts.models import SignInAttempt
from apps.approvals import services
from apps.approvals.models import Gate, Signature
from apps.audit.models import Event
from apps.decisions.models import Revocation
from apps.usecases import services as usecases
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def given(gate: Gate, function: str = "business", **more: str) -> dict[str, str]:
    return {"function": function, "meaning": "approved", "comment": "Read.", "evidence_digest": gate.evidence_digest, "password": PASSWORD} | more


@pytest.fixture
def draft(engineer, actor_of, usecase, policies):
    return services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc", note="Please.")


def test_it_is_for_those_who_see_the_use_case(client, page_of, business, engineer, owner, make_user, poc_gate):
    path = f"/gates/{poc_gate.id}/"
    assert client.get(path).status_code == 302
    for person in (business, engineer, owner, make_user("auditor"), make_user("admin")):
        assert page_of(person).get(path).status_code == 200
    for role in ("stakeholder", "approver:legal", "ml_engineer"):
        stranger = page_of(make_user(role))
        assert stranger.get(path).status_code == 404
        assert stranger.get(f"{path}evidence.json").status_code == 404
        for door in ("answer", "request", "sign", "withdraw", "revoke"):
            assert stranger.post(f"{path}{door}/", given(poc_gate)).status_code == 404, door
    poc_gate.refresh_from_db()
    assert poc_gate.state == "open" and not Signature.objects.exists()


def test_a_draft_says_what_is_missing_and_cannot_be_requested_yet(page_of, engineer, draft):
    browser = page_of(engineer)
    text = browser.get(f"/gates/{draft.id}/").content.decode()
    assert "1 of 1 checks pass and 0 of 1 items are answered." in text and "1 thing is missing" in text and "disabled" in text
    refused = browser.post(f"/gates/{draft.id}/request/")
    assert refused.status_code == 409 and "not answered yet" in refused.content.decode()


def test_the_owner_answers_and_the_engineer_asks_for_signatures(page_of, owner, engineer, draft):
    path = f"/gates/{draft.id}/"
    assert "Your answer" in page_of(owner).get(path).content.decode()
    assert "Your answer" not in page_of(engineer).get(path).content.decode()
    silent = page_of(owner).post(f"{path}answer/", {"item": "described", "answer": "yes", "note": ""})
    assert silent.status_code == 400 and "say in a sentence" in silent.content.decode()
    assert page_of(engineer).post(f"{path}answer/", {"item": "described", "answer": "yes", "note": "x"}).status_code == 403
    assert page_of(owner).post(f"{path}answer/", {"item": "described", "answer": "yes", "note": "I wrote it."}).status_code == 302
    assert page_of(engineer).post(f"{path}request/").status_code == 302
    draft.refresh_from_db()
    assert (draft.state, draft.requested_by) == ("open", engineer)


def test_a_draft_has_no_document_yet(page_of, engineer, draft):
    assert page_of(engineer).get(f"/gates/{draft.id}/evidence.json").status_code == 404


def test_the_frozen_document_has_the_digest_that_is_signed(page_of, business, poc_gate):
    answer = page_of(business).get(f"/gates/{poc_gate.id}/evidence.json")
    assert answer["Content-Disposition"].startswith("attachment")
    assert "sha256:" + hashlib.sha256(answer.content).hexdigest() == poc_gate.evidence_digest


def test_the_approver_reads_evidence_and_finds_the_form(page_of, business, engineer, poc_gate):
    text = page_of(business).get(f"/gates/{poc_gate.id}/").content.decode()
    assert "Business: you" in text and "yours for business decides" in text and "Sign: approve" in text
    own = page_of(engineer).get(f"/gates/{poc_gate.id}/").content.decode()
    assert "Sign: approve" not in own


def test_signing_decides_and_moves_the_use_case(page_of, business, poc_gate, usecase):
    answer = page_of(business).post(f"/gates/{poc_gate.id}/sign/", given(poc_gate), follow=True)
    assert "the use case is at poc now" in answer.content.decode() and "<strong>Yes.</strong>" in " ".join(answer.content.decode().split())
    usecase.refresh_from_db()
    assert usecase.stage == "poc"


def test_a_wrong_password_signs_nothing_is_counted_and_never_given_back(page_of, business, poc_gate):
    answer = page_of(business).post(f"/gates/{poc_gate.id}/sign/", given(poc_gate, password="wrong horse battery", comment="My words."))
    text = answer.content.decode()
    assert answer.status_code == 403 and "nothing was signed" in text
    assert "My words." in text and "wrong horse battery" not in text
    assert not Signature.objects.exists() and SignInAttempt.objects.count() == 1
    assert Event.objects.filter(action="accounts.session.refused").count() == 1


def test_evidence_that_was_not_read_is_not_signed(page_of, business, poc_gate):
    stale = page_of(business).post(f"/gates/{poc_gate.id}/sign/", given(poc_gate, evidence_digest="sha256:" + "0" * 64))
    assert stale.status_code == 409 and "Read the gate again" in stale.content.decode()
    assert not Signature.objects.exists()


def test_who_asked_cannot_sign_even_as_an_approver(page_of, engineer, system, poc_gate):
    from apps.accounts import services as accounts

    accounts.assign_role(actor=system, user=engineer, role="approver", function="business")
    assert "You requested this gate" in page_of(engineer).get(f"/gates/{poc_gate.id}/").content.decode()
    answer = page_of(engineer).post(f"/gates/{poc_gate.id}/sign/", given(poc_gate))
    assert answer.status_code == 403 and not Signature.objects.exists()


def test_what_changed_since_freezing_is_shown_and_stops_approval(page_of, business, engineer, owner, actor_of, usecase, poc_gate):
    usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, risk_tier="minimal")
    text = page_of(business).get(f"/gates/{poc_gate.id}/").content.decode()
    assert "Changed since the evidence was frozen" in text and "Sign: approve" not in text
    assert re.search(r"Use case: risk tier</td>\s*<td[^>]*>high</td>\s*<td[^>]*><strong>minimal</strong>", text)
    assert page_of(business).post(f"/gates/{poc_gate.id}/sign/", given(poc_gate)).status_code == 409
    assert "Freeze the evidence again" in page_of(engineer).get(f"/gates/{poc_gate.id}/").content.decode()
    assert page_of(engineer).post(f"/gates/{poc_gate.id}/request/").status_code == 302
    poc_gate.refresh_from_db()
    assert page_of(business).post(f"/gates/{poc_gate.id}/sign/", given(poc_gate)).status_code == 302


def test_freezing_again_voids_signatures_and_shows_them_as_void(page_of, business, engineer, owner, actor_of, usecase, pilot_gate):
    page_of(business).post(f"/gates/{pilot_gate.id}/sign/", given(pilot_gate))
    usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, name="Care calls")
    page_of(engineer).post(f"/gates/{pilot_gate.id}/request/")
    text = page_of(business).get(f"/gates/{pilot_gate.id}/").content.decode()
    assert ">approved, void<" in text and "frozen again" in text and "Business: you" in text


def test_refusing_needs_words_and_closes_the_gate(page_of, risk, pilot_gate):
    browser = page_of(risk)
    silent = browser.post(f"/gates/{pilot_gate.id}/sign/", given(pilot_gate, "risk", meaning="rejected", comment=""))
    assert silent.status_code == 400 and "say why" in silent.content.decode()
    answer = browser.post(f"/gates/{pilot_gate.id}/sign/", given(pilot_gate, "risk", meaning="rejected", comment="No override.", would_change="An override."), follow=True)
    assert "You refused" in answer.content.decode() and "No override." in answer.content.decode()
    pilot_gate.refresh_from_db()
    assert pilot_gate.state == "rejected"


def test_a_gate_is_taken_back_once(page_of, engineer, poc_gate):
    browser = page_of(engineer)
    assert browser.post(f"/gates/{poc_gate.id}/withdraw/", {"reason": "Too early."}).status_code == 302
    assert "Taken back" in browser.get(f"/gates/{poc_gate.id}/").content.decode()
    assert browser.post(f"/gates/{poc_gate.id}/withdraw/").status_code == 409


def test_a_decision_is_revoked_with_a_reason_by_an_approver(page_of, owner, business, poc_gate, sign):
    sign(poc_gate, business, "business")
    path = f"/gates/{poc_gate.id}/"
    assert page_of(owner).post(f"{path}revoke/", {"reason": "r"}).status_code == 403
    browser = page_of(business)
    assert browser.post(f"{path}revoke/", {"reason": " "}).status_code == 400
    assert browser.post(f"{path}revoke/", {"reason": "The data may not be used."}).status_code == 302
    assert Revocation.objects.count() == 1
    assert "the decision no longer holds" in browser.get(path).content.decode()


def test_a_gate_without_a_decision_has_none_to_revoke(page_of, business, poc_gate):
    assert page_of(business).post(f"/gates/{poc_gate.id}/revoke/", {"reason": "r"}).status_code == 404


def test_the_page_takes_a_bounded_number_of_queries(page_of, risk, pilot_gate, django_assert_max_num_queries):
    browser = page_of(risk)
    with django_assert_max_num_queries(45):
        browser.get(f"/gates/{pilot_gate.id}/")

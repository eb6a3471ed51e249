"""The gate's page tells what changed, and its record prints every signature with name, role, time and meaning."""

import re

import pytest
from django.test import Client

from apps.approvals import services
from apps.approvals.models import Look
from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db


def text_of(answer) -> str:
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


@pytest.fixture
def changed(pilot_gate, owner, risk, actor_of, sign, usecase):
    """Signed by risk; then the use case is named anew."""
    sign(pilot_gate, risk, "risk", comment="Accepted.")
    usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, name="Care outreach, wider")
    return pilot_gate


def test_a_change_stands_beside_what_was_signed_and_says_what_becomes_of_the_signatures(page_of, changed, business, engineer):
    text = text_of(page_of(business).get(f"/gates/{changed.id}/"))
    assert "Use case: name Care outreach Care outreach, wider" in text
    assert f"Nobody can approve until {engineer} has it frozen again; then the 1 signature given is void" in text
    assert "Freeze it again, so that people sign what is true now; the 1 signature given is void then, and kept" in text_of(
        page_of(engineer).get(f"/gates/{changed.id}/")
    )


def test_a_void_signature_stays_readable_with_its_meaning_and_why_it_is_void(page_of, changed, business, engineer, actor_of):
    services.request_gate(actor=actor_of(engineer), gate_id=changed.id)
    text = text_of(page_of(business).get(f"/gates/{changed.id}/"))
    assert re.search(r"Risk: Rita Risk approved, void “Accepted\.” signed .* UTC void since .* The evidence changed and was frozen again\.", text)
    assert "0 of 2 signatures" in text


def test_the_page_says_what_is_new_since_the_person_looked_and_the_inbox_counts_it(page_of, pilot_gate, business, risk, owner, actor_of, sign):
    browser = page_of(business)
    assert "not opened yet" in text_of(browser.get("/inbox/"))
    assert "New since you looked" not in text_of(browser.get(f"/gates/{pilot_gate.id}/"))
    services.comment(actor=actor_of(owner), gate_id=pilot_gate.id, text="The desk asks for it.")
    sign(pilot_gate, risk, "risk")
    assert "1 comment, 1 signature" in text_of(browser.get("/inbox/"))
    text = text_of(browser.get(f"/gates/{pilot_gate.id}/"))
    assert "New since you looked" in text and "“The desk asks for it.”" in text and "Rita Risk signed for risk: approved" in text
    inbox = text_of(browser.get("/inbox/"))
    assert "1 comment" not in inbox and "not opened yet" not in inbox


def test_a_refused_form_is_no_look(page_of, pilot_gate, business):
    answer = page_of(business).post(f"/gates/{pilot_gate.id}/comments/", {"text": "", "kind": "comment"})
    assert answer.status_code == 400 and not Look.objects.exists()


def test_the_record_holds_what_a_signature_has_to_show(page_of, changed, business, risk, engineer, actor_of, sign):
    services.request_gate(actor=actor_of(engineer), gate_id=changed.id)
    changed.refresh_from_db()
    sign(changed, business, "business", comment="The figures hold.")
    sign(changed, risk, "risk", comment="Accepted again.")
    changed.refresh_from_db()
    text = text_of(page_of(business).get(f"/gates/{changed.id}/print/"))
    signatures = [*changed.signatures.all()]
    assert len(signatures) == 3
    for s in signatures:
        # 21 CFR 11.50: the printed name, when it was signed, and what it means; 11.70: linked to what was signed.
        when = f"{s.signed_at:%-d %b %Y, %H:%M:%S} UTC"
        assert f"{s.printed_name} Approver, {s.function} {s.meaning}" in text and when in text and s.evidence_digest in text and s.comment in text
    assert "approved, void" in text and "Void since" in text
    for part in (changed.policy.name, f"version {changed.policy.version}", changed.policy.digest, changed.evidence_digest, str(changed.id)):
        assert part in text
    assert str(changed.decision_id) in text and "Printed for Bea Business" in text
    for check in services.requests.documents.frozen(changed)["checks"]:
        assert check["title"] in text


def test_the_record_of_a_draft_says_that_nobody_has_signed(page_of, policies, usecase, engineer, actor_of):
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc")
    text = text_of(page_of(engineer).get(f"/gates/{gate.id}/print/"))
    assert "Nobody has signed." in text and "not frozen" in text


def test_a_record_is_for_those_who_may_see_the_gate(page_of, poc_gate, make_user):
    assert page_of(make_user("stakeholder")).get(f"/gates/{poc_gate.id}/print/").status_code == 404
    assert Client().get(f"/gates/{poc_gate.id}/print/").status_code == 302

"""Waivers, delegations, comments and files by hand, on their pages."""

from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.approvals import services
from apps.approvals.models import Attachment, Comment, Delegation, Waiver
from apps.core.clock import now
from tests.approvals.conftest import policy
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def browser(user):
    made = Client()
    made.force_login(user)
    return made


@pytest.fixture
def draft(policies, usecase, engineer, actor_of, system):
    text = policy("proposal_poc", {"business": 1}, checks=[{"check": "kpis.defined", "heading": "Value"}],
                  items=[{"item": "described", "text": "It is described.", "owner": "owner"}], version=2)  # fmt: skip
    services.publish_policy(actor=system, text=text)
    return services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc")


def test_a_waiver_is_asked_for_and_signed(draft, engineer, risk):
    page = browser(engineer).get(f"/gates/{draft.id}/").content.decode()
    assert "Ask for a waiver" in page and "Value" in page
    day = (now() + timedelta(days=9)).date().isoformat()
    given = {"subject": "kpis.defined", "reason": "Next week.", "until": day}
    assert browser(engineer).post(f"/gates/{draft.id}/waivers/", given | {"until": "soon"}).status_code == 400
    assert "is asked for" in browser(engineer).post(f"/gates/{draft.id}/waivers/", given, follow=True).content.decode()
    waiver = Waiver.objects.get()
    assert "Sign the waiver" not in browser(engineer).get(f"/gates/{draft.id}/").content.decode()
    approver = browser(risk)
    assert "Sign the waiver" in approver.get(f"/gates/{draft.id}/").content.decode()
    path = f"/gates/{draft.id}/waivers/{waiver.id}/sign/"
    wrong = approver.post(path, {"answer": "grant", "password": "wrong", "comment": "Fine."})
    assert wrong.status_code == 403 and "nothing was signed" in wrong.content.decode()
    done = approver.post(path, {"answer": "grant", "password": PASSWORD}, follow=True).content.decode()
    assert "You signed the waiver" in done and "Waived by Rita Risk (risk)" in done


def test_a_signature_is_delegated_shown_and_taken_back(pilot_gate, risk, make_user):
    dora = make_user("stakeholder", name="Dora Delegate")
    given = {
        "delegate": dora.email, "function": "risk", "starts_at": now().date().isoformat(),
        "ends_at": (now() + timedelta(days=3)).date().isoformat(), "reason": "On leave.",
    }  # fmt: skip
    absent = browser(risk)
    bad = absent.post("/delegations/", given | {"ends_at": "2020-01-01"})
    assert bad.status_code == 400 and dora.email in bad.content.decode()
    assert "signs for you in that time" in absent.post("/delegations/", given, follow=True).content.decode()
    page = browser(dora).get(f"/gates/{pilot_gate.id}/").content.decode()
    assert "For whom" in page and "Rita Risk, risk, away until" in page
    signature = {"function": "risk", "meaning": "approved", "evidence_digest": pilot_gate.evidence_digest, "password": PASSWORD, "on_behalf_of": str(risk.id)}
    done = browser(dora).post(f"/gates/{pilot_gate.id}/sign/", signature, follow=True).content.decode()
    assert "Dora Delegate for Rita Risk" in done
    row = Delegation.objects.get()
    assert "End it" not in browser(dora).get("/delegations/").content.decode()
    assert "is ended" in absent.post(f"/delegations/{row.id}/end/", follow=True).content.decode()


def test_a_comment_and_a_file(draft, engineer, owner, make_user):
    assert browser(engineer).post(f"/gates/{draft.id}/comments/", {"text": "Who pays?", "kind": "question"}, follow=True).status_code == 200
    page = browser(owner).get(f"/gates/{draft.id}/").content.decode()
    assert "Who pays?" in page and Comment.objects.get().kind == "question"
    assert 'id="comment"' in browser(make_user("auditor")).get(f"/gates/{draft.id}/").content.decode()
    file = SimpleUploadedFile("report.txt", b"All is well.")
    done = browser(owner).post(f"/gates/{draft.id}/attachments/", {"item": "described", "file": file}, follow=True).content.decode()
    assert "The file is attached" in done and "report.txt" in done
    row = Attachment.objects.get()
    answer = browser(engineer).get(f"/gates/{draft.id}/attachments/{row.id}/")
    assert answer.content == b"All is well." and answer["Content-Disposition"] == 'attachment; filename="report.txt"'
    assert browser(make_user("stakeholder")).get(f"/gates/{draft.id}/attachments/{row.id}/").status_code == 404


def test_another_answer_is_offered_to_business(pilot_gate, business, risk, usecase):
    assert "Have it built anew" in browser(business).get(f"/gates/{pilot_gate.id}/").content.decode()
    assert "Have it built anew" not in browser(risk).get(f"/gates/{pilot_gate.id}/").content.decode()
    given = {"function": "business", "meaning": "rebuild", "comment": "Proven; not this way.", "evidence_digest": pilot_gate.evidence_digest, "password": PASSWORD}
    done = browser(business).post(f"/gates/{pilot_gate.id}/sign/", given, follow=True).content.decode()
    assert "Built anew" in done and f"/usecases/{usecase.slug}-rebuilt/" in done

"""Who hears of a gate, and that nobody hears of what did not happen."""

import pytest

from apps.approvals import services
from apps.notices.models import Delivery, Notice
from tests.approvals.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def told(event):
    return {d.person.full_name for d in Delivery.objects.filter(notice__event=event, person__isnull=False).select_related("person")}


def test_approvers_are_asked_and_the_requester_hears_the_answer(business, poc_gate, actor_of, owner, engineer):
    gate = poc_gate
    assert told("gate.requested") == {business.full_name}
    notice = Notice.objects.get(event="gate.requested")
    assert notice.path == f"/gates/{gate.id}/" and notice.data["gate_state"] == "open" and notice.data["evidence_digest"] == gate.evidence_digest
    services.sign_gate(
        actor=actor_of(business), gate_id=gate.id, function="business", meaning="approved", evidence_digest=gate.evidence_digest, password=PASSWORD
    )
    assert told("gate.approved") == {owner.full_name, engineer.full_name} and business.full_name not in told("gate.approved")
    assert not Notice.objects.filter(event="gate.signed").exists(), "the deciding signature is told as the decision"


def test_a_refusal_says_why(business, poc_gate, actor_of, owner, engineer):
    services.sign_gate(
        actor=actor_of(business), gate_id=poc_gate.id, function="business", meaning="rejected", comment="Too dear.", would_change="Half the cost.",
        evidence_digest=poc_gate.evidence_digest, password=PASSWORD,
    )  # fmt: skip
    assert "Too dear." in Notice.objects.get(event="gate.rejected").text and owner.full_name in told("gate.rejected")


def test_a_gate_taken_back_is_told_to_those_who_were_asked(business, poc_gate, actor_of, owner, engineer):
    services.withdraw(actor=actor_of(owner), gate_id=poc_gate.id, reason="Another plan.")
    assert business.full_name in told("gate.withdrawn") and owner.full_name not in told("gate.withdrawn")
    assert engineer.full_name in told("gate.withdrawn")

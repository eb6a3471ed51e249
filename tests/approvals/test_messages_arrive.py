"""What is told of a gate arrives: the signed webhook at a real receiver and the email, for each thing that people have to hear of."""

import base64
import hashlib
import hmac
from datetime import timedelta

import pytest
from django.core import mail

from apps.approvals import services
from apps.core import clock
from apps.notices import services as notices
from tests.approvals.conftest import policy
from tests.notices.conftest import admin, loopback, receiver  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS = ["gate.requested", "gate.signed", "gate.rejected", "decision.expiring", "decision.lapsed", "gate.lapsed"]


@pytest.fixture
def hook(admin, receiver):  # noqa: F811
    return notices.add_webhook(actor=admin, name="everything", url=receiver.url, events=EVENTS)[1]


def delivered(receiver, key, event, *, about):  # noqa: F811
    """The one message of this event that the receiver got about the gate, its signature worked out here from the published scheme."""
    notices.deliver_due()
    (found,) = [(h, raw, body) for h, raw, body in receiver.got if body["type"] == event]
    headers, raw, body = found
    secret = base64.b64decode(key.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{raw}".encode()
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert body["data"]["gate"] == str(about.id)
    return body


def mailed(words):
    """Who got an email whose subject has these words, and its text."""
    found = [m for m in mail.outbox if words in m.subject]
    return {to for m in found for to in m.to}, "\n".join(m.body for m in found)


# Whoever is asked has to be there when it is asked: the people come before the gate.
def test_requested(hook, receiver, business, risk, pilot_gate):  # noqa: F811
    body = delivered(receiver, hook, "gate.requested", about=pilot_gate)
    assert body["data"]["evidence_digest"] == pilot_gate.evidence_digest and body["data"]["gate_state"] == "open"
    who, text = mailed("Your signature is asked for")
    assert who == {business.email, risk.email} and f"/gates/{pilot_gate.id}/" in text and "sign or refuse by" in text


def test_signed(hook, receiver, pilot_gate, risk, owner, engineer, sign):  # noqa: F811
    sign(pilot_gate, risk, "risk", comment="Accepted.")
    body = delivered(receiver, hook, "gate.signed", about=pilot_gate)
    assert body["data"]["function"] == "risk"
    who, text = mailed("Signed for risk")
    assert who == {owner.email, engineer.email} and "Rita Risk signed for risk. Accepted." in text


def test_rejected(hook, receiver, pilot_gate, risk, owner, engineer, sign):  # noqa: F811
    sign(pilot_gate, risk, "risk", meaning="rejected", comment="Too dear.", would_change="Half the cost.")
    body = delivered(receiver, hook, "gate.rejected", about=pilot_gate)
    assert body["data"]["reason"] == "Too dear." and body["data"]["gate_state"] == "rejected"
    who, text = mailed("Refused")
    assert who == {owner.email, engineer.email} and "Too dear." in text


def test_expiring_and_then_lapsed(hook, receiver, pilot_gate, business, risk, owner, engineer, sign, system):  # noqa: F811
    sign(pilot_gate, business, "business")
    ends = sign(pilot_gate, risk, "risk").decision.expires_at
    for left, event, words in ((29, "decision.expiring", "Ends in 29 days"), (-1, "decision.lapsed", "Ended")):
        with clock.fixed(ends - timedelta(days=left)):
            services.remind(actor=system)
            body = delivered(receiver, hook, event, about=pilot_gate)
        assert body["data"]["decision"]
        who, text = mailed(words)
        assert {owner.email, engineer.email} <= who and "Request a new gate" in text


def test_a_gate_that_lapses_because_signatures_are_late(hook, receiver, policies, usecase, owner, engineer, business, actor_of, system):  # noqa: F811
    late = policy("proposal_poc", {"business": 1}, checks=[{"check": "usecases.complete"}], version=2, overdue={"do": "lapse", "every_days": 1})
    services.publish_policy(actor=system, text=late)
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc")
    gate = services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
    with clock.fixed(gate.due_at + timedelta(minutes=1)):
        services.remind(actor=system)
        body = delivered(receiver, hook, "gate.lapsed", about=gate)
    assert body["data"]["gate_state"] == "lapsed"
    who, _ = mailed("Lapsed")
    assert {business.email, owner.email, engineer.email} <= who

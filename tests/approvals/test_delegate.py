"""Signing for somebody who is away: for a time, never handed on, never around four-eyes."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from apps.approvals import selectors, services
from apps.approvals.models import Delegation
from apps.audit.models import Event
from apps.core.clock import fixed, now
from apps.core.errors import Conflict, FourEyesRequired, Invalid, NotAllowed, NotFound
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture
def dora(make_user):
    return make_user("stakeholder", name="Dora Delegate")


@pytest.fixture
def give(actor_of):
    def make(who, to, function="risk", start=-1, days=5, reason="On leave.", actor=None, **more):
        return services.delegate(
            actor=actor or actor_of(who), delegate=to, function=function, starts_at=now() + timedelta(days=start),
            ends_at=now() + timedelta(days=start + days), reason=reason, **more,
        )  # fmt: skip

    return make


def test_a_delegate_sees_the_gate_signs_for_the_absent_and_it_is_shown(pilot_gate, business, risk, dora, give, sign, actor_of):
    with pytest.raises(NotFound):
        selectors.gate(actor_of(dora), pilot_gate.id)
    give(risk, dora)
    page = selectors.gate_page(actor_of(dora), pilot_gate.id)
    assert page.my_functions == ["risk"] and not page.signs_for_self and [d.delegator for d in page.standing_in] == [risk]
    assert selectors.count_waiting_on(actor_of(dora)) == 1
    with pytest.raises(NotAllowed):
        sign(pilot_gate, dora, "risk")
    sign(pilot_gate, business, "business")
    gate = sign(pilot_gate, dora, "risk", on_behalf_of=risk.id)
    signature = gate.signatures.get(function="risk")
    assert gate.state == "approved", "the delegate's signature decides as the approver's would"
    assert (signature.printed_name, signature.on_behalf_of_name) == ("Dora Delegate", "Rita Risk")
    assert '"on_behalf_of":"Rita Risk"' in Event.objects.filter(action="approvals.gate.signed").latest("id").payload


def test_a_voice_counts_once_whoever_lends_it(policies, system, usecase, engineer, at_stage, version, risk, dora, give, sign, actor_of):
    from tests.approvals.conftest import policy

    services.publish_policy(actor=system, text=policy("poc_pilot", {"risk": 2}, checks=[{"check": "registry.digest_known"}], version=2))
    at_stage("poc")
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)
    gate = services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
    give(risk, dora)
    sign(gate, dora, "risk", on_behalf_of=risk.id)
    for person, more in ((risk, {}), (dora, {"on_behalf_of": risk.id})):
        with pytest.raises(Conflict, match="one person, one signature"):
            sign(gate, person, "risk", **more)


@pytest.mark.parametrize("when", ["before", "after", "ended", "other function", "role lost", "account closed"])
def test_it_holds_only_while_it_holds(pilot_gate, risk, dora, give, sign, actor_of, system, when):
    from apps.accounts import services as accounts

    row = give(risk, dora, start=1 if when == "before" else -1, function="risk")
    function = "risk"
    if when == "ended":
        services.end_delegation(actor=actor_of(risk), delegation_id=row.id)
    elif when == "other function":
        function = "business"
    elif when == "role lost":
        accounts.remove_role(actor=system, user=risk, role="approver", function="risk")
    elif when == "account closed":
        accounts.deactivate_user(actor=system, user_id=risk.id)
    with fixed(now() + timedelta(days=10 if when == "after" else 0)), pytest.raises((NotAllowed, Conflict, NotFound)):
        sign(pilot_gate, dora, function, on_behalf_of=risk.id)
    assert not pilot_gate.signatures.exists()


def test_neither_the_delegate_nor_the_absent_may_be_requester_or_author(pilot_gate, engineer, risk, owner, dora, give, sign, actor_of, system):
    from apps.accounts import services as accounts

    first = give(risk, engineer)
    with pytest.raises(FourEyesRequired, match="requested"):
        sign(pilot_gate, engineer, "risk", on_behalf_of=risk.id)
    services.end_delegation(actor=actor_of(risk), delegation_id=first.id)
    accounts.assign_role(actor=system, user=engineer, role="approver", function="risk")
    give(engineer, dora)
    with pytest.raises(FourEyesRequired, match="nobody signs it for them"):
        sign(pilot_gate, dora, "risk", on_behalf_of=engineer.id)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"days": 0}, "ends_at"),
        ({"days": -2}, "ends_at"),
        ({"start": -9, "days": 5}, "ends_at"),
        ({"days": 91}, "ends_at"),
        ({"reason": " "}, "reason"),
        ({"function": "marketing"}, "function"),
    ],
)
def test_a_delegation_that_cannot_be_names_the_field(risk, dora, give, changed, field):
    with pytest.raises(Invalid) as refused:
        give(risk, dora, **changed)
    assert field in refused.value.errors and not Delegation.objects.exists()


def test_to_oneself_or_to_a_closed_account_is_refused(risk, dora, give, system):
    from apps.accounts import services as accounts

    with pytest.raises(Invalid) as refused:
        give(risk, risk)
    assert "delegate" in refused.value.errors
    accounts.deactivate_user(actor=system, user_id=dora.id)
    with pytest.raises(Invalid) as refused:
        give(risk, dora)
    assert "delegate" in refused.value.errors


def test_only_what_one_holds_and_only_for_oneself(risk, business, dora, give, system, actor_of, make_user):
    with pytest.raises(NotAllowed, match="not handed on"):
        give(dora, business)
    with pytest.raises(NotAllowed, match="approver for legal"):
        give(risk, dora, function="legal")
    with pytest.raises(NotAllowed, match="your own"):
        give(business, dora, function="risk", delegator=risk)
    assert give(risk, dora, actor=actor_of(make_user("admin")), delegator=risk).delegator == risk


def test_no_chain_no_circle_no_overlap(risk, dora, give, make_user):
    other, third = make_user("approver:risk", name="Otto"), make_user("approver:risk", name="Tea")
    give(risk, other)
    with pytest.raises(Conflict, match="circle"):
        give(other, risk)
    with pytest.raises(Conflict, match="handed on"):
        give(other, third)
    with pytest.raises(Conflict, match="away too"):
        give(third, risk)
    with pytest.raises(Conflict, match="already"):
        give(risk, third)
    assert give(other, third, start=30), "at another time it may"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE approvals_delegation SET ends_at = ends_at + interval '1 year'",
        "UPDATE approvals_delegation SET delegate_id = delegator_id",
        "DELETE FROM approvals_delegation",
        "INSERT INTO approvals_delegation SELECT gen_random_uuid(), created_at, function, starts_at, ends_at, reason, made_by, ended_at, ended_by, "
        "delegator_id, delegate_id FROM approvals_delegation",
    ],
)
def test_raw_sql_cannot_stretch_or_chain_one(risk, dora, give, statement):
    give(risk, dora)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_raw_sql_cannot_sign_for_somebody(pilot_gate, risk, dora):
    from apps.approvals.models import Signature

    with pytest.raises(DatabaseError, match="delegation in force"), transaction.atomic():
        Signature.objects.create(
            gate=pilot_gate, signer=dora, on_behalf_of=risk, printed_name="D", function="risk", meaning="approved", signed_at=now(),
            evidence_digest=pilot_gate.evidence_digest,
        )  # fmt: skip


def test_over_rest(api, pilot_gate, risk, dora):
    body = {
        "delegate": dora.email, "function": "risk", "starts_at": now().isoformat(), "ends_at": (now() + timedelta(days=3)).isoformat(),
        "reason": "On leave.",
    }  # fmt: skip
    made = api(risk).post("/api/v1/delegations/", body, format="json")
    assert made.status_code == 201, made.content
    assert api(risk).post("/api/v1/delegations/", body | {"ends_at": body["starts_at"]}, format="json").json()["errors"]["ends_at"]
    assert [d["id"] for d in api(dora).get("/api/v1/delegations/").json()["results"]] == [made.json()["id"]]
    page = api(dora).get(f"/api/v1/gates/{pilot_gate.id}/").json()
    assert page["me"]["stands_in_for"] == [{"id": str(risk.id), "name": "Rita Risk", "function": "risk"}]
    signature = {"function": "risk", "meaning": "approved", "evidence_digest": pilot_gate.evidence_digest, "password": PASSWORD, "on_behalf_of": str(risk.id)}
    signed = api(dora).post(f"/api/v1/gates/{pilot_gate.id}/signatures/", signature, format="json")
    assert signed.status_code == 201, signed.content
    assert next(s for s in signed.json()["signatures"] if s["function"] == "risk")["signatures"][0]["on_behalf_of_name"] == "Rita Risk"
    assert api(risk).delete(f"/api/v1/delegations/{made.json()['id']}/").json()["ended_at"]

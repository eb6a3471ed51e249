"""Who of whom signs: the seats of a gate say how many there are, who signed and who may still sign."""

import pytest

from apps.approvals import selectors, services
from apps.core.actor import Actor
from tests.approvals.conftest import policy
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture
def rolf(make_user):
    return make_user("approver:risk", name="Rolf Risk")


@pytest.fixture
def gate(policies, usecase, at_stage, version, engineer, actor_of, business, risk, rolf, make_user):
    """A gate to pilot for one of business and two of three for risk."""
    make_user("approver:risk", name="Ruth Risk")
    quorum = {"business": 1, "risk": {"sign": 2, "of": 3}}
    text = policy("poc_pilot", quorum, checks=[{"check": "registry.digest_known"}], version=2)
    services.publish_policy(actor=actor_of(make_user("policy_owner")), text=text, password=PASSWORD)
    at_stage("poc")
    made = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)
    return services.request_gate(actor=actor_of(engineer), gate_id=made.id)


def seats(actor, gate):
    return {s.function: s for s in selectors.gate_page(actor, gate.id).seats}


def test_a_pool_says_how_many_of_whom_and_who_is_left(gate, risk, rolf, owner, sign, actor_of):
    found = seats(actor_of(owner), gate)
    assert (found["risk"].words, found["business"].words) == ("2 of 3 risk approvers", "1 of 1 business approver")
    assert found["risk"].may_sign == ["Rita Risk", "Rolf Risk", "Ruth Risk"] and found["business"].may_sign == ["Bea Business"]
    sign(gate, rolf, "risk")
    found = seats(actor_of(owner), gate)
    assert [s.printed_name for s in found["risk"].signatures] == ["Rolf Risk"] and found["risk"].wanted == 1
    assert found["risk"].may_sign == ["Rita Risk", "Ruth Risk"]
    sign(gate, risk, "risk")
    full = seats(actor_of(owner), gate)["risk"]
    assert (full.wanted, full.may_sign, full.of) == (0, [], 3)


def test_who_abstained_or_is_kept_out_by_four_eyes_may_not_sign(gate, risk, rolf, engineer, system, sign, actor_of, owner):
    from apps.accounts import services as accounts

    accounts.assign_role(actor=system, user=engineer, role="approver", function="risk")
    sign(gate, rolf, "risk", meaning="abstain", comment="My own figures are in it.")
    risk_seat = seats(actor_of(owner), gate)["risk"]
    assert risk_seat.of == 4 and risk_seat.may_sign == ["Rita Risk", "Ruth Risk"], "the requester is an approver and still may not"


def test_named_people_are_named(policies, usecase, owner, engineer, business, make_user, actor_of):
    make_user("approver:business", name="Bo Business")
    text = policy("proposal_poc", {"business": {"sign": 1, "people": [business.email]}}, version=2)
    services.publish_policy(actor=actor_of(make_user("policy_owner")), text=text, password=PASSWORD)
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc")
    seat = seats(actor_of(owner), gate)["business"]
    assert (seat.words, seat.may_sign, seat.named) == ("1 of 1 named business approver", ["Bea Business"], True)


def test_a_caller_that_is_no_person_is_told_numbers_alone(gate):
    seat = seats(Actor.system("pipeline"), gate)["risk"]
    assert (seat.of, seat.may_sign) == (3, [])


def test_over_rest_and_on_the_page(gate, rolf, owner, client, api, sign):
    sign(gate, rolf, "risk")
    row = next(r for r in api(owner).get(f"/api/v1/gates/{gate.id}/").json()["signatures"] if r["function"] == "risk")
    assert (row["needed"], row["of"], row["wanted"], row["named"], row["may_sign"]) == (2, 3, 1, False, ["Rita Risk", "Ruth Risk"])
    client.force_login(owner)
    page = " ".join(client.get(f"/gates/{gate.id}/").content.decode().split())
    assert "2 of 3 risk approvers" in page and "May sign yet: Rita Risk, Ruth Risk" in page
    assert "2 of 3 risk approvers" in client.get(f"/gates/{gate.id}/print/").content.decode()


def test_where_nobody_is_left_the_page_says_who_gives_the_role(gate, rolf, owner, client):
    from apps.accounts.models import RoleAssignment

    RoleAssignment.objects.filter(function="business").delete()
    client.force_login(owner)
    assert "Nobody is left who may sign. An administrator gives the role" in " ".join(client.get(f"/gates/{gate.id}/").content.decode().split())

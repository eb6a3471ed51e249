"""One table of what a gate lets whom do: 60 cases and more, each a row that says what is asked and what is answered."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.approvals import delegation_rules, rules, waiver_rules
from apps.core.actor import Actor
from apps.core.errors import Conflict, FourEyesRequired, Invalid, NotAllowed, StaleEvidence
from apps.usecases.rules import TIERS, is_raised

AT = datetime(2026, 11, 1, tzinfo=UTC)
OK = None


def person(*roles: str, functions: tuple[str, ...] = (), user: str | None = "1") -> Actor:
    return Actor(kind="user", id="user:1", label="P", user_id=user, roles=frozenset(roles), functions=frozenset(functions))


def sign(**changed):
    given = {
        "function": "business", "meaning": "approved", "comment": "Words.", "would_change": "More.", "quorum": {"business": 1, "risk": 2},
        "approvals": [], "signed_before": False, "evidence_digest": "d", "frozen_digest": "d", "to_stage": "pilot",
    } | changed  # fmt: skip
    return lambda: rules.check_signature(**given)


def eyes(user, requesters, author=False, **excluded):
    return lambda: rules.check_four_eyes(user_id=user, requesters=requesters, author=author, excluded=excluded)


def waiver(days, reason="R.", most=90):
    return lambda: waiver_rules.check_terms(reason=reason, until=AT + timedelta(days=days), at=AT, most_days=most)


BODY = {"checks": [{"check": "a", "title": "A"}, {"check": "b", "title": "B", "waivable": False}], "attestations": [{"item": "c", "text": "C"}]}


def delegation(**changed):
    given = {
        "delegator_id": "1", "delegate_id": "2", "delegate_active": True, "function": "risk", "starts_at": AT, "ends_at": AT + timedelta(days=5),
        "reason": "Away.", "at": AT,
    } | changed  # fmt: skip
    return lambda: delegation_rules.check_delegation(**given)


def chain(*pairs, delegator="1", delegate="2"):
    return lambda: delegation_rules.check_no_chain(delegator_id=delegator, delegate_id=delegate, overlapping=pairs)


TABLE = [
    # signatures
    ("approve, the seat is free", sign(), OK),
    ("approve, another function is complete", sign(approvals=["risk", "risk"]), OK),
    ("approve, own function is complete", sign(approvals=["business"]), Conflict),
    ("approve, second of two", sign(function="risk", approvals=["risk"]), OK),
    ("approve, third of two", sign(function="risk", approvals=["risk", "risk"]), Conflict),
    ("approve without words", sign(comment="", would_change=""), OK),
    ("approve twice", sign(signed_before=True), Conflict),
    ("approve for a function not asked", sign(function="legal"), Invalid),
    ("approve another digest", sign(evidence_digest="e"), StaleEvidence),
    ("approve no digest", sign(evidence_digest=""), StaleEvidence),
    ("refuse with both", sign(meaning="rejected"), OK),
    ("refuse though complete", sign(meaning="rejected", approvals=["business"]), OK),
    ("refuse without a reason", sign(meaning="rejected", comment=" "), Invalid),
    ("refuse without what would change it", sign(meaning="rejected", would_change=" "), Invalid),
    ("refuse another digest", sign(meaning="rejected", evidence_digest="e"), StaleEvidence),
    ("abstain with words", sign(meaning="abstain"), OK),
    ("abstain though complete", sign(meaning="abstain", approvals=["business"]), OK),
    ("abstain without words", sign(meaning="abstain", comment=""), Invalid),
    ("abstain after signing", sign(meaning="abstain", signed_before=True), Conflict),
    ("stop as business", sign(meaning="stopped"), OK),
    ("stop as risk", sign(meaning="stopped", function="risk"), Invalid),
    ("stop without a lesson", sign(meaning="stopped", comment=""), Invalid),
    ("stop at any gate", sign(meaning="stopped", to_stage="poc"), OK),
    ("rebuild before pilot", sign(meaning="rebuild"), OK),
    ("rebuild before production", sign(meaning="rebuild", to_stage="production"), OK),
    ("rebuild before there is anything", sign(meaning="rebuild", to_stage="poc"), Invalid),
    ("rebuild what retires", sign(meaning="rebuild", to_stage="retired"), Invalid),
    ("rebuild as risk", sign(meaning="rebuild", function="risk"), Invalid),
    ("rebuild without words", sign(meaning="rebuild", comment=""), Invalid),
    ("an unknown meaning", sign(meaning="perhaps"), Invalid),
    ("no password", lambda: rules.check_password_given(""), Invalid),
    ("a password", lambda: rules.check_password_given("x"), OK),
    # four-eyes
    ("a stranger signs", eyes("1", ("2", "3")), OK),
    ("who requested signs", eyes("1", ("1", "3")), FourEyesRequired),
    ("who began it signs", eyes("1", (None, "1")), FourEyesRequired),
    ("the author signs", eyes("1", ("2",), author=True), FourEyesRequired),
    ("who requested, policy lets them", eyes("1", ("1",), requester=False), OK),
    ("the author, policy lets them", eyes("1", ("2",), author=True, authors=False), OK),
    ("the author who requested, policy lets authors", eyes("1", ("1",), author=True, authors=False), FourEyesRequired),
    ("who requested, policy lets authors", eyes("1", ("1",), authors=False), FourEyesRequired),
    # policies
    ("a policy owner publishes", lambda: rules.check_may_publish(person("policy_owner")), OK),
    ("an administrator publishes", lambda: rules.check_may_publish(person("admin")), NotAllowed),
    ("an approver publishes", lambda: rules.check_may_publish(person("approver", functions=("risk",))), NotAllowed),
    ("the installation publishes", lambda: rules.check_may_publish(Actor.system("load_policies")), OK),
    ("nobody in person publishes", lambda: rules.check_may_publish(person("policy_owner", user=None)), NotAllowed),
    ("who asks for nothing publishes", lambda: rules.check_not_own_gate(person("policy_owner"), []), OK),
    ("who asks for a gate publishes", lambda: rules.check_not_own_gate(person("policy_owner"), ["poc to pilot"]), FourEyesRequired),
    # waivers
    ("a waiver for ten days", waiver(10), OK),
    ("a waiver to the last day", waiver(90), OK),
    ("a waiver a day too long", waiver(91), Invalid),
    ("a waiver that is over", waiver(-1), Invalid),
    ("a waiver of no length", waiver(0), Invalid),
    ("a waiver without a reason", waiver(10, reason=" "), Invalid),
    ("a waiver where the policy takes few days", waiver(10, most=9), Invalid),
    ("waive a check", lambda: waiver_rules.row_of(BODY, "a"), OK),
    ("waive an item", lambda: waiver_rules.row_of(BODY, "c"), OK),
    ("waive what the policy keeps", lambda: waiver_rules.row_of(BODY, "b"), Conflict),
    ("waive what is not asked", lambda: waiver_rules.row_of(BODY, "d"), Invalid),
    ("waive a failing check", lambda: waiver_rules.check_needed({"state": "fail"}), OK),
    ("waive a missing check", lambda: waiver_rules.check_needed({"state": "missing"}), OK),
    ("waive a passing check", lambda: waiver_rules.check_needed({"state": "pass"}), Conflict),
    ("waive an item answered no", lambda: waiver_rules.check_needed({"answer": "no"}), OK),
    ("waive an item answered yes", lambda: waiver_rules.check_needed({"answer": "yes"}), Conflict),
    # delegations
    ("delegate for five days", delegation(), OK),
    ("delegate to oneself", delegation(delegate_id="1"), Invalid),
    ("delegate to a closed account", delegation(delegate_active=False), Invalid),
    ("delegate backwards", delegation(ends_at=AT - timedelta(days=1)), Invalid),
    ("delegate for too long", delegation(ends_at=AT + timedelta(days=91)), Invalid),
    ("delegate what is over", delegation(at=AT + timedelta(days=6)), Invalid),
    ("delegate without a reason", delegation(reason=""), Invalid),
    ("delegate an unknown function", delegation(function="sales"), Invalid),
    ("delegate beside strangers", chain(("8", "9")), OK),
    ("two absent people to one delegate", chain(("8", "2")), OK),
    ("delegate in a circle", chain(("2", "1")), Conflict),
    ("delegate to somebody who is away", chain(("2", "9")), Conflict),
    ("hand on what was delegated", chain(("9", "1")), Conflict),
    ("delegate twice at a time", chain(("1", "9")), Conflict),
    ("delegate one's own", lambda: delegation_rules.check_may_delegate(person("approver"), "1"), OK),
    ("delegate another's", lambda: delegation_rules.check_may_delegate(person("approver"), "2"), NotAllowed),
    ("an administrator delegates another's", lambda: delegation_rules.check_may_delegate(person("admin"), "2"), OK),
    # states
    ("sign an open gate", lambda: rules.check_state("open", "open"), OK),
    *[(f"sign a gate that is {s}", lambda s=s: rules.check_state(s, "open"), Conflict)
      for s in ("draft", "approved", "rejected", "withdrawn", "stopped", "rebuilt", "lapsed")],
]  # fmt: skip


def test_the_table_is_long_enough():
    assert len(TABLE) >= 60 and len({name for name, _, _ in TABLE}) == len(TABLE)


@pytest.mark.parametrize(("call", "refusal"), [pytest.param(c, r, id=n) for n, c, r in TABLE])
def test_what_a_gate_lets_whom_do(call, refusal):
    if refusal is None:
        call()
    else:
        with pytest.raises(refusal) as refused:
            call()
        assert refused.value.detail.endswith((".", "?")) and (refusal is not Invalid or refused.value.errors)


@pytest.mark.parametrize("before", TIERS)
@pytest.mark.parametrize("after", TIERS)
def test_which_tier_is_higher(before, after):
    assert is_raised(before, after) is ((before, after) in {("minimal", "limited"), ("minimal", "high"), ("limited", "high")})


@pytest.mark.parametrize(("days", "mark"), [(40, None), (30.1, None), (30, 30), (8, 30), (7, 7), (0.5, 7)])
def test_which_notice_of_expiry_is_due(days, mark):
    assert rules.expiry_mark(timedelta(days=days)) == mark

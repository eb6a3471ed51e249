"""Rules of gates as tables."""

import pytest

from apps.approvals import rules
from apps.core.actor import Actor
from apps.core.errors import Conflict, FourEyesRequired, Invalid, NotAllowed, StaleEvidence
from apps.usecases.rules import ENVIRONMENT_OF_STAGE, GATE_OF_MOVE, STAGES

PERSON = Actor(
    kind="user", id="user:1", label="P", user_id="1", roles=frozenset({"ml_engineer", "approver"}), functions=frozenset({"risk"})
)


@pytest.mark.parametrize(
    ("stage", "to_stage", "kind", "policy", "environment"),
    [
        ("proposal", "poc", "stage", "proposal_poc", ""),
        ("poc", "pilot", "stage", "poc_pilot", "pilot"),
        ("pilot", "production", "stage", "pilot_production", "production"),
        ("production", "retired", "stage", "production_retired", ""),
        ("pilot", "pilot", "version", "version", "pilot"),
        ("production", "pilot", "version", "version", "pilot"),
        ("production", "production", "version", "version", "production"),
    ],
)
def test_what_a_request_comes_to(stage, to_stage, kind, policy, environment):
    shape = rules.shape(stage, to_stage, GATE_OF_MOVE, ENVIRONMENT_OF_STAGE)
    assert (shape.kind, shape.policy_gate, shape.environment, shape.needs_model) == (kind, policy, environment, bool(environment))


GATES = {
    ("proposal", "poc"),
    ("poc", "pilot"),
    ("pilot", "production"),
    ("production", "retired"),
    ("pilot", "pilot"),
    ("production", "pilot"),
    ("production", "production"),
}


@pytest.mark.parametrize(("stage", "to_stage"), sorted({(a, b) for a in STAGES for b in STAGES} - GATES))
def test_every_other_pair_has_no_gate(stage, to_stage):
    with pytest.raises(Conflict) as refused:
        rules.shape(stage, to_stage, GATE_OF_MOVE, ENVIRONMENT_OF_STAGE)
    assert "to_stage" in refused.value.errors


@pytest.mark.parametrize(
    ("owner", "is_owner", "may_change", "allowed"),
    [
        ("owner", True, False, True),
        ("owner", False, True, False),
        ("engineer", False, True, True),
        ("engineer", True, False, False),
        ("risk", False, False, True),
        ("security", True, True, False),
    ],
)
def test_who_answers_an_item(owner, is_owner, may_change, allowed):
    if allowed:
        rules.check_may_attest(PERSON, owner, is_owner=is_owner, may_change=may_change)
    else:
        with pytest.raises(NotAllowed):
            rules.check_may_attest(PERSON, owner, is_owner=is_owner, may_change=may_change)


@pytest.mark.parametrize(
    ("quorum", "approvals", "wanted"),
    [
        ({"business": 1}, [], {"business": 1}),
        ({"business": 1}, ["business"], {}),
        ({"risk": 2, "security": 1}, ["risk", "security"], {"risk": 1}),
        ({"risk": 2}, ["risk", "risk", "risk"], {}),
        ({"risk": 1}, ["business", "security"], {"risk": 1}),
    ],
)
def test_what_is_still_wanted(quorum, approvals, wanted):
    assert rules.still_wanted(quorum, approvals) == wanted


SIGN = {
    "function": "risk", "meaning": "approved", "comment": "", "quorum": {"risk": 1, "business": 1}, "approvals": [], "signed_before": False,
    "evidence_digest": "d", "frozen_digest": "d",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({}, None),
        ({"approvals": ["business"]}, None),
        ({"meaning": "rejected", "comment": "No.", "would_change": "More."}, None),
        ({"meaning": "rejected", "comment": "No.", "would_change": "More.", "approvals": ["risk"]}, None),
        ({"meaning": "abstain"}, Invalid),
        ({"meaning": "rejected"}, Invalid),
        ({"meaning": "rejected", "comment": "  "}, Invalid),
        ({"function": "legal"}, Invalid),
        ({"signed_before": True}, Conflict),
        ({"approvals": ["risk"]}, Conflict),
        ({"evidence_digest": "other"}, StaleEvidence),
        ({"evidence_digest": ""}, StaleEvidence),
    ],
)
def test_whether_a_signature_fits(changed, error):
    if error is None:
        rules.check_signature(**(SIGN | changed))
    else:
        with pytest.raises(error):
            rules.check_signature(**(SIGN | changed))


@pytest.mark.parametrize(
    ("author_user_id", "label", "author"),
    [
        ("1", "", True),
        (None, "P@X.org", True),
        (None, " pat person ", True),
        (None, "Pat Person (token ci)", True),
        (None, "Pat Personne", False),
        (None, "", False),
        ("2", "somebody", False),
        ("2", "p@x.org", True),
    ],
)
def test_who_counts_as_author(author_user_id, label, author):
    assert (
        rules.is_author(author_user_id=author_user_id, author_label=label, user_id="1", email="p@x.org", full_name="Pat Person") is author
    )


@pytest.mark.parametrize(
    ("requesters", "author", "fine"),
    [((None, "2"), False, True), (("1",), False, False), (("2", "1"), False, False), (("2",), True, False)],
)
def test_four_eyes(requesters, author, fine):
    if fine:
        rules.check_four_eyes(user_id="1", requesters=requesters, author=author)
    else:
        with pytest.raises(FourEyesRequired):
            rules.check_four_eyes(user_id="1", requesters=requesters, author=author)


def document(**changed):
    check = {"check": "a.b", "with": {}, "title": "A", "state": "pass", "found": "5", "figure": 5.0, "source_digest": "x", "detail": ""}
    item = {"item": "i", "text": "I.", "owner": "owner", "answer": "yes", "note": "n"}
    base = {"usecase": {"stage": "poc"}, "model_version": {"artifact_digest": "d"}, "policy": {"version": 1}, "frozen_at": "t"}
    return base | {"checks": [check | changed.pop("check", {})], "attestations": [item | changed.pop("item", {})]} | changed


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({}, None),
        ({"frozen_at": "later"}, None),
        ({"check": {"detail": "other words"}}, None),
        ({"check": {"state": "fail"}}, "A"),
        ({"check": {"found": "6"}}, "A"),
        ({"check": {"figure": 6.0}}, "A"),
        ({"check": {"source_digest": "y"}}, "A"),
        ({"check": {"check": "a.c"}}, "A"),
        ({"item": {"answer": "no"}}, "I."),
        ({"item": {"note": "m"}}, "I."),
        ({"usecase": {"stage": "pilot"}}, "Use case: stage"),
        ({"model_version": {"artifact_digest": "e"}}, "Model version: artifact digest"),
        ({"model_version": None}, "Model version: artifact digest"),
        ({"policy": {"version": 2}}, "Policy: version"),
    ],
)
def test_what_counts_as_a_change(changed, what):
    found = rules.changes(document(), document(**changed))
    assert [c["what"] for c in found] == ([what] if what else [])
    if what:
        assert found[0]["before"] != found[0]["after"]
        with pytest.raises(StaleEvidence, match="changed since"):
            rules.check_unchanged(found)


@pytest.mark.parametrize(
    ("changed", "open_points"),
    [
        ({}, []),
        ({"item": {"answer": "not_applicable"}}, []),
        ({"check": {"state": "fail"}}, ["a.b"]),
        ({"check": {"state": "missing"}}, ["a.b"]),
        ({"item": {"answer": ""}}, ["i"]),
        ({"item": {"answer": "no"}}, ["i"]),
    ],
)
def test_what_keeps_a_gate_from_being_requested(changed, open_points):
    assert list(rules.failing(document(**changed))) == open_points

"""N of a pool: so many of so many, or of people who are named. What can never be met is not published."""

import pytest
from django.db import DatabaseError, connection, transaction

from apps.approvals import policy_rules, selectors, services
from apps.approvals.models import PolicyVersion
from apps.core.clock import now
from apps.core.errors import Invalid, NotAllowed
from apps.core.evidence import Check
from apps.notices.models import Notice
from tests.approvals.conftest import policy
from tests.conftest import PASSWORD

CHECKS: dict[str, Check] = {}


def read(quorum):
    return policy_rules.read(policy("proposal_poc", quorum), CHECKS)


@pytest.mark.parametrize(
    ("given", "needed", "pools"),
    [
        ({"business": 1, "risk": 2}, {"business": 1, "risk": 2}, None),
        ({"risk": {"sign": 2, "of": 3}, "business": 1}, {"business": 1, "risk": 2}, {"risk": {"of": 3}}),
        ({"risk": {"sign": 2, "of": 2}}, {"risk": 2}, {"risk": {"of": 2}}),
        ({"risk": {"sign": 1, "people": ["B@x.org", "a@x.org"]}}, {"risk": 1}, {"risk": {"people": ["a@x.org", "b@x.org"]}}),
    ],
)
def test_a_quorum_is_read_with_its_pool(given, needed, pools):
    body = read(given)
    assert body["quorum"] == needed and body.get("pools") == pools


@pytest.mark.parametrize(
    ("given", "where", "words"),
    [
        ({"sign": 3, "of": 2}, "quorum.risk.of", "3 of 2 can never sign"),
        ({"sign": 2, "people": ["a@x.org"]}, "quorum.risk.people", "2 of 1 can never sign"),
        ({"sign": 1}, "quorum.risk", "either"),
        ({"sign": 1, "of": 2, "people": ["a@x.org"]}, "quorum.risk", "either"),
        ({"sign": 0, "of": 2}, "quorum.risk.sign", "1 to 20"),
        ({"sign": 1, "of": True}, "quorum.risk.of", "1 to 100"),
        ({"sign": 1, "people": "a@x.org"}, "quorum.risk.people", "list"),
        ({"sign": 1, "people": ["a@x.org", "A@x.org"]}, "quorum.risk.people", "twice"),
        ({"sign": 1, "people": ["nobody"]}, "quorum.risk.people", "addresses"),
        ({"sign": 1, "from": 2}, "quorum.risk.from", "unknown field"),
    ],
)
def test_a_pool_that_cannot_be_names_field_and_line(given, where, words):
    with pytest.raises(Invalid, match=words) as refused:
        read({"risk": given})
    assert list(refused.value.errors) == [where] and refused.value.extra["line"] > 0


@pytest.mark.parametrize(
    ("quorum", "holders", "words"),
    [
        ({"risk": 2}, {"risk": ["a@x.org"]}, "takes 2 people who sign for risk, and there is 1"),
        ({"risk": 1}, {}, "there are 0"),
        ({"risk": {"sign": 2, "of": 3}}, {"risk": ["a@x.org", "b@x.org"]}, "takes 3 people"),
        ({"risk": {"sign": 1, "people": ["a@x.org", "z@x.org"]}}, {"risk": ["a@x.org", "b@x.org"]}, "not an approver for risk: z@x.org"),
        ({"risk": {"sign": 2, "of": 3}}, {"risk": ["a@x.org", "b@x.org", "c@x.org"]}, ""),
        ({"risk": {"sign": 1, "people": ["a@x.org"]}}, {"risk": ["a@x.org"]}, ""),
    ],
)
def test_who_there_is_has_to_be_enough(quorum, holders, words):
    text = policy("proposal_poc", quorum)
    body = policy_rules.read(text, CHECKS)
    if not words:
        return policy_rules.check_staffed(text, body, holders)
    with pytest.raises(Invalid, match=words) as refused:
        policy_rules.check_staffed(text, body, holders)
    assert list(refused.value.errors) == ["quorum.risk"] and "People" in refused.value.detail and refused.value.extra["line"] > 0
    return None


@pytest.fixture
def rolf(make_user):
    return make_user("approver:risk", name="Rolf Risk")


@pytest.fixture
def gate(policies, usecase, at_stage, version, engineer, actor_of, risk, rolf, make_user, system):
    """A gate to pilot that risk signs, of whom the policy names Rita alone."""
    text = policy("poc_pilot", {"risk": {"sign": 1, "people": [risk.email]}}, checks=[{"check": "registry.digest_known"}], version=2)
    services.publish_policy(actor=actor_of(make_user("policy_owner")), text=text, password=PASSWORD)
    at_stage("poc")
    made = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)
    return services.request_gate(actor=actor_of(engineer), gate_id=made.id)


@pytest.mark.django_db
def test_only_who_is_named_is_asked_sees_it_waiting_and_signs(gate, risk, rolf, sign, actor_of):
    assert [d.person for d in Notice.objects.get(event="gate.requested").deliveries.all()] == [risk]
    assert selectors.count_waiting_on(actor_of(rolf)) == 0 and selectors.count_waiting_on(actor_of(risk)) == 1
    page = selectors.gate_page(actor_of(rolf), gate.id)
    assert page.my_functions == [] and "names the people" in page.why_not
    with pytest.raises(NotAllowed, match="not among them"):
        sign(gate, rolf, "risk")
    assert sign(gate, risk, "risk").state == "approved"


@pytest.mark.django_db
def test_a_delegate_of_who_is_named_signs_for_them_and_of_nobody_else(gate, risk, rolf, sign, make_user, actor_of):
    from datetime import timedelta

    dora = make_user("stakeholder", name="Dora Delegate")
    for who in (rolf, risk):
        services.delegate(
            actor=actor_of(who),
            delegate=dora,
            function="risk",
            starts_at=now() - timedelta(hours=1),
            ends_at=now() + timedelta(days=1),
            reason="Away.",
        )
    assert selectors.count_waiting_on(actor_of(dora)) == 1
    with pytest.raises(NotAllowed, match="Rolf Risk"):
        sign(gate, dora, "risk", on_behalf_of=rolf.id)
    assert sign(gate, dora, "risk", on_behalf_of=risk.id).state == "approved"


@pytest.mark.django_db
def test_raw_sql_cannot_sign_past_the_pool(gate, rolf):
    with pytest.raises(DatabaseError, match="not among them"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO approvals_signature (id, created_at, gate_id, signer_id, printed_name, function, meaning, comment, would_change, method, "
            "signed_at, evidence_digest, void_reason, on_behalf_of_name) VALUES (gen_random_uuid(), now(), %s, %s, 'x', 'risk', 'approved', '', '', 'x', "
            "now(), %s, '', '')",
            [gate.id, rolf.id, gate.evidence_digest],
        )


@pytest.mark.django_db
def test_the_list_says_where_people_are_wanted(system, risk):
    services.publish_policy(actor=system, text=policy("proposal_poc", {"risk": {"sign": 2, "of": 3}}))
    (row,) = selectors.policies_by_force()
    assert row.lacks == [("risk", 3, 1)] and PolicyVersion.objects.get().asked_of == [("risk", "2 of 3")]

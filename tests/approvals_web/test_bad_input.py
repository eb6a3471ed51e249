"""Bad input over REST and on the page: each is answered with the field and a remedy, and nothing is stored."""

from datetime import timedelta

import pytest

from apps.approvals import services
from apps.approvals.models import Delegation, PolicyVersion, Waiver
from apps.core.clock import now
from tests.approvals.conftest import policy
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(policies, usecase, at_stage, engineer, risk, business, version, make_user, actor_of, system):
    """A draft whose KPI check does not pass, two risk owners of whom one has delegated to the other, a policy owner."""
    services.publish_policy(actor=system, text=policy("poc_pilot", {"risk": 1}, checks=[{"check": "kpis.defined"}], version=2))
    at_stage("poc")
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)
    rolf = make_user("approver:risk", name="Rolf Risk")
    services.delegate(
        actor=actor_of(rolf), delegate=risk, function="risk", starts_at=now(), ends_at=now() + timedelta(days=9), reason="On leave."
    )
    return {"gate": gate, "policy owner": make_user("policy_owner"), "engineer": engineer, "risk": risk, "rolf": rolf}


def publish(text):
    body = {"text": text, "password": PASSWORD, "note": "A change."}
    return "policy owner", "/api/v1/policies/", body, "/policies/new/", body | {"do": "publish"}


def good(**changed):
    return policy("proposal_poc", **({"quorum": {"business": 1}} | changed), version=2)


def waive(until):
    def made(w):
        given = {"subject": "kpis.defined", "reason": "Figures follow."}
        path = f"/gates/{w['gate'].id}/waivers/"
        return "engineer", f"/api/v1{path}", given | {"until": until.isoformat()}, path, given | {"until": f"{until:%Y-%m-%d}"}

    return made


def circle(w):
    given = {"delegate": w["rolf"].email, "function": "risk", "reason": "Away too."}
    start, end = now() + timedelta(days=1), now() + timedelta(days=3)
    rest = given | {"starts_at": start.isoformat(), "ends_at": end.isoformat()}
    return "risk", "/api/v1/delegations/", rest, "/delegations/", given | {"starts_at": f"{start:%Y-%m-%d}", "ends_at": f"{end:%Y-%m-%d}"}


# what: (request, field, words of the remedy)
CASES = {
    "unknown check": (lambda w: publish(good(checks=[{"check": "kpis.perfect"}])), "checks[0].check", "Known: deployments.callers_gone"),
    "unknown parameter": (lambda w: publish(good(checks=[{"check": "kpis.defined", "with": {"most": 3}}])), "checks[0].with", "Known: minimum, maximum"),
    "bad YAML": (lambda w: publish("name: [x\ngate: y"), "line 2", "this is not YAML"),
    "no mapping": (lambda w: publish("- a"), "text", "mapping"),
    "impossible quorum, of a pool": (lambda w: publish(good(quorum={"risk": {"sign": 3, "of": 2}})), "quorum.risk.of", "Ask for fewer"),
    "impossible quorum, too few people": (lambda w: publish(good(quorum={"risk": 7})), "quorum.risk", "ask for fewer"),
    "impossible quorum, nobody of that name": (
        lambda w: publish(good(quorum={"risk": {"sign": 1, "people": ["x@example.org"]}})), "quorum.risk", "An administrator gives the role",
    ),
    "a gate that would pass on attestations alone": (lambda w: publish(policy("version", {"risk": 1}, version=9)), "checks", "Name computed checks"),
    "expired waiver": (waive(now() - timedelta(days=2)), "until", "Choose a later day"),
    "a waiver for ever": (waive(now() + timedelta(days=4000)), "until", "at most"),
    "cyclic delegation": (circle, "delegate", "Choose somebody else"),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_it_is_refused_by_field_with_a_remedy_over_rest_and_on_the_page(what, world, api, client):
    made, field, words = CASES[what]
    person, rest, body, page, form = made(world)

    def stored():
        return [model.objects.count() for model in (PolicyVersion, Waiver, Delegation)]

    before = stored()
    answer = api(world[person]).post(rest, body, format="json")
    assert answer.status_code in (400, 409), answer.content
    said = answer.json()
    assert field in said["errors"] and words in said["detail"] + str(said["errors"]), said
    client.force_login(world[person])
    shown = client.post(page, form)
    text = shown.content.decode()
    assert shown.status_code == answer.status_code and words in text and 'role="alert"' in text
    assert stored() == before, "nothing is stored"

"""Beginning, attesting, requesting, taking back."""

import json

import pytest

from apps.approvals import documents, selectors, services
from apps.approvals.models import Gate
from apps.audit.models import Event
from apps.core.canonical import canonical_json, sha256_hex
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.registry.models import ModelVersion
from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db


def open_gate(actor, usecase, to_stage="poc", **more):
    return services.open_gate(actor=actor, usecase_id=usecase.id, to_stage=to_stage, **more)


def test_requesting_freezes_the_evidence_under_a_digest(poc_gate, policies):
    document = json.loads(poc_gate.evidence_text)
    assert poc_gate.state == "open" and canonical_json(document) == poc_gate.evidence_text
    assert poc_gate.evidence_digest == "sha256:" + sha256_hex(poc_gate.evidence_text)
    assert document["policy"]["digest"] == policies[0].digest
    assert [c["state"] for c in document["checks"]] == ["pass"]
    assert document["attestations"][0]["answer"] == "yes" and document["requested_by"] == poc_gate.requested_by.email
    assert poc_gate.due_at > poc_gate.requested_at
    assert Event.objects.filter(action__startswith="approvals.gate.").values_list("action", flat=True).count() == 3


def test_a_gate_with_evidence_that_does_not_pass_cannot_be_requested(policies, usecase, engineer, owner, actor_of):
    usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, sponsor=None)
    gate = open_gate(actor_of(engineer), usecase)
    with pytest.raises(Conflict) as refused:
        services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
    assert refused.value.code == "evidence-incomplete"
    assert set(refused.value.errors) == {"usecases.complete", "described"}
    gate.refresh_from_db()
    assert (gate.state, gate.evidence_digest) == ("draft", "")


def test_an_answer_of_no_blocks_like_a_failing_check(policies, usecase, engineer, owner, actor_of):
    gate = open_gate(actor_of(engineer), usecase)
    services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="no", note="Not yet.")
    with pytest.raises(Conflict, match="answered no"):
        services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
    services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="yes", note="Now it is.")
    assert services.request_gate(actor=actor_of(engineer), gate_id=gate.id).state == "open"
    assert gate.attestations.count() == 2, "the first answer stays readable"


def test_an_item_is_answered_by_its_owner_in_words_while_it_is_a_draft(policies, usecase, engineer, owner, actor_of, poc_gate):
    with pytest.raises(Conflict, match="is open"):
        services.attest(actor=actor_of(owner), gate_id=poc_gate.id, item="described", answer="yes", note="Again.")
    services.withdraw(actor=actor_of(engineer), gate_id=poc_gate.id)
    gate = open_gate(actor_of(engineer), usecase)
    with pytest.raises(NotAllowed, match="owner or sponsor"):
        services.attest(actor=actor_of(engineer), gate_id=gate.id, item="described", answer="yes", note="Sure.")
    with pytest.raises(Invalid, match="note"):
        services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="yes", note=" ")
    with pytest.raises(Invalid, match="answer"):
        services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="maybe", note="x")
    with pytest.raises(Invalid, match="no item"):
        services.attest(actor=actor_of(owner), gate_id=gate.id, item="other", answer="yes", note="x")


@pytest.mark.parametrize("to_stage", ["pilot", "production", "proposal", "retired", "nowhere"])
def test_a_gate_leads_only_one_stage_further(policies, usecase, engineer, actor_of, version, to_stage):
    with pytest.raises(Conflict, match="Possible: poc"):
        open_gate(actor_of(engineer), usecase, to_stage, model_version_id=version.id)


def test_one_stage_gate_at_a_time(poc_gate, usecase, engineer, actor_of):
    with pytest.raises(Conflict, match="under way"):
        open_gate(actor_of(engineer), usecase)


def test_a_gate_into_an_environment_names_a_ready_version_of_a_linked_model(policies, usecase, at_stage, engineer, actor_of, version):
    at_stage("poc")
    with pytest.raises(Invalid, match="model_version"):
        open_gate(actor_of(engineer), usecase, "pilot")
    from apps.registry.models import RegisteredModel

    stranger = ModelVersion.objects.create(
        model=RegisteredModel.objects.create(name="other"), version=1, status="ready", artifact_digest="sha256:" + "b" * 64
    )
    with pytest.raises(NotFound, match="linked"):
        open_gate(actor_of(engineer), usecase, "pilot", model_version_id=stranger.id)
    pending = ModelVersion.objects.create(model=version.model, version=2, status="pending")
    with pytest.raises(Conflict, match="pending"):
        open_gate(actor_of(engineer), usecase, "pilot", model_version_id=pending.id)


def test_strangers_readers_and_machines_request_nothing(policies, usecase, owner, make_user, actor_of, system):
    with pytest.raises(NotFound):
        open_gate(actor_of(make_user("ml_engineer")), usecase)
    reader = make_user("ml_engineer")
    usecases.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
    with pytest.raises(NotAllowed, match="change access"):
        open_gate(actor_of(reader), usecase)
    with pytest.raises(NotAllowed, match="person"):
        open_gate(system, usecase)


def test_without_a_policy_no_gate_begins(usecase, engineer, actor_of):
    with pytest.raises(Conflict, match="load_policies"):
        open_gate(actor_of(engineer), usecase)


def test_a_gate_keeps_the_policy_it_began_under(poc_gate, policies, system, engineer, owner, actor_of, sign, business):
    from tests.approvals.conftest import policy

    services.publish_policy(actor=system, text=policy("proposal_poc", {"business": 1, "risk": 5}, version=2))
    assert Gate.objects.get(id=poc_gate.id).policy == policies[0]
    assert sign(poc_gate, business, "business").state == "approved"


def test_only_who_began_it_requests_it(policies, usecase, owner, engineer, actor_of):
    gate = open_gate(actor_of(engineer), usecase)
    services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="yes", note="Yes.")
    with pytest.raises(NotAllowed, match="began this gate"):
        services.request_gate(actor=actor_of(owner), gate_id=gate.id)


def test_requesting_twice_without_a_change_is_refused(poc_gate, engineer, actor_of):
    with pytest.raises(Conflict, match="Nothing changed"):
        services.request_gate(actor=actor_of(engineer), gate_id=poc_gate.id)


def test_taking_back_ends_it_and_makes_room(poc_gate, usecase, engineer, actor_of):
    services.withdraw(actor=actor_of(engineer), gate_id=poc_gate.id, reason="Too early.")
    with pytest.raises(Conflict, match="taken back"):
        services.withdraw(actor=actor_of(engineer), gate_id=poc_gate.id)
    assert open_gate(actor_of(engineer), usecase).state == "draft"


def test_a_draft_shows_its_evidence_as_it_stands_now(policies, usecase, owner, engineer, actor_of):
    gate = open_gate(actor_of(engineer), usecase)
    page = selectors.gate_page(actor_of(engineer), gate.id)
    assert page.passing == 1 and set(page.open_points) == {"described"} and page.may_request and page.may_withdraw
    assert page.my_items == [] and selectors.gate_page(actor_of(owner), gate.id).my_items == ["described"]
    assert documents.frozen(page.gate) == {}


def test_a_moved_use_case_makes_the_draft_useless(policies, usecase, engineer, owner, actor_of):
    gate = open_gate(actor_of(engineer), usecase)
    services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="yes", note="Yes.")
    usecases.put_on_hold(actor=actor_of(owner), usecase_id=usecase.id, reason="No budget.")
    with pytest.raises(Conflict, match="on_hold now"):
        services.request_gate(actor=actor_of(engineer), gate_id=gate.id)

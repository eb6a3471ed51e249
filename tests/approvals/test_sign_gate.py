"""Signing: verified here, over the frozen digest, by somebody else, once; then one decision."""

import pytest
from django.db import DatabaseError, connection, transaction

from apps.accounts import services as accounts
from apps.accounts.models import SignInAttempt
from apps.approvals import selectors, services
from apps.approvals.models import Gate, Signature
from apps.audit.models import Event
from apps.core.errors import Conflict, CredentialsRefused, FourEyesRequired, Invalid, NotAllowed, NotFound, StaleEvidence
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.registry.models import ModelVersion
from apps.usecases import services as usecases
from apps.usecases.models import StageMove, UseCase
from tests.approvals.conftest import DIGEST

pytestmark = pytest.mark.django_db


def test_the_last_wanted_signature_decides_and_moves_the_use_case(poc_gate, business, usecase, sign):
    gate = sign(poc_gate, business, "business", comment="Worth trying.")
    decision = Decision.objects.get()
    assert (gate.state, gate.decision, gate.usecase.stage) == ("approved", decision, "poc")
    assert (decision.kind, decision.stage_to, decision.environment, decision.gate_id) == ("stage", "poc", "", gate.id)
    assert decision.evidence_digest == poc_gate.evidence_digest
    assert StageMove.objects.get().decision_id == decision.id
    signature = Signature.objects.get()
    assert (signature.printed_name, signature.function, signature.method) == ("Bea Business", "business", "password")
    actions = set(Event.objects.values_list("action", flat=True))
    assert {"approvals.gate.signed", "approvals.gate.approved", "decisions.decision.issued", "usecases.stage.promoted"} <= actions


def test_a_quorum_of_two_waits_for_the_second(pilot_gate, business, risk, usecase, sign):
    gate = sign(pilot_gate, business, "business")
    assert gate.state == "open" and not decisions.live().filter(environment="pilot").exists()
    assert UseCase.objects.get(id=usecase.id).stage == "poc"
    gate = sign(pilot_gate, risk, "risk")
    assert gate.state == "approved" and gate.usecase.stage == "pilot"
    live = decisions.live_decision(artifact_digest=DIGEST, environment="pilot", usecase_id=usecase.id)
    assert live == gate.decision and live.model_version_label == "outreach/1"


def test_a_wrong_password_signs_nothing(poc_gate, business, sign):
    with pytest.raises(CredentialsRefused):
        sign(poc_gate, business, "business", password="wrong horse")
    assert not Signature.objects.exists() and Gate.objects.get(id=poc_gate.id).state == "open"


def test_guessing_stops_after_ten_failures(poc_gate, business, sign):
    from apps.core.errors import TooMany

    for _ in range(10):
        accounts.record_failure(email=business.email, ip="127.0.0.1", purpose="signature")
    with pytest.raises(TooMany):
        sign(poc_gate, business, "business")
    assert SignInAttempt.objects.count() == 10 and not Signature.objects.exists()


def test_the_requester_cannot_sign_even_with_the_function(policies, usecase, owner, make_user, actor_of, sign):
    both = make_user("approver:business", "ml_engineer")
    usecases.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=both, level="change")
    gate = services.open_gate(actor=actor_of(both), usecase_id=usecase.id, to_stage="poc")
    services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="yes", note="Yes.")
    gate = services.request_gate(actor=actor_of(both), gate_id=gate.id)
    with pytest.raises(FourEyesRequired, match="requested"):
        sign(gate, both, "business")
    page = selectors.gate_page(actor_of(both), gate.id)
    assert page.my_functions == [] and "somebody else" in page.why_not
    assert selectors.count_waiting_on(actor_of(both)) == 0


@pytest.mark.parametrize("known_as", ["account", "email", "name", "token"])
def test_the_author_of_the_model_version_cannot_sign(pilot_gate, version, business, sign, engineer, actor_of, known_as):
    label = {"account": "", "email": business.email.upper(), "name": business.full_name, "token": f"{business.full_name} (token ci)"}[
        known_as
    ]
    ModelVersion.objects.filter(id=version.id).update(author_user=business if known_as == "account" else None, author=label)
    with pytest.raises(FourEyesRequired, match="made this model version"):
        sign(pilot_gate, business, "business")
    assert not Signature.objects.exists()


def test_one_person_signs_once_even_with_two_functions(pilot_gate, make_user, sign):
    two = make_user("approver:business", "approver:risk")
    sign(pilot_gate, two, "business")
    with pytest.raises(Conflict, match="one person, one signature"):
        sign(pilot_gate, two, "risk")
    assert Signature.objects.count() == 1


def test_a_function_that_is_complete_takes_no_more(pilot_gate, make_user, business, sign):
    sign(pilot_gate, business, "business")
    with pytest.raises(Conflict, match="complete"):
        sign(pilot_gate, make_user("approver:business"), "business")


def test_a_function_one_does_not_hold_or_that_is_not_asked_for(pilot_gate, risk, security, sign):
    with pytest.raises(NotAllowed, match="not an approver for business"):
        sign(pilot_gate, risk, "business")
    with pytest.raises(NotFound):
        sign(pilot_gate, security, "security")
    with pytest.raises(Invalid, match="asks for business, risk"):
        sign(pilot_gate, risk, "security")


def test_a_role_lost_between_reading_and_signing(pilot_gate, risk, actor_of, system):
    from tests.conftest import PASSWORD

    before = actor_of(risk)
    accounts.remove_role(actor=system, user=risk, role="approver", function="risk")
    with pytest.raises(NotAllowed, match="any more"):
        services.sign_gate(
            actor=before, gate_id=pilot_gate.id, function="risk", meaning="approved", evidence_digest=pilot_gate.evidence_digest,
            password=PASSWORD,
        )  # fmt: skip


def test_a_digest_that_is_not_the_frozen_one_is_stale(poc_gate, business, sign):
    with pytest.raises(StaleEvidence):
        sign(poc_gate, business, "business", evidence_digest="sha256:" + "0" * 64)


def test_refusing_needs_words_and_ends_the_gate(pilot_gate, business, risk, usecase, sign):
    with pytest.raises(Invalid, match="comment"):
        sign(pilot_gate, risk, "risk", meaning="rejected")
    gate = sign(pilot_gate, risk, "risk", meaning="rejected", comment="Recall at the worst site is too low.", would_change="Show it above 0.8.")
    assert gate.state == "rejected" and not decisions.live().filter(environment="pilot").exists()
    with pytest.raises(Conflict, match="was refused"):
        sign(pilot_gate, business, "business")
    assert UseCase.objects.get(id=usecase.id).stage == "poc"


def test_signing_again_after_the_decision_changes_nothing(poc_gate, business, make_user, sign):
    sign(poc_gate, business, "business")
    for person in (business, make_user("approver:business")):
        with pytest.raises(Conflict, match="approved already"):
            sign(poc_gate, person, "business")
    assert Decision.objects.count() == 1


def test_what_changed_since_freezing_stops_the_signature_and_is_named(poc_gate, usecase, owner, business, engineer, actor_of, sign):
    usecases.add_integration(actor=actor_of(owner), usecase_id=usecase.id, name="Claims", direction="in")
    with pytest.raises(StaleEvidence, match="changed since") as refused:
        sign(poc_gate, business, "business")
    assert "1 integration point" in refused.value.extra["changes"][0]["before"]
    assert "2 integration points" in refused.value.extra["changes"][0]["after"]
    page = selectors.gate_page(actor_of(business), poc_gate.id)
    assert page.changes == refused.value.extra["changes"] and page.my_functions == [] and "changed since" in page.why_not
    assert selectors.gate_page(actor_of(engineer), poc_gate.id).may_request


def test_freezing_anew_voids_the_signatures_and_asks_again(pilot_gate, usecase, owner, business, risk, engineer, actor_of, sign):
    sign(pilot_gate, business, "business")
    usecases.update_usecase(actor=actor_of(owner), usecase_id=usecase.id, name="Care calls")
    gate = services.request_gate(actor=actor_of(engineer), gate_id=pilot_gate.id)
    assert gate.evidence_digest != pilot_gate.evidence_digest
    old = Signature.objects.get()
    assert old.void_at and "frozen again" in old.void_reason and old.evidence_digest == pilot_gate.evidence_digest
    with pytest.raises(StaleEvidence):
        sign(pilot_gate, risk, "risk")
    sign(gate, risk, "risk")
    assert sign(gate, business, "business").state == "approved"
    assert Event.objects.filter(action="approvals.signature.voided").count() == 1


def test_an_artifact_that_changed_underneath_stops_the_signature(pilot_gate, version, business, sign):
    ModelVersion.objects.filter(id=version.id).update(status="changed", observed_digest="sha256:" + "f" * 64)
    with pytest.raises(StaleEvidence, match="Model version: status"):
        sign(pilot_gate, business, "business")


def test_a_use_case_that_moved_meanwhile_stops_the_signature(pilot_gate, usecase, owner, business, actor_of, sign):
    usecases.put_on_hold(actor=actor_of(owner), usecase_id=usecase.id, reason="No budget.")
    with pytest.raises(StaleEvidence, match="Use case: stage"):
        sign(pilot_gate, business, "business")


def test_a_new_version_into_production_is_decided_without_moving_the_use_case(
    policies, usecase, at_stage, engineer, actor_of, version, business, risk, security, sign
):
    at_stage("production")
    second = ModelVersion.objects.create(model=version.model, version=2, run_id="r2", status="ready", artifact_digest="sha256:" + "b" * 64)
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="production", model_version_id=second.id)
    assert (gate.kind, gate.environment, gate.policy.gate) == ("version", "production", "version")
    with pytest.raises(Conflict, match="under way"):
        services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="production", model_version_id=second.id)
    gate = services.request_gate(actor=actor_of(engineer), gate_id=gate.id)
    for person, function in ((business, "business"), (risk, "risk"), (security, "security")):
        gate = sign(gate, person, function)
    assert gate.state == "approved" and gate.decision.kind == "deploy" and gate.decision.stage_to == ""
    assert UseCase.objects.get(id=usecase.id).stage == "production" and not StageMove.objects.filter(decision_id=gate.decision_id).exists()
    assert decisions.live_decision(artifact_digest=second.artifact_digest, environment="production", usecase_id=usecase.id) == gate.decision


def test_a_version_may_still_go_into_the_pilot_environment_of_a_live_use_case(policies, usecase, at_stage, engineer, actor_of, version):
    at_stage("production")
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)
    assert (gate.kind, gate.environment) == ("version", "pilot")


def test_revoking_a_decision_is_for_approvers_of_visible_use_cases(poc_gate, business, engineer, security, actor_of, sign):
    decision = sign(poc_gate, business, "business").decision
    with pytest.raises(NotAllowed):
        services.revoke_decision(actor=actor_of(engineer), decision_id=decision.id, reason="Mine.")
    with pytest.raises(NotFound):
        services.revoke_decision(actor=actor_of(security), decision_id=decision.id, reason="Not mine to see.")
    services.revoke_decision(actor=actor_of(business), decision_id=decision.id, reason="Wrong data.")
    assert not decisions.is_live(decision.id)


class TestRawSql:
    """The database refuses what the services never do."""

    def run(self, statement, parameters=()):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, parameters)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE approvals_signature SET function = 'risk'",
            "UPDATE approvals_signature SET comment = 'x', void_at = now(), void_reason = 'y'",
            "UPDATE approvals_signature SET void_at = now(), void_reason = ''",
            "DELETE FROM approvals_signature",
        ],
    )
    def test_a_signature_is_only_ever_voided(self, pilot_gate, business, sign, statement):
        sign(pilot_gate, business, "business")
        with pytest.raises(DatabaseError, match="never changed"):
            self.run(statement)

    def test_a_void_signature_stays_void(self, pilot_gate, business, sign):
        sign(pilot_gate, business, "business")
        self.run("UPDATE approvals_signature SET void_at = now(), void_reason = 'why'")
        with pytest.raises(DatabaseError, match="never changed"):
            self.run("UPDATE approvals_signature SET void_at = NULL, void_reason = ''")

    def test_a_decided_gate_stays_decided(self, poc_gate, business, sign):
        sign(poc_gate, business, "business")
        with pytest.raises(DatabaseError, match="decided gate"):
            self.run("UPDATE approvals_gate SET state = 'open', decision_id = NULL")

    def test_a_gate_is_not_approved_without_a_decision(self, poc_gate):
        with pytest.raises(DatabaseError):
            self.run("UPDATE approvals_gate SET state = 'approved'")

    @pytest.mark.parametrize("who", ["requester", "other digest"])
    def test_a_signature_over_something_else_or_by_the_requester_is_refused(self, poc_gate, engineer, business, who):
        signer, digest = (engineer, poc_gate.evidence_digest) if who == "requester" else (business, "sha256:0")
        insert = (
            "INSERT INTO approvals_signature (id, created_at, gate_id, signer_id, printed_name, function, meaning, comment, method, signed_at, "
            "evidence_digest, void_reason) VALUES (gen_random_uuid(), now(), %s, %s, 'X', 'business', 'approved', '', 'raw', now(), %s, '')"
        )
        with pytest.raises(DatabaseError):
            self.run(insert, [poc_gate.id, signer.id, digest])

"""A use case with its people, short policies, and a gate at each step of its way."""

import uuid

import pytest
import yaml

from tests.conftest import PASSWORD

DIGEST = "sha256:" + "a" * 64


def policy(gate: str, quorum: dict[str, int], *, checks=(), items=(), version: int = 1, **more) -> str:
    return yaml.safe_dump(
        {
            "name": f"test-{gate}", "version": version, "gate": gate, "tier": "any", "question": "May it?", "valid_days": 90, "due_days": 3,
            "quorum": quorum, "checks": list(checks), "attestations": list(items),
        } | more
    )  # fmt: skip


@pytest.fixture
def policies(system):
    """Short policies: business alone; business and risk; all three."""
    from apps.approvals import services

    described = {"item": "described", "text": "It is described.", "owner": "owner"}
    complete, digest = {"check": "usecases.complete"}, {"check": "registry.digest_known"}
    texts = [
        policy("proposal_poc", {"business": 1}, checks=[complete], items=[described]),
        policy("poc_pilot", {"business": 1, "risk": 1}, checks=[complete, digest]),
        policy("pilot_production", {"business": 1, "risk": 1, "security": 1}, checks=[complete, digest]),
        policy("version", {"business": 1, "risk": 1, "security": 1}, checks=[digest]),
    ]
    return [services.publish_policy(actor=system, text=t)[0] for t in texts]


@pytest.fixture
def owner(make_user):
    return make_user("stakeholder", name="Olga Owner")


@pytest.fixture
def engineer(make_user):
    return make_user("ml_engineer", name="Emil Engineer")


@pytest.fixture
def business(make_user):
    return make_user("approver:business", name="Bea Business")


@pytest.fixture
def risk(make_user):
    return make_user("approver:risk", name="Rita Risk")


@pytest.fixture
def security(make_user):
    return make_user("approver:security", name="Sam Security")


@pytest.fixture
def version(engineer, db):
    """outreach/1, registered by the engineer, ready."""
    from apps.registry.models import ModelVersion, RegisteredModel

    model = RegisteredModel.objects.create(name="outreach")
    return ModelVersion.objects.create(
        model=model, version=1, run_id="r1", status="ready", artifact_digest=DIGEST, author_user=engineer, author=str(engineer)
    )


@pytest.fixture
def usecase(owner, engineer, actor_of, version):
    from apps.usecases import services

    made = services.create_usecase(
        actor=actor_of(owner), name="Care outreach", problem="Calls reach the wrong members.", risk_tier="high",
        decision_supported="Whom the desk calls.", output_users="Nurses", sponsor=owner,
        integrations=[{"name": "Register", "direction": "in"}],
    )  # fmt: skip
    services.give_access(actor=actor_of(owner), usecase_id=made.id, user=engineer, level="change")
    services.link_model(actor=actor_of(engineer), usecase_id=made.id, model_name="outreach")
    return made


@pytest.fixture
def at_stage(usecase, system):
    """at_stage("pilot") takes the use case there by decisions, without gates."""
    from apps.decisions import services as decisions
    from apps.usecases import services

    def take(stage):
        for step in ("poc", "pilot", "production"):
            decision = decisions.issue(
                actor=system, usecase_id=usecase.id, kind="stage", stage_to=step, environment="", model_version_id=None,
                model_version_label="", artifact_digest="", gate_id=uuid.uuid4(), evidence_digest="sha256:" + "0" * 64, valid_days=9,
            )  # fmt: skip
            services.promote(actor=system, usecase_id=usecase.id, to_stage=step, decision=decision)
            if step == stage:
                break
        usecase.refresh_from_db()
        return usecase

    return take


@pytest.fixture
def poc_gate(policies, usecase, owner, engineer, actor_of):
    """proposal -> poc, requested by the engineer, open for business."""
    from apps.approvals import services

    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="poc", note="Please.")
    services.attest(actor=actor_of(owner), gate_id=gate.id, item="described", answer="yes", note="I wrote it.")
    return services.request_gate(actor=actor_of(engineer), gate_id=gate.id)


@pytest.fixture
def pilot_gate(policies, usecase, at_stage, engineer, actor_of, version):
    """poc -> pilot for outreach/1, requested by the engineer, open for business and risk."""
    from apps.approvals import services

    at_stage("poc")
    gate = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="pilot", model_version_id=version.id)
    return services.request_gate(actor=actor_of(engineer), gate_id=gate.id)


@pytest.fixture
def sign(actor_of):
    """sign(gate, person, "risk") approves; keywords change what is sent."""
    from apps.approvals import services

    def make(gate, person, function, **changed):
        given = {"meaning": "approved", "comment": "", "evidence_digest": gate.evidence_digest, "password": PASSWORD} | changed
        return services.sign_gate(actor=actor_of(person), gate_id=gate.id, function=function, **given)

    return make

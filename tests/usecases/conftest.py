"""A use case, a way to move it, a registered model."""

import uuid

import pytest


@pytest.fixture
def owner(make_user):
    return make_user("stakeholder", name="Olga Owner")


@pytest.fixture
def usecase(owner, actor_of):
    from apps.usecases import services

    return services.create_usecase(
        actor=actor_of(owner), name="Care outreach", problem="Calls reach the wrong members.", risk_tier="high",
        decision_supported="Whom the desk calls.", output_users="Nurses", sponsor=owner, currency="USD",
    )  # fmt: skip


@pytest.fixture
def decide(system):
    """decide(usecase, "poc") -> a live stage decision."""
    from apps.decisions import services

    def make(usecase, stage, **changed):
        given = {
            "usecase_id": usecase.id, "kind": "stage", "stage_to": stage, "environment": "", "model_version_id": None,
            "model_version_label": "", "artifact_digest": "", "gate_id": uuid.uuid4(), "evidence_digest": "sha256:" + "e" * 64,
            "valid_days": 30,
        } | changed  # fmt: skip
        return services.issue(actor=system, **given)

    return make


@pytest.fixture
def move_to(system, decide):
    """move_to(usecase, "pilot") takes it there, one decision a stage."""
    from apps.usecases import services

    def move(usecase, stage):
        for step in ("poc", "pilot", "production"):
            services.promote(actor=system, usecase_id=usecase.id, to_stage=step, decision=decide(usecase, step))
            if step == stage:
                break
        usecase.refresh_from_db()
        return usecase

    return move


@pytest.fixture
def model(db):
    from apps.registry.models import RegisteredModel

    return RegisteredModel.objects.create(name="care-outreach")

"""A version that people have signed for, live on a pilot endpoint."""

import uuid

import pytest

from apps.decisions import services as decisions
from apps.usecases import services as usecases
from tests.conftest import PASSWORD


@pytest.fixture
def decided(stage, policies, usecase, elena, engineer, make_user, actor_of, versions, system):
    """A version that a signed gate lets into pilot, live there: (deployment, gate)."""
    from apps.approvals import services as approvals

    usecases.link_model(actor=elena, usecase_id=usecase.id, model_name=versions(1).model.name)
    step = decisions.issue(
        actor=system, usecase_id=usecase.id, kind="stage", stage_to="poc", environment="", model_version_id=None, model_version_label="",
        artifact_digest="", gate_id=uuid.uuid4(), evidence_digest="sha256:" + "0" * 64, valid_days=9,
    )  # fmt: skip
    usecases.promote(actor=system, usecase_id=usecase.id, to_stage="poc", decision=step)
    usecases.add_integration(actor=elena, usecase_id=usecase.id, name="Register", direction="in", owner="", note="")
    gate = approvals.open_gate(actor=elena, usecase_id=usecase.id, to_stage="pilot", model_version_id=versions(1).id)
    gate = approvals.request_gate(actor=elena, gate_id=gate.id)
    for function in ("business", "risk"):
        person = make_user(f"approver:{function}", name=f"{function.title()} Person")
        gate = approvals.sign_gate(
            actor=actor_of(person), gate_id=gate.id, function=function, meaning="approved", comment="", password=PASSWORD,
            evidence_digest=gate.evidence_digest,
        )  # fmt: skip
    deployment = stage.live(1)
    stage.gateway_takes_up()
    return deployment, gate

"""The portal's side of rollout phases, for the gateway's tests: a plan, a key, decisions, and the snapshot that control signs."""

import json
import uuid
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from celery_worker import orders


@dataclass
class Phased:
    """A use case in production with one phase for claims, and a caller's key of that department."""

    system: Any
    elena: Any
    endpoint: Any
    phase: Any
    secret: str
    private: Any

    def snapshot(self, engine: Any) -> tuple[Any, int]:
        """What control publishes now, with the test's engine as the route that reports would have brought."""
        from apps.deployments import services

        newest = services.publish_routing(actor=self.system)
        payload = json.loads(newest.envelope["payload"])
        for endpoint in payload["endpoints"]:
            endpoint["routes"] = [engine.route()]
        return orders.sign(payload, private_key=self.private), newest.version

    def open(self) -> None:
        """As approvals does when the quorum is met."""
        from apps.decisions import services as decisions
        from apps.usecases import phase_selectors, services

        decision = decisions.issue(
            actor=self.system, usecase_id=self.phase.usecase_id, kind="phase", stage_to="", environment="", model_version_id=None,
            model_version_label="", artifact_digest="", gate_id=uuid.uuid4(), evidence_digest="sha256:" + "e" * 64, valid_days=30,
            phase_id=self.phase.id, phase_name=self.phase.name,
        )  # fmt: skip
        services.open_phase(actor=self.system, phase_id=self.phase.id, decision=decision, signed=phase_selectors.facts(self.phase))

    def close(self) -> None:
        """Roll it back."""
        from apps.usecases import services

        services.close_phase(actor=self.elena, phase_id=self.phase.id, reason="Odd answers.")


@pytest.fixture
def phased(usecase: Any, elena: Any, system: Any, endpoints: Any, control: Any) -> Phased:
    from apps.decisions import services as decisions
    from apps.deployments import services as deployments
    from apps.deployments.gateways.keys import order_key
    from apps.usecases import services

    phase = services.plan_phase(
        actor=elena, usecase_id=usecase.id, name="claims", departments=["Claims"], planned_on=date(2026, 12, 1), entry_criteria="Trained."
    )
    for step in ("poc", "pilot", "production"):
        decision = decisions.issue(
            actor=system, usecase_id=usecase.id, kind="stage", stage_to=step, environment="", model_version_id=None, model_version_label="",
            artifact_digest="", gate_id=uuid.uuid4(), evidence_digest="sha256:" + "0" * 64, valid_days=9,
        )  # fmt: skip
        services.promote(actor=system, usecase_id=usecase.id, to_stage=step, decision=decision)
    endpoint = endpoints("production")
    _, secret = deployments.issue_key(actor=elena, endpoint_id=endpoint.id, name="claims system", department="claims")
    return Phased(system, elena, endpoint, phase, secret, order_key())

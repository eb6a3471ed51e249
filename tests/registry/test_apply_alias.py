"""Protected aliases follow a decision, in MLflow and in the portal."""

import uuid

import pytest

from apps.core.errors import NoLiveDecision, NotFound
from apps.decisions import services as deciding
from apps.registry import selectors, services
from apps.registry.models import AliasRecord

pytestmark = pytest.mark.django_db


def _decide(system, row, environment="production"):
    return deciding.issue(
        actor=system, usecase_id=uuid.uuid4(), kind="deploy", stage_to="", environment=environment, model_version_id=row.id,
        model_version_label=row.label, artifact_digest=row.artifact_digest, gate_id=uuid.uuid4(), evidence_digest="sha256:" + "0" * 64,
        valid_days=30,
    )  # fmt: skip


def test_the_alias_moves_in_mlflow_and_in_the_portal_and_repeating_it_is_quiet(endpoint, ready, system, events):
    caller = endpoint()
    first = ready(caller)
    second = ready(caller)
    assert second.version == 2
    for row in (first, second):
        decision = _decide(system, row)
        for _ in range(2):
            services.apply_alias(model=row.model.name, alias="champion", version=row.version, decision_id=decision.id)
        known = caller.ok("GET", f"registered-models/alias?name={row.model.name}&alias=champion")["model_version"]["version"]
        assert int(known) == row.version
    history = list(selectors.alias_history(first.model))
    assert [(a.version.version, a.ended_at is None) for a in history] == [(2, True), (1, False)]
    assert history[1].ended_at == history[0].set_at
    moved = events("registry.alias.moved", first.model.name)
    assert len(moved) == 2 and moved[1].facts["before"]["version"] == 1 and moved[1].decision_id == str(history[0].decision_id)


def test_without_a_decision_that_lives_now_the_alias_stays(ready, system):
    row = ready()
    held, other = _decide(system, row), _decide(system, row, environment="pilot")
    deciding.revoke(actor=system, decision_id=held.id, reason="found a leak")
    for decision_id, why in ((None, "none was given"), (held.id, "leak|revoked"), (other.id, "another environment")):
        with pytest.raises(NoLiveDecision, match=why):
            services.apply_alias(model=row.model.name, alias="Champion", version=1, decision_id=decision_id)
    with pytest.raises(NotFound):
        services.apply_alias(model=row.model.name, alias="champion", version=1, decision_id=uuid.uuid4())
    assert not AliasRecord.objects.exists()


def test_a_version_whose_files_changed_is_not_named_champion(ready, system, behind_the_back):
    row = ready()
    decision = _decide(system, row)
    behind_the_back.put(f"/api/2.0/mlflow-artifacts/artifacts/{row.artifact_root}/MLmodel", content=b"flavors: {}")
    services.sync_version(name=row.model.name, version=1)
    with pytest.raises(NoLiveDecision, match="changed, not ready"):
        services.apply_alias(model=row.model.name, alias="champion", version=1, decision_id=decision.id)


def test_a_free_alias_needs_no_decision(ready):
    row = ready()
    services.apply_alias(model=row.model.name, alias="challenger", version=1, decision_id=None)
    assert [a.alias for a in selectors.aliases(row)] == ["challenger"]


def test_recording_a_protected_alias_without_a_decision_is_refused(ready, system):
    row = ready()
    with pytest.raises(NoLiveDecision):
        services.record_alias(actor=system, model=row.model.name, alias="production", version=1)
    with pytest.raises(NoLiveDecision):
        services.remove_alias(actor=system, model=row.model.name, alias="production")
    with pytest.raises(NotFound):
        services.record_alias(actor=system, model=row.model.name, alias="free", version=9)

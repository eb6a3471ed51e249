"""Recording what MLflow says: once, the same way twice, and never over a digest."""

import dataclasses

import pytest
from django.db import IntegrityError, transaction

from apps.core.clock import now
from apps.core.errors import NotAllowed, UpstreamFailed
from apps.decisions import selectors as decisions
from apps.outbox.models import Message
from apps.registry import services
from apps.registry.gateways import mlflow
from apps.registry.models import ModelVersion
from celery_worker.orders import digest_of_folder
from tests.registry.conftest import FILES

pytestmark = pytest.mark.django_db


def test_a_reading_fills_in_everything(ready, tmp_path, events):
    row = ready()
    for path, data in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    assert row.status == "ready" and row.artifact_digest == row.observed_digest == digest_of_folder(tmp_path)
    assert set(row.artifact_manifest["files"]) == set(FILES) and row.size_bytes == sum(map(len, FILES.values()))
    assert row.flavor == "sklearn" and row.flavors == ["python_function", "sklearn"]
    assert row.signature["inputs"][0] == {"name": "age", "type": "double", "required": True}
    assert row.params == {"depth": "3"} and row.metrics == {"recall": 0.75, "odd": None} and row.tags["team"] == "care"
    assert row.run_name == "first try" and row.registered_at is not None
    assert sorted((i.context, i.dataset.name, i.dataset.profile["num_rows"]) for i in row.inputs.all()) == [
        ("training", "visits-training", 1200), ("validation", "visits-validation", 1200),
    ]  # fmt: skip
    assert "visits-training" in row.card.training_data and "recall: 0.75" in row.card.evaluation and row.card.revision == 0
    assert row.card.owner_contact == row.author_user.email
    assert len(events("registry.version.synced", row.label)) == 1


def test_reading_twice_changes_nothing_but_the_moment(ready, events):
    row = ready()
    again = services.sync_version(name=row.model.name, version=1)
    assert again.synced_at > row.synced_at and again.artifact_digest == row.artifact_digest
    assert len(events("registry.version.synced", row.label)) == 1


def test_a_metric_logged_later_is_recorded_and_in_the_trail(endpoint, ready, events):
    caller = endpoint()
    row = ready(caller)
    caller.ok("POST", "runs/log-metric", {"run_id": row.run_id, "key": "late", "value": 1.5, "timestamp": 2})
    again = services.sync_version(name=row.model.name, version=1)
    assert again.metrics["late"] == 1.5
    facts = events("registry.version.synced", row.label)[-1].facts
    assert set(facts["after"]) == {"metrics"}


def test_files_that_change_behind_the_portals_back_are_found_held_and_released(ready, behind_the_back, events, system):
    from apps.decisions import services as deciding

    row = ready()
    moment = now()
    decision = deciding.issue(
        actor=system, usecase_id=row.id, kind="deploy", stage_to="", environment="pilot", model_version_id=row.id,
        model_version_label=row.label, artifact_digest=row.artifact_digest, gate_id=row.id, evidence_digest="sha256:" + "0" * 64,
        valid_days=30,
    )  # fmt: skip
    store = f"/api/2.0/mlflow-artifacts/artifacts/{row.artifact_root}"
    assert behind_the_back.put(f"{store}/data/weights.bin", content=b"other").status_code == 200
    changed = services.sync_version(name=row.model.name, version=1)
    assert changed.status == "changed" and changed.artifact_digest == row.artifact_digest != changed.observed_digest
    assert not decisions.is_live(decision.id) and "not those that were decided on" in decisions.state_of(decisions.decision(decision.id))
    services.sync_version(name=row.model.name, version=1)
    found = events("registry.version.changed", row.label)
    assert len(found) == 1 and found[0].facts["before"] == {"digest": row.artifact_digest} and found[0].occurred_at >= moment

    behind_the_back.put(f"{store}/data/weights.bin", content=FILES["data/weights.bin"])
    assert services.sync_version(name=row.model.name, version=1).status == "ready"
    assert decisions.is_live(decision.id) and len(events("registry.version.restored", row.label)) == 1


def test_a_file_added_behind_the_portals_back_is_found_too(ready, behind_the_back):
    row = ready()
    behind_the_back.put(f"/api/2.0/mlflow-artifacts/artifacts/{row.artifact_root}/extra.py", content=b"import os")
    assert services.sync_version(name=row.model.name, version=1).status == "changed"


def test_a_version_deleted_in_mlflow_itself_is_changed_not_gone(ready, behind_the_back):
    row = ready()
    gone = behind_the_back.request("DELETE", "/api/2.0/mlflow/model-versions/delete", json={"name": row.model.name, "version": "1"})
    assert gone.status_code == 200
    assert services.sync_version(name=row.model.name, version=1).status == "changed"
    assert services.sync_version(name="nobody-made-this", version=1) is None


def test_the_database_itself_refuses_a_second_digest(ready):
    row = ready()
    with pytest.raises(IntegrityError, match="written once"), transaction.atomic():
        ModelVersion.objects.filter(id=row.id).update(artifact_digest="sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"weights.bin": b"x"}, "no MLmodel"),
        ({"MLmodel": b"flavors: ["}, "cannot be read"),
        ({"MLmodel": b"just text"}, "cannot be read"),
        ({"MLmodel": b"flavors: {sklearn: {}}\nsignature: {inputs: 'no json'}"}, "cannot be read"),
    ],
)
def test_files_that_cannot_be_served_make_a_failed_version_that_says_why(ready, files, why):
    row = ready(files=files)
    assert row.status == "failed" and why in row.detail and row.artifact_digest == ""


def test_a_reading_that_mlflow_cannot_give_changes_nothing(ready, settings):
    row = ready()
    settings.MLFLOW_URL = "http://127.0.0.1:9"
    with pytest.raises(UpstreamFailed, match="did not answer"):
        services.sync_version(name=row.model.name, version=1)
    row.refresh_from_db()
    assert row.status == "ready"


def test_only_engineers_and_our_own_processes_record(ready, make_user, actor_of):
    row = ready()
    facts = mlflow.read_version(row.model.name, 1)
    with pytest.raises(NotAllowed):
        services.record_version(actor=actor_of(make_user("auditor")), facts=facts)


def test_a_half_made_version_stays_pending_until_mlflow_is_done(ready, system, name):
    row = ready()
    half = dataclasses.replace(mlflow.read_version(row.model.name, 1), name=name + "x", state="pending", digest="", manifest={}, sizes={})
    made = services.record_version(actor=system, facts=half)
    assert made.status == "pending" and made.artifact_digest == ""


def test_discovery_asks_for_what_is_unknown_or_old_and_nothing_else(endpoint, register, ready):
    caller = endpoint()
    settled = ready(caller)
    ModelVersion.objects.filter(id=settled.id).update(synced_at=now())
    Message.objects.all().delete()
    made = register(caller)
    Message.objects.all().delete()
    services.discover()
    asked = {(m.body["name"], m.body["version"]) for m in Message.objects.filter(topic="registry.sync")}
    assert (made.name, made.version) in asked and (settled.model.name, settled.version) not in asked

"""Writes through the endpoint: recorded first, then done, then remembered."""

import json

import pytest

from apps.outbox.models import Message
from apps.registry import selectors, services
from apps.registry.gateways import forward
from apps.registry.models import AliasRecord, ModelVersion, RegisteredModel, VersionIntent
from tests.registry.conftest import FILES, text

pytestmark = pytest.mark.django_db


def test_registering_makes_the_model_the_version_its_author_and_a_message(endpoint, make_user, register, events):
    user = make_user("ml_engineer")
    made = register(endpoint(user))
    row = ModelVersion.objects.get(model__name=made.name, version=1)
    assert row.status == "pending" and row.author_user == user and row.model.owner == user
    assert row.author.startswith(str(user)) and row.artifact_root == made.root
    assert [m.body for m in Message.objects.filter(topic="registry.sync", body__name=made.name)] == [{"name": made.name, "version": 1}]
    assert VersionIntent.objects.get(model_name=made.name).version == row
    assert len(events("registry.version.created", f"{made.name}/1")) == 1
    assert len(events("registry.model.created", made.name)) == 1


def test_a_write_is_in_the_trail_before_mlflow_is_asked(endpoint, monkeypatch, events, name):
    class Stop(Exception):
        """Raised where MLflow would be asked."""

    def stop(*args, **more):
        raise Stop

    monkeypatch.setattr(forward, "send", stop)
    with pytest.raises(Stop):
        endpoint()("POST", "/api/2.0/mlflow/registered-models/create", {"name": name, "tags": [{"key": "hf_token", "value": "s3cret"}]})
    event = events("registry.mlflow.written", name)[0]
    assert event.object_type == "registeredmodel" and "registered-models/create" in event.payload and "s3cret" not in event.payload


def test_when_the_trail_cannot_be_written_mlflow_is_not_asked(endpoint, monkeypatch, name):
    def broken(*args, **more):
        raise RuntimeError("no trail")

    monkeypatch.setattr("apps.audit.services.record", broken)
    monkeypatch.setattr(forward, "send", lambda *a, **k: pytest.fail("it went on to MLflow"))
    with pytest.raises(RuntimeError, match="no trail"):
        endpoint()("POST", "/api/2.0/mlflow/registered-models/create", {"name": name})


def test_a_write_that_mlflow_refuses_is_a_second_event(endpoint, events, name):
    caller = endpoint()
    caller.ok("POST", "registered-models/create", {"name": name})
    again = caller("POST", "/api/2.0/mlflow/registered-models/create", {"name": name})
    assert again.status_code == 400 and json.loads(text(again))["error_code"] == "RESOURCE_ALREADY_EXISTS"
    assert "400" in events("registry.mlflow.failed", name)[0].payload
    assert len(events("registry.model.created", name)) == 1


@pytest.mark.parametrize("alias", ["champion", "Champion", "PRODUCTION", " champion"])
def test_a_protected_alias_is_refused_with_a_sentence_and_an_address(endpoint, ready, monkeypatch, events, alias):
    row = ready()
    monkeypatch.setattr(forward, "send", lambda *a, **k: pytest.fail("it went on to MLflow"))
    body = {"name": row.model.name, "alias": alias, "version": "1"}
    answer = endpoint("admin")("POST", "/api/2.0/mlflow/registered-models/alias", body)
    said = json.loads(text(answer))
    assert answer.status_code == 403 and said["error_code"] == "PERMISSION_DENIED"
    assert "is decided for production" in said["message"] and f"/gates/new/?version={row.id}" in said["message"]
    assert events("registry.mlflow.denied", row.model.name)


def test_a_protected_alias_hidden_behind_a_second_key_is_refused(endpoint, name):
    raw = json.dumps({"name": name, "version": "1", "alias": "free"})[:-1].encode() + b', "alias": "champion"}'
    assert endpoint()("POST", "/api/2.0/mlflow/registered-models/alias", raw=raw).status_code == 400


def test_a_free_alias_is_set_recorded_moved_and_removed(endpoint, register, events):
    caller = endpoint()
    made = register(caller)
    caller.ok("POST", "registered-models/alias", {"name": made.name, "alias": "challenger", "version": "1"})
    assert caller.ok("GET", f"registered-models/alias?name={made.name}&alias=challenger")["model_version"]["version"] == "1"
    assert AliasRecord.objects.get(model__name=made.name, ended_at=None).alias == "challenger"
    caller.ok("DELETE", "registered-models/alias", {"name": made.name, "alias": "challenger"})
    assert not AliasRecord.objects.filter(model__name=made.name, ended_at=None).exists()
    assert events("registry.alias.moved", made.name) and events("registry.alias.removed", made.name)


def test_files_of_a_registered_version_are_frozen_at_once(endpoint, register):
    caller = endpoint()
    made = register(caller)
    for path in (f"{made.root}/MLmodel", f"{made.root}/new.txt", f"{made.root}/data/deep/new.txt", made.root):
        answer = caller("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", raw=b"other", content_type="application/octet-stream")
        assert answer.status_code == 403 and "frozen" in text(answer), path
    beside = f"{made.root.removesuffix('/model')}/notes.txt"
    assert caller("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{beside}", raw=b"x", content_type="text/plain").status_code == 200


@pytest.mark.parametrize("path", ["top.txt", "1/x.txt", "1/not-a-run/artifacts/x", "models/m-1/artifacts/x", f"1/{'a' * 32}/artifacts"])
def test_files_go_under_a_run_or_a_logged_model_only(endpoint, path):
    answer = endpoint()("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", raw=b"x", content_type="text/plain")
    assert answer.status_code == 403 and "under a run" in text(answer)


def test_a_version_from_outside_the_store_is_refused(endpoint, name, events):
    caller = endpoint()
    caller.ok("POST", "registered-models/create", {"name": name})
    for source in ("file:///etc", "s3://bucket/model", "mlflow-artifacts://elsewhere/1"):
        answer = caller("POST", "/api/2.0/mlflow/model-versions/create", {"name": name, "source": source})
        assert answer.status_code == 400 and "cannot be governed" in text(answer)
    assert not ModelVersion.objects.filter(model__name=name).exists()


def test_an_experiment_keeps_its_files_in_the_portals_store(endpoint, name):
    for key in ("artifact_location", "artifactLocation"):
        answer = endpoint()("POST", "/api/2.0/mlflow/experiments/create", {"name": name, key: "file:///etc"})
        assert answer.status_code == 403


def test_a_portal_that_dies_after_mlflows_answer_still_finds_version_and_author(endpoint, make_user, register, monkeypatch, events):
    from django.db import DatabaseError

    user = make_user("ml_engineer")

    def dead(**more):
        raise DatabaseError("gone")

    monkeypatch.setattr(services, "created_version", dead)
    made = register(endpoint(user))
    assert not ModelVersion.objects.filter(model__name=made.name).exists()
    assert services.discover() >= 1
    assert Message.objects.filter(topic="registry.sync", body__name=made.name, body__version=1).exists()
    row = services.sync_version(name=made.name, version=1)
    assert row.status == "ready" and row.author_user == user
    assert len(events("registry.version.created", f"{made.name}/1")) == 1


def test_a_version_made_behind_the_portals_back_has_no_author(endpoint, register, behind_the_back, events):
    made = register(endpoint())
    direct = behind_the_back.post(
        "/api/2.0/mlflow/model-versions/create", json={"name": made.name, "source": f"mlflow-artifacts:/{made.root}", "run_id": made.run_id}
    )
    assert direct.status_code == 200
    row = services.sync_version(name=made.name, version=2)
    assert row.status == "ready" and row.author == "" and row.author_user is None


def test_what_was_sent_is_what_is_read_back(endpoint, register):
    caller = endpoint("admin")
    made = register(caller)
    answer = endpoint("auditor")("GET", f"/api/2.0/mlflow-artifacts/artifacts/{made.root}/data/weights.bin")
    assert b"".join(answer.streaming_content) == FILES["data/weights.bin"]
    assert answer["Content-Security-Policy"].startswith("sandbox") and answer["Content-Disposition"] == "attachment"
    part = caller("GET", f"/api/2.0/mlflow-artifacts/artifacts/{made.root}/data/weights.bin", HTTP_RANGE="bytes=1-3")
    assert part.status_code == 206 and b"".join(part.streaming_content) == bytes([1, 2, 3])
    assert RegisteredModel.objects.get(name=made.name).owner is not None
    assert selectors.version_holding(f"{made.root}/anything") is not None

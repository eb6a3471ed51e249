"""The portal's rows follow MLflow, whoever changed it; protected aliases follow decisions."""

import uuid

import pytest

from apps.core.clock import now
from apps.decisions import selectors as decisions
from apps.registry import services
from apps.registry.gateways import mlflow
from apps.registry.models import AliasRecord, Finding, ModelVersion, RegisteredModel
from apps.registry.rules.findings import Settled, settle_protected
from apps.registry.services.mirror import mirror_model, mirror_models

pytestmark = pytest.mark.django_db
API = "/api/2.0/mlflow"


@pytest.fixture
def champion(ready, decide):
    """A version that is champion by decision, in MLflow and in the portal."""
    row = ready()
    decision = decide(row)
    services.apply_alias(model=row.model.name, alias="champion", version=1, decision_id=decision.id)
    return row, decision


def _points_at(row, alias="champion"):
    return mlflow.read_model(row.model.name).aliases.get(alias)


def _second(row, behind_the_back):
    """One more version of the model, made round the portal and then read by it."""
    made = behind_the_back.post(f"{API}/model-versions/create", json={"name": row.model.name, "source": row.source, "run_id": row.run_id})
    assert made.status_code == 200, made.text
    return services.sync_version(name=row.model.name, version=2)


@pytest.mark.parametrize(
    ("expected", "found", "decided", "first", "outcome"),
    [
        (1, 1, True, False, Settled()),
        (None, None, False, False, Settled()),
        (1, 2, True, False, Settled(record=True)),
        (None, 2, True, False, Settled(record=True)),
        (1, 2, False, False, Settled(put_back=True, finding=True)),
        (1, None, False, False, Settled(put_back=True, finding=True)),
        (None, 2, False, False, Settled(put_back=True, finding=True)),
        (None, 2, False, True, Settled(record=True, finding=True)),
        (1, 2, False, True, Settled(put_back=True, finding=True)),
    ],
)
def test_what_becomes_of_a_protected_alias(expected, found, decided, first, outcome):
    assert settle_protected(expected=expected, found=found, found_is_decided=decided, first_met=first) == outcome


def test_a_protected_alias_moved_in_the_database_is_put_back_and_said(champion, behind_the_back, mlflow_database, events):
    row, _ = champion
    second = _second(row, behind_the_back)
    # Another artifact, so that the decision does not speak of it.
    ModelVersion.objects.filter(id=second.id).update(observed_digest="", status="failed")
    moved = "UPDATE registered_model_aliases SET version = 2 WHERE name = %s AND alias = 'champion'"
    assert mlflow_database(moved, row.model.name) == 1 and _points_at(row) == 2
    assert mirror_model(row.model.name)
    assert _points_at(row) == 1
    (finding,) = Finding.objects.filter(model=row.model, kind="alias")
    assert finding.expected["version"] == 1 and finding.found["version"] == 2 and finding.closed_at is not None
    assert "points at version 2" in finding.detail and "Put back" in finding.closed_because and finding.actor_label == ""
    assert len(events("registry.finding.raised", row.model.name)) == 1
    assert [a.version.version for a in AliasRecord.objects.filter(model=row.model, ended_at=None)] == [1]


def test_a_protected_alias_removed_round_the_portal_is_put_back(champion, behind_the_back):
    row, _ = champion
    behind_the_back.request("DELETE", f"{API}/registered-models/alias", json={"name": row.model.name, "alias": "champion"})
    mirror_model(row.model.name)
    assert _points_at(row) == 1


@pytest.mark.parametrize("alias", ["production", "Champion", "ＣＨＡＭＰＩＯＮ"])
def test_a_protected_alias_that_nobody_decided_is_taken_away_again(ready, behind_the_back, alias):
    row = ready()
    mirror_model(row.model.name)
    behind_the_back.post(f"{API}/registered-models/alias", json={"name": row.model.name, "alias": alias, "version": "1"})
    mirror_model(row.model.name)
    assert mlflow.read_model(row.model.name).aliases == {} and not AliasRecord.objects.filter(model=row.model).exists()
    assert Finding.objects.get(model=row.model, kind="alias").closed_at is not None


def test_a_protected_alias_with_a_live_decision_of_its_own_is_recorded(ready, decide, behind_the_back):
    row = ready()
    decision = decide(row)
    mirror_model(row.model.name)
    behind_the_back.post(f"{API}/registered-models/alias", json={"name": row.model.name, "alias": "champion", "version": "1"})
    mirror_model(row.model.name)
    (record,) = AliasRecord.objects.filter(model=row.model, ended_at=None)
    assert record.decision_id == decision.id and _points_at(row) == 1 and not Finding.objects.filter(model=row.model).exists()


def test_what_a_server_brings_along_stays_with_a_finding_until_it_is_decided(ready, decide, behind_the_back):
    row = ready()
    behind_the_back.post(f"{API}/registered-models/alias", json={"name": row.model.name, "alias": "champion", "version": "1"})
    RegisteredModel.objects.filter(id=row.model_id).update(synced_at=None)
    mirror_model(row.model.name)
    (finding,) = Finding.objects.filter(model=row.model, closed_at=None)
    assert _points_at(row) == 1 and "no version is decided for production" in finding.detail
    decide(row)
    mirror_model(row.model.name)
    assert not Finding.objects.filter(model=row.model, closed_at=None).exists() and _points_at(row) == 1


def test_words_and_tags_and_free_aliases_follow_with_the_moment_of_reading(ready, behind_the_back, events, api, make_user):
    row = ready()
    start = now()
    name = row.model.name
    behind_the_back.patch(f"{API}/registered-models/update", json={"name": name, "description": "Who to call."})
    behind_the_back.post(f"{API}/registered-models/set-tag", json={"name": name, "key": "team", "value": "care"})
    behind_the_back.post(f"{API}/registered-models/alias", json={"name": name, "alias": "challenger", "version": "1"})
    mirror_model(name)
    model = RegisteredModel.objects.get(name=name)
    assert model.description == "Who to call." and model.tags == {"team": "care"} and model.synced_at > start
    assert [(a.alias, a.set_by) for a in model.aliases.all()] == [("challenger", "registry mirror")]
    synced = events("registry.model.synced", name)
    assert synced[-1].facts["after"] == {"description": "Who to call.", "tags": {"team": "care"}}
    behind_the_back.request("DELETE", f"{API}/registered-models/alias", json={"name": name, "alias": "challenger"})
    mirror_model(name)
    assert not model.aliases.filter(ended_at=None).exists() and len(events("registry.alias.removed", name)) == 1
    before = len(events("registry.model.synced", name))
    mirror_model(name)
    assert len(events("registry.model.synced", name)) == before


def test_a_rename_round_the_portal_keeps_versions_and_decisions(champion, behind_the_back, events):
    row, decision = champion
    was, name = row.model.name, f"renamed-{uuid.uuid4().hex[:8]}"
    mirror_model(was)
    assert behind_the_back.post(f"{API}/registered-models/rename", json={"name": was, "new_name": name}).status_code == 200
    mirror_models()
    model = RegisteredModel.objects.get(id=row.model_id)
    assert model.name == name and not RegisteredModel.objects.filter(name=was).exists()
    assert events("registry.model.renamed", name)[0].facts["before"] == {"name": was}
    finding = Finding.objects.get(model=model, kind="model", closed_at=None)
    assert name in finding.detail and not decisions.is_live(decision.id)
    behind_the_back.post(f"{API}/registered-models/rename", json={"name": name, "new_name": was})
    mirror_models()
    assert RegisteredModel.objects.get(id=row.model_id).name == was
    assert not Finding.objects.filter(model=model, closed_at=None).exists() and decisions.is_live(decision.id)


def test_a_model_dropped_from_the_database_is_gone_and_its_decisions_held(champion, mlflow_database, events):
    row, decision = champion
    name = row.model.name
    mirror_model(name)
    for table in ("registered_model_aliases", "model_version_tags", "model_versions", "registered_models"):
        mlflow_database(f"DELETE FROM {table} WHERE name = %s", name)
    mirror_models()
    model = RegisteredModel.objects.get(name=name)
    assert model.gone_at is not None and not decisions.is_live(decision.id)
    assert Finding.objects.get(model=model, kind="model", closed_at=None).expected == {"name": name}
    assert len(events("registry.model.gone", name)) == 1
    mirror_models()
    assert len(events("registry.model.gone", name)) == 1


def test_a_model_made_round_the_portal_is_met_ungoverned_and_nobodys(behind_the_back, mlflow_is_up):
    name = f"wild-{uuid.uuid4().hex[:8]}"
    behind_the_back.post(f"{API}/registered-models/create", json={"name": name, "description": "From elsewhere."})
    mirror_models()
    model = RegisteredModel.objects.get(name=name)
    assert model.owner is None and model.description == "From elsewhere." and model.synced_at is not None


def test_evidence_tags_on_a_model_are_findings(ready, behind_the_back):
    row = ready()
    tag = {"name": row.model.name, "key": "Gatehouse.approved", "value": "yes"}
    behind_the_back.post(f"{API}/registered-models/set-tag", json=tag)
    mirror_model(row.model.name)
    assert "Gatehouse.approved" in Finding.objects.get(model=row.model, kind="tag", closed_at=None).detail
    behind_the_back.request("DELETE", f"{API}/registered-models/delete-tag", json={"name": row.model.name, "key": "Gatehouse.approved"})
    mirror_model(row.model.name)
    assert not Finding.objects.filter(model=row.model, closed_at=None).exists()

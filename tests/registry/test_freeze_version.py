"""What a gate was requested on is kept, and a difference behind the portal's back is found, held and released."""

import pytest
from django.db import IntegrityError, connection, transaction

from apps.core.clock import now
from apps.core.errors import Conflict, NotFound, UpstreamFailed
from apps.decisions import selectors as decisions
from apps.decisions import services as decision_services
from apps.registry import services
from apps.registry.gateways import artifacts
from apps.registry.models import Finding, FrozenVersion, ModelVersion
from apps.registry.services import findings
from apps.registry.services.sync import sweep_frozen

pytestmark = pytest.mark.django_db


@pytest.fixture
def frozen(ready, system, decide):
    """A version that a gate was requested for, and its live decision."""
    row = ready()
    services.freeze_version(actor=system, version_id=row.id)
    return row, decide(row)


def _open(row):
    return list(Finding.objects.filter(version=row, closed_at=None))


def test_everything_a_decision_stands_on_is_kept_once_with_its_digest(ready, system, events):
    row = ready()
    kept = services.freeze_version(actor=system, version_id=row.id)
    assert kept.facts["params"] == {"depth": "3"} and kept.facts["metrics"] == {"recall": 0.75, "odd": None}
    assert kept.facts["tags"]["team"] == "care" and kept.facts["artifact_digest"] == row.artifact_digest
    assert kept.facts["datasets"] == [["training", "visits-training", "dtrai"], ["validation", "visits-validation", "dvali"]]
    assert "scikit-learn==1.9.0" in kept.facts["requirements"] and kept.facts["signature"]["inputs"][0]["name"] == "age"
    assert services.freeze_version(actor=system, version_id=row.id).id == kept.id
    assert len(events("registry.version.frozen", row.label)) == 1 and ModelVersion.objects.get(id=row.id).frozen_digest == kept.digest


def test_the_database_itself_refuses_to_change_or_drop_it(frozen):
    row, _ = frozen
    for act in (lambda: FrozenVersion.objects.filter(version=row).update(digest="x"), FrozenVersion.objects.filter(version=row).delete):
        with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
            act()


def test_only_a_settled_version_is_frozen(ready, system):
    row = ready()
    with pytest.raises(NotFound, match="no such version"):
        services.freeze_version(actor=system, version_id=system.id.encode().hex().ljust(32, "0")[:32])
    ModelVersion.objects.filter(id=row.id).update(writing_until=now())
    with pytest.raises(Conflict, match="has just written"):
        services.freeze_version(actor=system, version_id=row.id)
    services.sync_version(name=row.model.name, version=1)
    assert services.freeze_version(actor=system, version_id=row.id)
    other = ModelVersion.objects.create(model=row.model, version=9)
    with pytest.raises(Conflict, match="is pending"):
        services.freeze_version(actor=system, version_id=other.id)


@pytest.mark.parametrize(
    ("sql", "field"),
    [
        ("UPDATE params SET value = '99' WHERE run_uuid = %s AND key = 'depth'", "params"),
        ("UPDATE latest_metrics SET value = 0.99 WHERE run_uuid = %s AND key = 'recall'", "metrics"),
        ("UPDATE tags SET value = 'sales' WHERE run_uuid = %s AND key = 'team'", "tags"),
        ("DELETE FROM inputs WHERE destination_id = %s", "datasets"),
    ],
)
def test_a_change_in_mlflows_own_database_is_found_held_and_released(frozen, mlflow_database, events, sql, field, behind_the_back):
    row, decision = frozen
    assert mlflow_database(sql, row.run_id) >= 1
    sweep_frozen()
    (finding,) = _open(row)
    assert finding.kind == "facts" and field in finding.detail and set(finding.expected) == {field}
    assert not decisions.is_live(decision.id) and "not what was frozen" in decisions.state_of(decisions.decision(decision.id))
    sweep_frozen()
    assert len(_open(row)) == 1 and len(events("registry.finding.raised", row.label)) == 1
    with pytest.raises(Conflict, match="not what was frozen"):
        services.freeze_version(actor=findings_actor(), version_id=row.id)
    if field == "datasets":
        return
    was = FrozenVersion.objects.get(version=row).facts[field]
    key = {"params": "depth", "metrics": "recall", "tags": "team"}[field]
    table = "latest_metrics" if field == "metrics" else field
    mlflow_database(f"UPDATE {table} SET value = %s WHERE run_uuid = %s AND key = %s", was[key], row.run_id, key)
    sweep_frozen()
    assert _open(row) == [] and decisions.is_live(decision.id)
    closed = events("registry.finding.closed", row.label)
    assert len(closed) == 1 and "again what was frozen" in closed[0].facts["reason"]


def findings_actor():
    from apps.core.actor import Actor

    return Actor.system("tests")


def test_a_file_changed_in_the_artifact_folder_is_found_by_the_sweep(frozen, artifact_folder, events):
    row, decision = frozen
    weights = artifact_folder / row.artifact_root / "data" / "weights.bin"
    was = weights.read_bytes()
    weights.write_bytes(was + b"!")
    sweep_frozen()
    assert [f.kind for f in _open(row)] == ["files"] and not decisions.is_live(decision.id)
    weights.write_bytes(was)
    sweep_frozen()
    assert _open(row) == [] and decisions.is_live(decision.id)


def test_a_file_of_the_same_size_is_found_by_the_whole_reading(frozen, artifact_folder):
    row, decision = frozen
    weights = artifact_folder / row.artifact_root / "data" / "weights.bin"
    weights.write_bytes(weights.read_bytes()[::-1])
    services.sync_version(name=row.model.name, version=1)
    assert [f.kind for f in _open(row)] == ["files"] and not decisions.is_live(decision.id)


def test_pinned_requirements_changed_in_the_folder_are_named(frozen, artifact_folder):
    row, _ = frozen
    (artifact_folder / row.artifact_root / "requirements.txt").write_text("scikit-learn==0.1\n")
    sweep_frozen()
    assert ModelVersion.objects.get(id=row.id).status == "changed"


def test_a_version_deleted_in_the_database_is_found(frozen, mlflow_database):
    row, decision = frozen
    mlflow_database("UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE name = %s", row.model.name)
    sweep_frozen()
    assert [f.kind for f in _open(row)] == ["files"] and not decisions.is_live(decision.id)


def test_a_second_difference_replaces_the_first(frozen, mlflow_database):
    row, decision = frozen
    for value in ("98", "99"):
        mlflow_database("UPDATE params SET value = %s WHERE run_uuid = %s AND key = 'depth'", value, row.run_id)
        sweep_frozen()
    (finding,) = _open(row)
    assert finding.found == {"params": {"depth": "99"}} and not decisions.is_live(decision.id)
    assert Finding.objects.filter(version=row).exclude(closed_at=None).count() == 1


def test_a_decision_given_while_a_finding_is_open_is_held_too(frozen, mlflow_database, decide):
    row, _ = frozen
    mlflow_database("UPDATE params SET value = '99' WHERE run_uuid = %s AND key = 'depth'", row.run_id)
    sweep_frozen()
    later = decide(row, "pilot")
    assert decisions.is_live(later.id)
    sweep_frozen()
    assert not decisions.is_live(later.id)


def test_findings_are_only_ever_closed(frozen, system):
    row, _ = frozen
    given = {"actor": system, "kind": "facts", "key": "1", "model": row.model, "version": row, "expected": {"a": 1}, "found": {"a": 2}}
    finding = findings.raise_finding(detail="It differs.", **given)
    assert findings.raise_finding(detail="It differs.", **given).id == finding.id
    with pytest.raises(IntegrityError, match="only ever closed"), transaction.atomic():
        Finding.objects.filter(id=finding.id).update(detail="nothing")
    with pytest.raises(IntegrityError, match="only ever closed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM registry_finding WHERE id = %s", [finding.id])
    for _ in range(2):
        findings.close_finding(actor=system, finding=finding, because="mended")
    with pytest.raises(IntegrityError, match="only ever closed"), transaction.atomic():
        Finding.objects.filter(id=finding.id).update(closed_at=None)


def test_a_version_that_nothing_stands_on_may_go_without_a_finding(ready, behind_the_back):
    row = ready()
    name = {"name": row.model.name, "version": "1"}
    assert behind_the_back.request("DELETE", "/api/2.0/mlflow/model-versions/delete", json=name).status_code == 200
    assert services.sync_version(name=row.model.name, version=1).status == "changed"
    assert not Finding.objects.filter(version=row).exists()


def test_an_evidence_tag_set_round_the_portal_is_a_finding_until_a_decision_says_so(ready, mlflow_database, decide):
    row = ready()
    mlflow_database(
        "INSERT INTO model_version_tags (workspace, name, version, key, value) VALUES ('default', %s, 1, 'gatehouse.approved', 'yes')",
        row.model.name,
    )
    services.look_at_version(name=row.model.name, version=1)
    (finding,) = _open(row)
    assert finding.kind == "tag" and finding.found == {"gatehouse.approved": "yes"}
    decision = decide(row)
    services.look_at_version(name=row.model.name, version=1)
    assert _open(row) == [] and decisions.is_live(decision.id)


def _settled(row):
    """A reading after what was just written has landed."""
    ModelVersion.objects.filter(id=row.id).update(writing_until=now())
    services.sync_version(name=row.model.name, version=1)


def _beside(caller, row, data=b"why"):
    """Put a file into the folder of the version's run; without data delete it."""
    where = f"/api/2.0/mlflow-artifacts/artifacts/{row.experiment_id}/{row.run_id}/artifacts/reports/shap.html"
    return caller("PUT", where, raw=data, content_type="application/octet-stream") if data else caller("DELETE", where, {})


def test_files_beside_a_version_are_frozen_with_it_and_refused_once_it_is(endpoint, ready, system, artifact_folder):
    engineer = endpoint()
    row = ready(engineer)
    assert _beside(engineer, row).status_code == 200
    with pytest.raises(Conflict, match="has just written"):
        services.freeze_version(actor=system, version_id=row.id)
    _settled(row)
    kept = services.freeze_version(actor=system, version_id=row.id)
    assert kept.facts["beside"] == {"reports/shap.html": 3} and kept.facts["beside_digest"].startswith("sha256:")
    for answer in (_beside(engineer, row, b"other"), _beside(endpoint("admin"), row, b"")):
        assert answer.status_code == 403 and "folder of this run" in answer.json()["message"] and "/gates/new/" in answer.json()["message"]
    assert (artifact_folder / row.experiment_id / row.run_id / "artifacts/reports/shap.html").read_bytes() == b"why"


def test_files_put_beside_a_frozen_version_round_the_portal_are_found_held_and_released(endpoint, ready, system, decide, artifact_folder):
    engineer = endpoint()
    row = ready(engineer)
    _beside(engineer, row)
    _settled(row)
    services.freeze_version(actor=system, version_id=row.id)
    decision = decide(row)
    incident = decision_services.place_hold(actor=system, decision_id=decision.id, reason="Odd.", source_type="incident", source_id="1")
    folder = artifact_folder / row.experiment_id / row.run_id / "artifacts"
    (folder / "more.txt").write_text("late")
    sweep_frozen()
    (finding,) = _open(row)
    assert finding.kind == "beside" and "more.txt" in finding.detail and finding.found["beside"] == {"more.txt": 4}
    decision_services.lift_hold(actor=system, hold_id=incident.id, reason="Mended.")
    assert not decisions.is_live(decision.id), "what something else held is held for the finding as well"
    sweep_frozen()
    assert len(_open(row)) == 1
    (folder / "more.txt").unlink()
    sweep_frozen()
    assert _open(row) == [] and decisions.is_live(decision.id)
    (folder / "reports/shap.html").write_text("wyh")
    services.sync_version(name=row.model.name, version=1)
    (finding,) = _open(row)
    assert "sizes are the same" in finding.detail and not decisions.is_live(decision.id)


def test_files_beside_a_frozen_version_that_cannot_be_compared_are_a_finding(endpoint, ready, system, decide, artifact_folder, monkeypatch):
    engineer = endpoint()
    row = ready(engineer)
    _beside(engineer, row)
    _settled(row)
    kept = services.freeze_version(actor=system, version_id=row.id)
    decision = decide(row)
    folder = artifact_folder / row.experiment_id / row.run_id / "artifacts"
    # Changed in the same step, and hidden behind too many files.
    (folder / "reports/shap.html").write_text("wyh")
    (folder / "more.txt").write_text("late")
    monkeypatch.setattr("apps.registry.gateways.mlflow.MOST_BESIDE_FILES", 1)
    for _ in range(2):
        sweep_frozen()
        (finding,) = _open(row)
        assert finding.kind == "beside" and "cannot be compared" in finding.detail and "more than 1 files" in finding.detail
        assert not decisions.is_live(decision.id)
    row.refresh_from_db()
    assert (row.beside, row.beside_digest) == (kept.facts["beside"], kept.facts["beside_digest"])
    (folder / "more.txt").unlink()
    sweep_frozen()
    (finding,) = _open(row)
    assert "sizes are the same" in finding.detail and not decisions.is_live(decision.id)
    (folder / "reports/shap.html").write_text("why")
    services.sync_version(name=row.model.name, version=1)
    assert _open(row) == [] and decisions.is_live(decision.id)


def test_a_folder_that_cannot_be_listed_is_one_too_until_it_can(endpoint, ready, system, decide, monkeypatch):
    engineer = endpoint()
    row = ready(engineer)
    _beside(engineer, row)
    _settled(row)
    services.freeze_version(actor=system, version_id=row.id)
    decision = decide(row)
    own = f"{row.experiment_id}/{row.run_id}/artifacts"
    listed = artifacts.list_files

    def unlisted(root):
        if root == own:
            raise UpstreamFailed("The artifact store does not answer.")
        return listed(root)

    with monkeypatch.context() as broken:
        broken.setattr(artifacts, "list_files", unlisted)
        sweep_frozen()
        (finding,) = _open(row)
        assert "could not be listed" in finding.detail and not decisions.is_live(decision.id)
    sweep_frozen()
    assert _open(row) == [] and decisions.is_live(decision.id)

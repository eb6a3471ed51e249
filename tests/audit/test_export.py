"""An export is a file that proves itself, and an event of its own."""

import hashlib
import io
import json
import zipfile

import pytest

from apps.audit.models import Event
from tests.audit.conftest import settle
from tests.audit.people import client, person
from verifier.__main__ import main

USECASE = "01900000-0000-7000-8000-0000000000aa"
OTHER = "01900000-0000-7000-8000-0000000000bb"


@pytest.fixture
def auditor(own_database):
    return client(person("auditor"))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """No sealer runs beside these tests: they seal when they mean to."""
    monkeypatch.setattr("apps.audit.selectors.wait_until_sealed", lambda **_: 0)


def download(api, body=None):
    answer = api.post("/api/v1/audit/exports/", body or {}, format="json")
    assert answer.status_code == 200, answer.content
    return answer, b"".join(answer.streaming_content)


def test_the_trail_of_a_use_case_verifies_offline(auditor, sealer, happen, witness_folder, tmp_path, capsys):
    happen(3)
    mine = happen(2, usecase_id=USECASE) + happen(1, usecase_id=OTHER)[:0] + happen(2, usecase_id=USECASE)
    settle(sealer)
    answer, data = download(auditor, {"usecase_id": USECASE})
    assert answer["Content-Type"] == "application/zip" and f"audit-{USECASE}" in answer["Content-Disposition"]
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.read("events.jsonl").decode().splitlines() == [e.payload for e in mine]
    assert {"README.md", "manifest.json", "checkpoint", "proofs.jsonl", "seal-public-key.json"} <= set(archive.namelist())
    path = tmp_path / "export.zip"
    path.write_bytes(data)
    assert main(["--bundle", str(path), "--checkpoint", str(witness_folder / "latest")]) == 6
    assert "4 single events" in capsys.readouterr().out

    event = Event.objects.get(id=answer["X-Gatehouse-Audit-Event"])
    assert event.action == "audit.trail.exported" and event.usecase_id == USECASE and event.actor_kind == "token"
    assert event.facts["after"]["events"] == 4
    assert event.facts["after"]["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_whole_trail_verifies_as_the_whole(auditor, sealer, happen, witness_folder, tmp_path, capsys):
    happen(30)
    settle(sealer)
    _, data = download(auditor)
    path = tmp_path / "export.zip"
    path.write_bytes(data)
    assert main(["--bundle", str(path), "--checkpoint", str(witness_folder / "latest")]) == 0
    assert "the whole trail" in capsys.readouterr().out
    happen(3)
    settle(sealer)
    # The witness has moved on; its log still holds the checkpoint of the bundle.
    assert main(["--bundle", str(path), "--checkpoint", str(witness_folder / "latest")]) == 0
    assert json.loads(zipfile.ZipFile(io.BytesIO(data)).read("manifest.json"))["scope"] == {"kind": "trail"}


def test_a_client_may_ask_for_a_zip_and_still_reads_refusals(auditor, sealer, happen):
    happen(1)
    settle(sealer)
    assert auditor.post("/api/v1/audit/exports/", {}, format="json", HTTP_ACCEPT="application/zip").status_code == 200
    refused = auditor.post("/api/v1/audit/exports/", {"usecase_id": OTHER}, format="json", HTTP_ACCEPT="application/zip")
    assert refused.status_code == 404 and json.loads(refused.content)["code"] == "not-found"


def test_before_anything_is_sealed_there_is_nothing_to_export(auditor, happen):
    answer = auditor.post("/api/v1/audit/exports/", {}, format="json")
    assert answer.status_code == 409 and "seal process" in answer.json()["detail"]


def test_others_export_only_what_they_may_see(own_database, sealer, happen, settings):
    engineer = client(person("ml_engineer"))
    happen(2, usecase_id=USECASE)
    happen(2, usecase_id=OTHER)
    settle(sealer)
    settings.AUDIT_USECASE_SCOPE = "tests.audit.test_export.scope"
    before = Event.objects.count()
    assert engineer.post("/api/v1/audit/exports/", {}, format="json").status_code == 403
    assert engineer.post("/api/v1/audit/exports/", {"usecase_id": OTHER}, format="json").status_code == 404
    assert engineer.post("/api/v1/audit/exports/", {"usecase_id": "x"}, format="json").status_code == 400
    assert Event.objects.count() == before
    download(engineer, {"usecase_id": USECASE})
    reader = client(person("auditor", email="reader@example.org"), scopes=("read",))
    assert reader.post("/api/v1/audit/exports/", {}, format="json").status_code == 403


def scope(actor):
    return [USECASE]


@pytest.mark.parametrize("usecase", [None, USECASE])
def test_a_damaged_trail_is_not_exported(auditor, sealer, happen, attack, usecase):
    events = happen(5, usecase_id=USECASE)
    settle(sealer)
    attack(f"UPDATE audit_event SET payload = replace(payload, '\"reason\":\"\"', '\"reason\":\"forged\"') WHERE id = '{events[2].id}'")
    before = Event.objects.count()
    answer = auditor.post("/api/v1/audit/exports/", {"usecase_id": usecase}, format="json")
    assert answer.status_code == 500 and answer.json()["code"] == "trail-damaged"
    assert Event.objects.count() == before

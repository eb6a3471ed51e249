"""An evidence pack opens by itself, is checked offline, and holds what its owner may see."""

import hashlib
import io
import json
import re
import shutil
import zipfile
from datetime import timedelta

import pytest
from django.db import transaction

from apps.audit import downloads
from apps.audit.models import Event
from apps.core import clock
from apps.dashboard import selectors_pack
from apps.loadtests.models import LoadRun
from apps.monitoring import services as monitoring
from apps.registry import services as registry
from apps.registry.models import ModelVersion, RegisteredModel
from tests.approvals.conftest import policies  # noqa: F401
from tests.audit.conftest import settle
from tests.dashboard.decided import decided  # noqa: F401
from tests.deployments.world import (  # noqa: F401
    agent,
    control,
    decide,
    elena,
    endpoints,
    engineer,
    order_key_file,
    stage,
    usecase,
    versions,
)
from verifier.__main__ import main
from verifier.pack import _evidence_names

CARD = {"intended_use": "Deciding whom nurses call first in a care programme.", "limitations": "Not for members below eighteen years."}


@pytest.fixture
def full(own_database, sealer, monkeypatch, request):
    """A decided, live version with a card, a load test and an incident; sealing happens when it is waited for."""
    deployment, gate = request.getfixturevalue("decided")
    elena = request.getfixturevalue("elena")  # noqa: F811
    with transaction.atomic():
        registry.save_card(actor=elena, version_id=deployment.model_version_id, **CARD)
        monitoring.open_incident(
            actor=elena, endpoint_id=deployment.endpoint_id, severity="high", title="Odd answers", detail="Seen <b>twice</b>.", hold=False
        )
        LoadRun.objects.create(
            deployment=deployment, model_version_label=str(deployment), artifact_digest=deployment.artifact_digest, multiplier=1.0,
            projected_rps=10.0, rate_rps=10.0, duration_s=30.0, seed=1, state="done", passed=True, p99_ms=12.5, errors=0, requested_by="Elena",
        )  # fmt: skip
    settle(sealer)

    def wait(event_id, *, timeout_s):
        settle(sealer)
        return True

    monkeypatch.setattr("apps.audit.selectors.wait_for_seal", wait)
    return deployment, gate


@pytest.fixture
def auditor(full, make_user, actor_of):
    return actor_of(make_user("auditor"))


@pytest.fixture
def make(system, auditor, tmp_path):
    """make(usecase, decision=...) -> path of a pack that was put together."""

    def run(usecase, owner=auditor, **more):  # noqa: F811
        found = downloads.request_download(actor=owner, kind="pack", filters={"usecase": str(usecase.id), **more})
        assert [d.id for d in downloads.to_prepare()] == [found.id]
        made = downloads.prepare(actor=system, owner=owner, download_id=found.id)
        assert made.state == "ready", made.detail
        path = tmp_path / f"{made.id}.zip"
        path.write_bytes(b"".join(downloads.content(owner, downloads.take(actor=owner, download_id=made.id))))
        return path

    return run


@pytest.fixture
def verified(witness_folder, capsys):
    def run(path):
        code = main(["--bundle", str(path), "--checkpoint", str(witness_folder / "latest"), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def names(path):
    return zipfile.ZipFile(path).namelist()


def only(path, pattern):
    (found,) = [n for n in names(path) if re.fullmatch(pattern, n)]
    return found


def test_the_pack_of_a_use_case_holds_everything_and_verifies_offline(full, make, usecase, verified):  # noqa: F811
    _, gate = full
    path = make(usecase)
    archive = zipfile.ZipFile(path)
    evidence, policy = only(path, r"gates/.*/evidence\.json"), only(path, r"gates/.*/policy\.json")
    assert archive.read(evidence).decode() == gate.evidence_text
    signatures = json.loads(archive.read(only(path, r"gates/.*/signatures\.json")))
    assert [s["printed_name"] for s in signatures] == ["Business Person", "Risk Person"]
    assert json.loads(archive.read("deployments.json"))["deployments"][0]["model_version_label"] == "care-outreach/1"
    assert json.loads(archive.read("incidents.json"))[0]["title"] == "Odd answers"
    assert json.loads(archive.read(only(path, r"load-tests/.*")))["p99_ms"] == 12.5
    card = only(path, r"models/care-outreach-1-[0-9a-f]{8}/card\.md")
    assert "whom nurses call first" in archive.read(card).decode()
    assert {card.replace("card.md", "lineage.json"), "usecase.json", "decisions.json", "kpis.json", "live-now.json"} <= set(names(path))
    code, said = verified(path)
    assert code == 6 and said["witnessed"] and not said["problems"]
    # What people signed is bound by their signatures, the policy by the evidence; all else by the pack's own sealed list.
    assert {evidence, policy} <= set(said["documents_named"])
    assert said["documents"] == len(said["documents_named"]) + said["documents_listed"] and "are as the portal stated" in said["proved"]


def test_the_pack_of_a_use_case_holds_its_rollout_phases(full, make, usecase, elena, verified):  # noqa: F811
    from datetime import date

    from apps.usecases import services as usecases

    planned = {"planned_on": date(2026, 12, 1), "entry_criteria": "The desk was trained."}
    usecases.plan_phase(actor=elena, usecase_id=usecase.id, name="Claims desk", departments=["Claims"], **planned)
    dropped = usecases.plan_phase(actor=elena, usecase_id=usecase.id, name="Everybody", **planned)
    usecases.drop_phase(actor=elena, phase_id=dropped.id)
    path = make(usecase)
    archive = zipfile.ZipFile(path)
    rows = {r["name"]: r for r in json.loads(archive.read("rollout-phases.json"))}
    assert (rows["Claims desk"]["covers"], rows["Claims desk"]["state"], rows["Claims desk"]["gates"]) == ("everybody in Claims", "planned", [])
    assert rows["Everybody"]["state"] == "dropped", "what was given up is part of what happened"
    page = archive.read("index.html").decode()
    assert "Rollout phases" in page and "The desk was trained." in page and 'href="rollout-phases.json"' in page
    assert b"usecases.phase.planned" in archive.read("trail/events.jsonl")
    code, said = verified(path)
    assert code == 6 and not said["problems"]


def test_the_first_page_opens_without_a_network_and_every_link_leads_somewhere(make, usecase):  # noqa: F811
    path = make(usecase)
    page = zipfile.ZipFile(path).read("index.html").decode()
    assert "care-outreach/1" in page and "Risk Person" in page and "Seen &lt;b&gt;twice" in page and "python -m verifier" in page
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert links and not [link for link in links if link not in names(path)]
    assert "http" not in re.sub(r"http-equiv", "", page) and "<script" not in page


def test_the_pack_of_a_decision_holds_that_one_alone(full, make, usecase, stage, verified):  # noqa: F811
    _, gate = full
    stage.live(2, "production")
    path = make(usecase, decision=str(gate.decision_id))
    archive = zipfile.ZipFile(path)
    assert [d["id"] for d in json.loads(archive.read("decisions.json"))] == [str(gate.decision_id)]
    assert not [n for n in names(path) if n.startswith("models/care-outreach-2")] and only(path, r"gates/.*/evidence\.json")
    actions = {json.loads(line)["action"] for line in archive.read("trail/events.jsonl").splitlines()}
    assert {"approvals.gate.signed", "decisions.decision.issued", "deployments.traffic.changed"} <= actions
    assert "usecases.usecase.created" not in actions
    assert verified(path)[0] == 6


def changed(path, change):
    """A copy of the ZIP with some files changed, added or (None) left out."""
    target = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change.pop(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
        for name, data in change.items():
            new.writestr(name, data)
    return target


def test_whatever_is_changed_in_a_pack_is_found(make, usecase, verified):  # noqa: F811
    path = make(usecase)
    archive = zipfile.ZipFile(path)
    evidence = only(path, r"gates/.*/evidence\.json")
    forged = archive.read(evidence).replace(b"pass", b"fail")
    events = archive.read("trail/events.jsonl")
    for change in (
        {evidence: forged}, {"index.html": b"<p>All is well.</p>"}, {evidence: None}, {"more.txt": b"x"},
        {"trail/events.jsonl": events.replace(b"Risk Person", b"Rick Person")},
        {"trail/events.jsonl": b"".join(events.splitlines(keepends=True)[1:])},
    ):  # fmt: skip
        code, said = verified(changed(path, dict(change)))
        assert code == 1 and said["problems"], change.keys()
    # A document and the list of documents, changed together: nothing that is sealed names them any more.
    listed = json.loads(archive.read("documents.json"))
    listed["files"][evidence] = "sha256:" + hashlib.sha256(forged).hexdigest()
    code, said = verified(changed(path, {evidence: forged, "documents.json": json.dumps(listed).encode()}))
    assert said["documents_listed"] == 0 and evidence not in said["documents_named"] and "not bound to the trail" in said["proved"]


def test_a_digest_in_words_that_somebody_wrote_binds_nothing(full, make, usecase, elena, verified):  # noqa: F811
    deployment, _ = full
    forged = b'{"everything": "is well"}'
    digest = f"sha256:{hashlib.sha256(forged).hexdigest()}"
    with transaction.atomic():
        registry.save_card(actor=elena, version_id=deployment.model_version_id, limitations=f"See {digest}.")
    path = make(usecase)
    archive = zipfile.ZipFile(path)
    assert digest.encode() in archive.read("trail/events.jsonl")
    evidence, signatures = only(path, r"gates/.*/evidence\.json"), only(path, r"gates/.*/signatures\.json")
    for place, data in ((signatures, forged), ("usecase.json", archive.read(evidence))):
        listed = json.loads(archive.read("documents.json"))
        listed["files"][place] = f"sha256:{hashlib.sha256(data).hexdigest()}"
        _, said = verified(changed(path, {place: data, "documents.json": json.dumps(listed).encode()}))
        assert place not in said["documents_named"] and evidence in said["documents_named"], place
    assert "not bound to the trail" in said["proved"]


def test_frozen_evidence_names_its_policy_and_attachments_and_not_what_its_notes_say():
    policy, attached, other = (f"sha256:{letter * 64}" for letter in "abc")
    evidence = {"note": other, "policy": {"digest": policy}, "attestations": [{"note": other, "attachments": [{"digest": attached}]}]}
    assert _evidence_names(json.dumps(evidence).encode()) == {("policy", policy), ("attachment", attached)}
    assert _evidence_names(b"") == _evidence_names(b"[]") == _evidence_names(b'{"policy": 1}') == set()


def test_models_whose_names_read_the_same_in_a_path_have_folders_of_their_own(full, usecase, auditor):  # noqa: F811
    other = ModelVersion.objects.create(model=RegisteredModel.objects.create(name="Care Outreach"), version=1)
    subject = selectors_pack._gather(auditor, str(usecase.id), None)
    subject.versions.append(other)
    paths = [d.path for d in selectors_pack._documents(subject)]
    assert len(paths) == len(set(paths))
    cards = sorted(p for p in paths if p.endswith("card.html"))
    page = selectors_pack._index(subject, paths, []).decode()
    assert len(cards) == 2 and all(f'href="{card}"' in page for card in cards)


def test_asking_making_and_taking_are_events(make, usecase, auditor, system):  # noqa: F811
    make(usecase)
    actions = list(Event.objects.filter(action__startswith="audit.").order_by("id").values_list("action", "actor_id", "on_behalf_of"))
    assert actions == [
        ("audit.download.requested", auditor.id, ""), ("audit.pack.made", system.id, auditor.id), ("audit.download.taken", auditor.id, ""),
    ]  # fmt: skip


def test_control_puts_waiting_packs_together_as_those_who_asked(full, auditor, usecase):  # noqa: F811
    from celery_worker.control import tasks

    found = downloads.request_download(actor=auditor, kind="pack", filters={"usecase": str(usecase.id)})
    tasks.prepare_packs.run()
    found.refresh_from_db()
    assert found.state == "ready", found.detail
    assert found.total == found.done > 10 and found.sha256 and found.step == ""


def test_each_pack_has_a_run_and_its_time_to_itself(full, auditor, usecase, monkeypatch):  # noqa: F811
    from celery.exceptions import SoftTimeLimitExceeded

    from celery_worker.control import tasks

    long, short = (downloads.request_download(actor=auditor, kind="pack", filters={"usecase": str(usecase.id)}) for _ in range(2))

    def states():
        return [downloads.download(auditor, d.id).state for d in (long, short)]

    def write(*args, **more):
        raise SoftTimeLimitExceeded

    with monkeypatch.context() as slow:
        slow.setattr("apps.audit.pack.write", write)
        tasks.prepare_packs.run()
    assert states() == ["failed", "waiting"] and "longer than a pack may take" in downloads.download(auditor, long.id).detail
    tasks.prepare_packs.run()
    assert states() == ["failed", "ready"]
    assert tasks.app.conf.task_soft_time_limit < tasks.prepare_packs.soft_time_limit < tasks.prepare_packs.time_limit


def test_who_may_not_see_the_use_case_gets_no_pack(full, usecase, make_user, api, actor_of, system):  # noqa: F811
    stranger = make_user("stakeholder")
    answer = api(stranger).post("/api/v1/audit/downloads/", {"kind": "pack", "usecase_id": str(usecase.id)})
    assert answer.status_code == 404
    assert api(stranger).post("/api/v1/audit/downloads/", {"kind": "pack"}).status_code == 403
    refused = api(make_user("auditor")).post("/api/v1/audit/downloads/", {"kind": "pack", "usecase_id": str(usecase.id), "action": "x"})
    assert refused.status_code == 400 and list(refused.json()["errors"]) == ["action"]
    unknown = downloads.request_download(
        actor=actor_of(make_user("auditor")), kind="pack", filters={"usecase": str(usecase.id), "decision": str(usecase.id)}
    )
    failed = downloads.prepare(actor=system, owner=actor_of(make_user("auditor")), download_id=unknown.id)
    assert failed.state == "failed" and "no such" in failed.detail


def test_a_pack_is_put_together_once_and_again_when_its_worker_died(full, auditor, system, usecase):  # noqa: F811
    found = downloads.request_download(actor=auditor, kind="pack", filters={"usecase": str(usecase.id)})
    assert downloads.call(downloads._claim, found.id).state == "working"
    assert downloads.prepare(actor=system, owner=auditor, download_id=found.id) is None and downloads.to_prepare() == []
    with clock.fixed(clock.now() + timedelta(minutes=6)):
        assert [d.id for d in downloads.to_prepare()] == [found.id]
        assert downloads.prepare(actor=system, owner=auditor, download_id=found.id).state == "ready"
    closed = downloads.request_download(actor=auditor, kind="pack", filters={"usecase": str(usecase.id)})
    assert "closed" in downloads.prepare(actor=system, owner=None, download_id=closed.id).detail


def test_a_pack_is_taken_in_pieces_and_goes_on_where_it_broke_off(make, usecase, api, make_user, monkeypatch):  # noqa: F811
    monkeypatch.setattr(downloads, "PIECE_BYTES", 1000)
    whole = make(usecase).read_bytes()
    found = downloads.Download.objects.get()
    assert found.pieces.count() == -(-len(whole) // 1000) and found.size_bytes == len(whole)
    auditor, where = api(make_user("auditor")), f"/api/v1/audit/downloads/{found.id}/content/"
    for begin in (0, 1, 999, 1000, 2345, len(whole) - 1):
        answer = auditor.get(where, HTTP_RANGE=f"bytes={begin}-")
        assert answer.status_code == (206 if begin else 200)
        assert b"".join(answer.streaming_content) == whole[begin:] and answer["Content-Length"] == str(len(whole) - begin)
    assert b"".join(auditor.get(where, HTTP_RANGE="bytes=5-9, 20-").streaming_content) == whole
    assert auditor.get(where, {"after": 5}).status_code == 400


def test_the_whole_verifier_needs_no_more_than_its_own_files(make, usecase, witness_folder, tmp_path):  # noqa: F811
    import subprocess
    import sys
    from pathlib import Path

    away = tmp_path / "away"
    shutil.copytree(Path(main.__code__.co_filename).parent, away / "verifier")
    command = [sys.executable, "-I", str(away / "verifier"), "--bundle", str(make(usecase)), "--checkpoint", str(witness_folder / "latest")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=away)
    assert result.returncode == 6 and "DOCUMENTS:" in result.stdout, result.stderr
    assert io.StringIO(result.stdout).readline().startswith("PROVED, A PART ONLY")

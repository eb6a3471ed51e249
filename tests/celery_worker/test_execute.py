"""An order is carried out once, only when it is in every way in order, and what is started is exactly what it names."""

import io
import json
import os
import signal
import struct
import tarfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from celery_worker import orders
from celery_worker.agent.watch import Watch, describe_host

from .conftest import HOST, Agent, Ordering, Web

PAST = orders.time_to_text(datetime.now(UTC) - timedelta(minutes=1))
FUTURE = orders.time_to_text(datetime.now(UTC) + timedelta(days=1))  # not yet there when a long run comes to these tests


def named_row() -> dict[str, Any]:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return {str(name): float(value) for name, value in zip(data.feature_names, data.data[0], strict=True)}


def request_of(row: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in row.items()]}


def engines_of(deployment_id: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        ours = "--lock" in command and deployment_id in command[command.index("--lock") + 1]
        if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


# --- refusals ----------------------------------------------------------------------------------------------------


def altered(envelope: dict[str, Any]) -> dict[str, Any]:
    return envelope | {"payload": envelope["payload"].replace('"generation":1', '"generation":9')}


def unsigned(envelope: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in envelope.items() if name != "signature"}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (altered, "bad_signature"),
        (unsigned, "unsigned"),
        (lambda e: e | {"key_id": "0" * 16}, "unknown_key"),
        (lambda e: e | {"signature": "not base64!"}, "malformed"),
        (lambda e: e | {"v": 2}, "malformed"),
        (lambda e: "start it", "malformed"),
        (lambda e: None, "malformed"),
    ],
)
def test_a_message_that_control_did_not_sign_is_refused(agent: Agent, ordering: Ordering, spoil: Any, reason: str) -> None:
    envelope = spoil(ordering.make("start"))
    agent.host.execute(envelope)
    (refusal,) = agent.reports()
    assert refusal["reason"] == reason
    assert refusal["order_id"] is None
    assert refusal["order_sha256"] == orders.sha256_of_envelope(envelope)
    assert agent.host.store.all() == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"audience": "another-host"}, "misaddressed"),
        ({"expires_at": PAST}, "expired"),
        ({"issued_at": FUTURE}, "not_yet_valid"),
        ({"decision": None}, "no_decision"),
        ({"kind": "format_disk"}, "malformed"),
        ({"generation": "7"}, "malformed"),
        ({"generation": 0}, "malformed"),
        ({"deployment_id": "../../etc"}, "malformed"),
        ({"engine": {"kind": "torchserve", "options": {}}}, "malformed"),
        ({"purpose": "artifact"}, "malformed"),
    ],
)
def test_a_signed_order_that_does_not_hold_here_and_now_is_refused(
    agent: Agent, ordering: Ordering, changes: dict[str, Any], reason: str
) -> None:
    agent.host.execute(ordering.make("start", **changes))
    (refusal,) = agent.reports()
    assert refusal["reason"] == reason
    assert agent.host.store.all() == []
    assert ordering.web.requests == []


def test_a_start_whose_decision_allows_another_artifact_is_refused(agent: Agent, ordering: Ordering) -> None:
    payload = ordering.payload("start")
    payload["decision"]["artifact_digest"] = "sha256:" + "0" * 64
    agent.host.execute(orders.sign(payload, private_key=ordering.keys.order))
    assert agent.reports()[0]["reason"] == "digest_mismatch"
    assert ordering.web.requests == []


def test_a_start_whose_decision_has_expired_is_refused(agent: Agent, ordering: Ordering) -> None:
    payload = ordering.payload("start")
    payload["decision"]["expires_at"] = PAST
    agent.host.execute(orders.sign(payload, private_key=ordering.keys.order))
    assert agent.reports()[0]["reason"] == "expired"


def test_an_older_generation_is_refused_also_after_a_restart(agent: Agent, ordering: Ordering) -> None:
    agent.host.execute(ordering.make("stop", generation=5))
    agent.restart()
    agent.host.execute(ordering.make("stop", generation=5))
    assert [body["reason"] for body in agent.reports("order_refused")] == ["stale_generation"]


def test_a_finished_order_is_refused_as_replayed_also_after_a_restart(agent: Agent, ordering: Ordering) -> None:
    envelope = ordering.make("stop")
    agent.host.execute(envelope)
    agent.restart()
    agent.host.execute(envelope)
    assert [body["reason"] for body in agent.reports("order_refused")] == ["replayed"]
    assert agent.states() == ["stopped"]


def test_a_load_test_without_a_ready_engine_is_refused(agent: Agent, ordering: Ordering) -> None:
    load = {"run_id": str(uuid4()), "rate_rps": 5, "duration_s": 1, "seed": 1, "examples": [{"a": 1.0}]}
    agent.host.execute(ordering.make("load_test", load=load))
    assert agent.reports()[0]["reason"] == "malformed"


# --- what arrives ------------------------------------------------------------------------------------------------


def tar_with(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_an_artifact_with_another_digest_is_refused_before_anything_is_loaded(agent: Agent, ordering: Ordering, web: Web) -> None:
    web.archive = tar_with((tarfile.TarInfo("MLmodel"), b"flavors: {}"))
    agent.host.execute(ordering.make("start"))
    assert [body["reason"] for body in agent.reports("order_refused")] == ["digest_mismatch"]
    assert agent.states() == ["downloading", "verifying", "failed"]
    assert list(agent.host.artifacts.folder.iterdir()) == []
    assert engines_of(ordering.deployment_id) == []


def hostile(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd"
    return tar_with((info, b"" if kind != tarfile.REGTYPE else b"x"))


@pytest.mark.parametrize(
    "archive",
    [hostile("../outside"), hostile("/absolute"), hostile("a", tarfile.SYMTYPE), hostile("a", tarfile.LNKTYPE), b""],
    ids=["parent", "absolute", "symlink", "hardlink", "empty"],
)
def test_an_archive_that_reaches_outside_is_not_unpacked(
    agent: Agent, ordering: Ordering, web: Web, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.archive = archive
    monkeypatch.setattr("celery_worker.agent.download.time.sleep", lambda seconds: None)
    fetch = agent.host.artifacts.fetch
    monkeypatch.setattr(agent.host.artifacts, "fetch", lambda **named: fetch(**named, patience_s=0.0))
    agent.host.execute(ordering.make("start"))
    assert agent.states()[-1] == "failed"
    assert not (agent.host.settings.state_dir.parent / "outside").exists()
    assert list((agent.host.settings.state_dir / "incoming").iterdir()) == []


def test_a_token_that_web_refuses_fails_the_start_without_naming_the_token(agent: Agent, ordering: Ordering) -> None:
    payload = ordering.payload("start")
    payload["artifact"]["token"] = "stolen"
    agent.host.execute(orders.sign(payload, private_key=ordering.keys.order))
    last = agent.reports("deployment")[-1]
    assert last["state"] == "failed"
    assert "401" in last["detail"]
    assert "stolen" not in last["detail"]


def test_the_token_is_not_sent_in_the_clear_to_another_host(agent: Agent, ordering: Ordering) -> None:
    payload = ordering.payload("start")
    payload["artifact"]["url"] = "http://portal.example/artifacts/v1/1/archive"
    agent.host.execute(orders.sign(payload, private_key=ordering.keys.order))
    assert "https" in agent.reports("deployment")[-1]["detail"]


def test_a_model_the_engine_cannot_load_fails_with_the_engines_own_words(
    agent: Agent, ordering: Ordering, web: Web, tmp_path: Path
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    web.archive = tar_with((tarfile.TarInfo("MLmodel"), b"flavors: {}\n"))
    ordering.digest = orders.digest_of_folder(folder)
    agent.host.execute(ordering.make("start"))
    last = agent.reports("deployment")[-1]
    assert last["state"] == "failed"
    assert "no signature" in last["detail"]
    assert engines_of(ordering.deployment_id) == []


def test_a_newer_order_ends_the_wait_for_an_older_one(agent: Agent, ordering: Ordering, web: Web) -> None:
    web.slow_s = 0.5
    first = threading.Thread(target=agent.host.execute, args=(ordering.make("start"),))
    first.start()
    while not web.requests:
        time.sleep(0.01)
    agent.host.execute(ordering.make("stop"))
    first.join(10)
    assert agent.states() == ["downloading", "stopped"]
    assert engines_of(ordering.deployment_id) == []
    (state,) = agent.host.store.all()
    assert (state.phase, state.order, state.work_generation) == ("stopped", None, 2)


def test_a_long_wait_is_reported_so_that_control_does_not_take_it_as_lost(
    agent: Agent, ordering: Ordering, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celery_worker.agent.work.STILL_AT_IT_S", 0.0)
    web.archive = tar_with((tarfile.TarInfo("MLmodel"), b"flavors: {}"))
    agent.host.execute(ordering.make("start"))
    assert "Still at it." in [body["detail"] for body in agent.reports("deployment")]


def test_the_same_order_delivered_twice_at_once_is_carried_out_once(agent: Agent, ordering: Ordering, web: Web) -> None:
    web.slow_s = 0.3
    web.archive = tar_with((tarfile.TarInfo("MLmodel"), b"flavors: {}"))
    envelope = ordering.make("start")
    threads = [threading.Thread(target=agent.host.execute, args=(envelope,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert agent.states() == ["downloading", "verifying", "failed"]
    assert len(web.requests) == 1


def test_a_cached_model_that_was_tampered_with_is_fetched_again_and_old_ones_are_removed(
    agent: Agent, ordering: Ordering, web: Web
) -> None:
    cache = agent.host.artifacts
    start = ordering.payload("start")["artifact"]

    def fetch() -> Path:
        given = {"url": start["url"], "token": start["token"], "digest": start["digest"]}
        return cache.fetch(**given, on_verify=lambda: None, still_wanted=lambda: None).folder

    folder = fetch()
    assert fetch() == folder
    assert len(web.requests) == 1
    (folder / "MLmodel").chmod(0o600)
    (folder / "MLmodel").write_text("flavors: {}")
    assert orders.digest_of_folder(fetch()) == start["digest"]
    assert len(web.requests) == 2
    for number in range(8):
        (cache.folder / f"{number:064d}").mkdir()
    cache.prune({start["digest"]})
    assert folder.is_dir()
    assert len(list(cache.folder.iterdir())) == 1 + 5


# --- the whole life of an engine ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_engine_is_started_used_measured_kept_over_a_restart_and_stopped(
    agent: Agent, ordering: Ordering, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "GATEHOUSE_SECRET_KEY", "GATEHOUSE_AGENT_KEY"):
        monkeypatch.setenv(name, f"secret-of-the-portal-{name}")
    web.failures = [503]
    first = ordering.make("start")
    agent.host.execute(first)
    ready = agent.reports("deployment")[-1]
    assert agent.states() == ["downloading", "verifying", "starting", "ready"]
    assert web.requests == [web.requests[0]] * 2, "a 503 is tried again"
    assert set(ready["timings_ms"]) == {"download", "verify", "start"}

    # It answers the protocol, and the portal's secrets are not in it.
    row = named_row()
    infer = f"{ready['url']}/v2/models/tumours/infer"
    answer = httpx.post(infer, json=request_of(row)).json()
    assert answer["model_name"] == "tumours"
    assert answer["model_version"] == "3"
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert outputs["prediction"] == [0]
    assert 0 <= outputs["probability"][0] < 0.01
    tensor = {"inputs": [{"name": "input-0", "shape": [1, 30], "datatype": "FP64", "data": list(row.values())}]}
    assert httpx.post(infer, json=tensor).json()["outputs"] == answer["outputs"]
    shape = {"name": "input-0", "shape": [1, 30], "datatype": "FP64", "parameters": {"binary_data_size": 240}}
    head = json.dumps({"inputs": [shape]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    binary = httpx.post(infer, content=head + struct.pack("<30d", *row.values()), headers=headers).json()
    assert [output["data"] for output in binary["outputs"]] == [output["data"] for output in answer["outputs"]]
    environment = Path(f"/proc/{ready['pid']}/environ").read_text()
    assert "secret-of-the-portal" not in environment
    assert {line.partition("=")[0] for line in environment.split("\0") if line} <= {
        *("LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
        *("PATH", "HOME", "TMPDIR", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"),
    }
    (engine,) = engines_of(ordering.deployment_id)
    listening = [c for c in engine.net_connections("tcp") if c.status == "LISTEN"]
    assert [c.laddr.ip for c in listening] == ["127.0.0.1"]
    assert os.getsid(engine.pid) == engine.pid

    # What the model does not take is named; what the SDK would let anyone do is not there.
    wrong = httpx.post(infer, json=request_of(row | {"mean area": "large"}))
    assert (wrong.status_code, "mean area" in wrong.json()["error"]) == (422, True)
    assert httpx.post(infer, content=b"{").status_code == 400
    assert httpx.post(f"{ready['url']}/v2/repository/models/tumours/unload").status_code == 404
    described = httpx.get(f"{ready['url']}/v2/models/tumours").json()
    assert len(described["inputs"]) == 30
    assert [output["name"] for output in described["outputs"]] == ["prediction", "probability"]
    assert "request_predict_seconds_count" in httpx.get(f"{ready['url']}/metrics").text

    # The same order again is a replay; a new order for what already runs starts nothing.
    agent.host.execute(first)
    assert agent.reports("order_refused")[-1]["reason"] == "replayed"
    agent.restart()
    agent.host.execute(ordering.make("start"))
    again = agent.reports("deployment")[-1]
    assert (again["state"], again["engine_start_id"]) == ("ready", ready["engine_start_id"])
    assert len(engines_of(ordering.deployment_id)) == 1

    # Load, in the open: latency counts from the scheduled time.
    load = {"run_id": str(uuid4()), "rate_rps": 60, "duration_s": 1.5, "seed": 7, "examples": [row]}
    agent.host.execute(ordering.make("load_test", load=load))
    (measured,) = agent.reports("load_test")
    assert measured["sent"] == measured["completed"] > 40
    assert measured["errors"] == 0
    assert measured["memory_bytes"] > 2**24 and ready["memory_bytes"] > 2**24, "a Python process that holds a model"
    assert 0 < measured["latency_ms"]["p50"] <= measured["latency_ms"]["p99"] <= measured["latency_ms"]["max"]

    (shown,) = describe_host(agent.host)["deployments"]
    assert (shown["state"], shown["pid"], shown["generation"]) == ("ready", engine.pid, 2)

    # A crash is found and said; the next order starts another engine, a stop ends it.
    watch = Watch(agent.host)
    watch.look(time.monotonic())
    assert agent.states()[-1] == "ready"
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait(5)
    watch.look(time.monotonic())
    assert agent.states()[-1] == "failed"
    assert "process ended" in agent.reports("deployment")[-1]["detail"]
    agent.host.execute(ordering.make("start"))
    anew = agent.reports("deployment")[-1]
    assert anew["state"] == "ready"
    assert anew["engine_start_id"] != ready["engine_start_id"]
    assert anew["timings_ms"]["download"] == 0, "the verified folder is used again"
    agent.host.execute(ordering.make("stop"))
    assert agent.states()[-1] == "stopped"
    assert engines_of(ordering.deployment_id) == []


def test_a_stop_for_another_host_leaves_everything_alone(agent: Agent, ordering: Ordering) -> None:
    ordering.host = "not-" + HOST
    agent.host.execute(ordering.make("stop"))
    assert [body["reason"] for body in agent.reports()] == ["misaddressed"]

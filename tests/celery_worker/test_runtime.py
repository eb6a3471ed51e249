"""The agent's process: it claims its folder, sends heartbeats to the real broker, and takes tasks as they come."""

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import redis
from celery import Celery

from celery_worker import orders
from celery_worker.agent import app as agent_app
from celery_worker.agent import gpus, runtime, stop_engines, tasks, watch

from .conftest import Keys
from .test_environment import complete
from .test_worker import broker_url


@pytest.fixture
def broker() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(broker_url())
    client.delete(orders.CONTROL_QUEUE)
    yield client
    client.delete(orders.CONTROL_QUEUE)
    client.close()


@pytest.fixture
def running(keys: Keys, tmp_path: Path, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[runtime.Runtime]:
    for name, value in complete(keys, tmp_path / "state").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(watch, "HEARTBEAT_EVERY_S", 0.05)
    made = runtime.Runtime(Celery(broker=broker_url()))
    monkeypatch.setattr(tasks, "runtime", made)
    made.claim()
    made.start()
    yield made
    made.stop()


def payloads(broker: redis.Redis, keys: Keys, kind: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = []
        for message in broker.lrange(orders.CONTROL_QUEUE, 0, -1):
            (envelope,), _, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
            found.append(orders.verify(envelope, keys=keys.agent_public))
        wanted = [payload for payload in found if payload["kind"] == kind]
        if wanted:
            return wanted
        time.sleep(0.02)
    return []


def test_heartbeats_reach_control_and_say_what_the_host_has(running: runtime.Runtime, broker: redis.Redis, keys: Keys) -> None:
    body = payloads(broker, keys, "heartbeat")[0]["body"]
    assert body["memory_bytes"] > body["memory_available_bytes"] > 0
    assert body["engines"] == ["kserve"]
    assert body["deployments"] == []


def test_whatever_arrives_as_an_order_is_refused_and_the_report_forgotten_when_acknowledged(
    running: runtime.Runtime, broker: redis.Redis, keys: Keys
) -> None:
    tasks.execute("one", "two")
    refusal = payloads(broker, keys, "order_refused")[0]
    assert refusal["body"]["reason"] == "malformed"
    tasks.acknowledge([refusal["report_id"]])
    assert len(running.host.reporter.waiting()) == 1, "an unsigned acknowledgement counts for nothing"
    tasks.acknowledge(
        orders.make_acknowledgement(
            report_ids=[refusal["report_id"]], audience="host-1", issued_at=datetime.now(UTC), private_key=keys.order
        )
    )
    assert running.host.reporter.waiting() == []


def test_a_second_agent_in_the_same_folder_is_told_to_stay_away(
    running: runtime.Runtime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtime.Store, "claim", lambda self, claim=runtime.Store.claim: claim(self, patience_s=0.0))
    with pytest.raises(SystemExit, match="Another agent"):
        runtime.Runtime(agent_app.app).claim()


def test_ending_the_engines_of_a_folder_waits_for_its_agent(
    running: runtime.Runtime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = stop_engines.Store.claim
    monkeypatch.setattr(stop_engines.Store, "claim", lambda self, **_: claim(self, patience_s=0.0))
    assert stop_engines.main() == 1
    assert "Another agent" in capsys.readouterr().err
    monkeypatch.setenv("GATEHOUSE_AGENT_STATE", "/nowhere")
    assert stop_engines.main() == 0


def test_an_incomplete_environment_ends_the_worker_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEHOUSE_AGENT_NAME", raising=False)
    with pytest.raises(SystemExit, match="GATEHOUSE_AGENT_NAME"):
        runtime.Runtime(agent_app.app).claim()
    with pytest.raises(RuntimeError, match="not been started"):
        _ = runtime.Runtime(agent_app.app).host


def test_the_worker_takes_json_alone_and_no_remote_control() -> None:
    conf = agent_app.app.conf
    assert conf.accept_content == ["json"]
    assert conf.worker_enable_remote_control is False
    assert conf.result_backend is None
    assert set(agent_app.app.tasks) >= {orders.EXECUTE_TASK, orders.ACKNOWLEDGE_TASK}


def test_a_gpu_that_hides_a_figure_is_still_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is here to ask: the library's answers are given, what is made of them is ours."""

    def hidden(handle: int) -> Any:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=80, used=8),
        "nvmlDeviceGetUtilizationRates": hidden,
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
        "nvmlDeviceGetName": lambda handle: "Test GPU",
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    first, second = gpus.read_gpus()
    assert first == {
        "index": 0,
        "uuid": "GPU-0",
        "name": "Test GPU",
        "memory_bytes": 80,
        "memory_used_bytes": 8,
        "utilisation_pct": None,
        "driver": "580.1",
    }
    assert second["index"] == 1

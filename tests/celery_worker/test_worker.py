"""The agent as it really runs: a Celery worker in an environment without Django, on a real broker, killed and back."""

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
from celery import Celery

from celery_worker import orders

from .conftest import ROOT, Keys, Ordering, Web, python_of
from .test_execute import engines_of, named_row, request_of

pytestmark = pytest.mark.slow


def broker_url() -> str:
    """The broker of this test run, in a database of its own for each parallel worker."""
    url = os.environ.get("REDIS_URL", "")
    if not url:
        pytest.fail("REDIS_URL is not set; run the tests by ./gatehouse test.")
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0)
    return urlsplit(url)._replace(path=f"/{8 + number % 8}").geturl()


class Worker:
    """One agent process and control's end of its queues."""

    def __init__(self, folder: Path, keys: Keys, engine_python: Path) -> None:
        self.host = f"host-{uuid4().hex[:8]}"
        self.url = broker_url()
        self.folder = folder
        self.keys = keys
        self.redis = redis.Redis.from_url(self.url)
        self.redis.delete(orders.CONTROL_QUEUE)
        self.app = Celery(broker=self.url)
        self.received: list[dict[str, Any]] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "REDIS_URL": self.url,
            "GATEHOUSE_AGENT_NAME": self.host,
            "GATEHOUSE_AGENT_STATE": str(folder / "state"),
            "GATEHOUSE_AGENT_KEY": str(keys.folder / "agent.pem"),
            "GATEHOUSE_ORDER_PUBLIC_KEYS": str(keys.folder / "order-public.json"),
            "GATEHOUSE_ENGINE_PYTHON_KSERVE": str(engine_python),
            "GATEHOUSE_NOT_FOR_ENGINES": "secret-of-the-portal",
        }

    def start(self) -> None:
        celery = python_of(".venv-agent", "GATEHOUSE_AGENT_PYTHON").with_name("celery")
        command = [str(celery), "-A", "celery_worker.agent.app", "--quiet", "worker", "-Q", f"agent.{self.host}", "-P", "threads"]
        command += ["-c", "4", "-n", f"agent@{self.host}", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        with (self.folder / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def order(self, envelope: Any) -> None:
        self.app.send_task(orders.EXECUTE_TASK, args=[envelope], queue=orders.agent_queue(self.host))

    def acknowledge(self, message: Any) -> None:
        self.app.send_task(orders.ACKNOWLEDGE_TASK, args=[message], queue=orders.agent_queue(self.host))

    def spooled(self) -> list[Path]:
        return list((self.folder / "state" / "spool").glob("*.json"))

    def receive(self) -> None:
        while (message := self.redis.lpop(orders.CONTROL_QUEUE)) is not None:
            document = json.loads(message)
            assert document["headers"]["task"] == orders.REPORT_TASK
            (envelope,), _, _ = json.loads(base64.b64decode(document["body"]))
            self.received.append(orders.verify(envelope, keys=self.keys.agent_public))

    def until(self, found: Callable[[], Any], what: str, patience_s: float = 60.0) -> Any:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            self.receive()
            if (value := found()) not in (None, False, []):
                return value
            time.sleep(0.02)
        log = (self.folder / "worker.log").read_text()[-3000:]
        raise AssertionError(f"waited in vain for {what}\n{log}")

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """Each report once, as control keeps them."""
        unique = {report["report_id"]: report for report in self.received if report["kind"] == kind}
        return [report["body"] for report in sorted(unique.values(), key=lambda report: report["seq"])]

    def ready(self) -> dict[str, Any] | None:
        return next((body for body in self.bodies("deployment") if body["state"] == "ready"), None)


@pytest.fixture
def worker(tmp_path: Path, keys: Keys, engine_python: Path) -> Iterator[Worker]:
    running = Worker(tmp_path, keys, engine_python)
    running.start()
    yield running
    if running.process is not None and running.process.poll() is None:
        running.end(signal.SIGTERM)
    python = python_of(".venv-agent", "GATEHOUSE_AGENT_PYTHON")
    command = [str(python), "-m", "celery_worker.agent.stop_engines"]
    subprocess.run(command, cwd=ROOT, env=running.environment, check=True, timeout=60)
    running.redis.delete(orders.CONTROL_QUEUE, orders.agent_queue(running.host))
    running.redis.close()


def test_a_worker_killed_in_mid_start_comes_back_and_ends_with_one_engine(worker: Worker, ordering: Ordering, web: Web, keys: Keys) -> None:
    ordering.host = worker.host
    beat = worker.until(lambda: worker.bodies("heartbeat"), "a heartbeat")[0]
    assert beat["engines"] == ["kserve"]
    assert beat["cpu_count"] >= 1
    assert isinstance(beat["gpus"], list)

    worker.order(ordering.make("start"))
    (engine,) = worker.until(lambda: engines_of(ordering.deployment_id), "the engine's process")
    assert worker.end(signal.SIGKILL) == -signal.SIGKILL
    assert worker.ready() is None, "it was killed in mid-start"

    worker.start()
    ready = worker.until(worker.ready, "the report that the engine is ready")
    assert ready["pid"] == engine.pid
    assert [process.pid for process in engines_of(ordering.deployment_id)] == [engine.pid]
    started = {body["engine_start_id"] for body in worker.bodies("deployment") if body["engine_start_id"]}
    assert started == {ready["engine_start_id"]}
    assert "secret-of-the-portal" not in Path(f"/proc/{engine.pid}/environ").read_text()

    # Reports stay until control acknowledges them, and not when somebody else says so.
    waiting = len(worker.spooled())
    assert waiting >= 3
    ids = [report["report_id"] for report in worker.received]
    worker.acknowledge(ids)
    forger = orders.load_private_key(keys.folder / "agent.pem")
    now = datetime.now(UTC)
    worker.acknowledge(orders.make_acknowledgement(report_ids=ids, audience=worker.host, issued_at=now, private_key=forger))
    worker.order("not even an order")
    worker.until(lambda: worker.bodies("order_refused"), "the refusal")
    assert len(worker.spooled()) == waiting + 1
    ids = [report["report_id"] for report in worker.received]
    worker.acknowledge(orders.make_acknowledgement(report_ids=ids, audience=worker.host, issued_at=now, private_key=keys.order))
    worker.until(lambda: not worker.spooled(), "the spool to be empty")

    # An engine outlives its agent; the next one finds it, measures it, and ends it when told.
    assert worker.end(signal.SIGTERM) == 0
    assert engine.is_running()
    worker.start()
    row = named_row()
    load = {"run_id": str(uuid4()), "rate_rps": 40, "duration_s": 1, "seed": 3, "examples": [row, request_of(row)]}
    worker.order(ordering.make("load_test", load=load))
    measured = worker.until(lambda: worker.bodies("load_test"), "the load test's report")[0]
    assert (measured["errors"], measured["run_id"]) == (0, load["run_id"])
    os.kill(engine.pid, signal.SIGKILL)
    worker.until(lambda: [b for b in worker.bodies("deployment") if b["state"] == "failed"], "the crash to be seen")
    worker.order(ordering.make("stop"))
    worker.until(lambda: [b for b in worker.bodies("deployment") if b["state"] == "stopped"], "the stop")
    assert engines_of(ordering.deployment_id) == []
    numbers = [report["seq"] for report in worker.received]
    assert len(set(numbers)) == len({report["report_id"] for report in worker.received})


def test_a_second_agent_on_the_same_state_folder_refuses_to_start(worker: Worker) -> None:
    worker.until(lambda: worker.bodies("heartbeat"), "a heartbeat")
    python = python_of(".venv-agent", "GATEHOUSE_AGENT_PYTHON")
    code = "from celery_worker.agent.state import *; import os, pathlib;"
    code += "Store(pathlib.Path(os.environ['GATEHOUSE_AGENT_STATE'])).claim(patience_s=0)"
    second = subprocess.run([str(python), "-c", code], cwd=ROOT, env=worker.environment, capture_output=True, timeout=30)
    assert b"AlreadyRunning" in second.stderr


def test_each_line_an_agent_writes_is_a_json_object_that_says_when_how_grave_and_who(worker: Worker) -> None:
    worker.until(lambda: worker.bodies("heartbeat"), "a heartbeat")
    worker.app.send_task("no.such.task", args=[], queue=orders.agent_queue(worker.host))
    log = worker.folder / "worker.log"
    worker.until(lambda: "no.such.task" in log.read_text(), "a line about a task nobody knows")
    assert worker.end(signal.SIGTERM) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"at", "level", "logger", "message"} <= set(line) for line in lines)
    assert all(datetime.fromisoformat(line["at"]).tzinfo for line in lines)
    assert [line["level"] for line in lines if "no.such.task" in line["message"]] == ["error"]
    assert [line for line in lines if line["level"] == "info" and "Warm shutdown" in line["message"]]

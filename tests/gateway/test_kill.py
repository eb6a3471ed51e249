"""kill -9 under load: what was answered is in the captures, once."""

import http.client
import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.support import (
    Engine,
    GatewayProcess,
    Portal,
    columns,
    endpoint,
    new_key,
    wait_until,
)


class Load:
    """Threads that send without pause, each on a kept connection, and note what was really answered."""

    def __init__(self, gateway: GatewayProcess, key: str, threads: int) -> None:
        self.gateway, self.key = gateway, key
        self.answered: dict[str, list[Any]] = {}
        self.errors = 0
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.send, args=(n,)) for n in range(threads)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def send(self, thread: int) -> None:
        number = 0
        connection: http.client.HTTPConnection | None = None
        while not self.stopping.is_set():
            number += 1
            body = json.dumps(columns(a=[float(number), 2.0], b=[float(thread), 3.0])).encode()
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=30)
                connection.request("POST", "/v2/models/claims/infer", body, headers)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException):
                with self.lock:
                    self.errors += 1
                connection = None
                self.stopping.wait(0.02)
                continue
            assert response.status == 200, answer
            predictions = {t["name"]: t["data"] for t in json.loads(answer)["outputs"]}["prediction"]
            with self.lock:
                self.answered[response.headers["x-gatehouse-request-id"]] = predictions


@pytest.mark.faults
def test_answered_predictions_survive_kill_9_under_load_and_are_captured_once(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(endpoint("claims", [key], [engine.route()]))
    own_gateway.start()
    load = Load(own_gateway, key, threads=6)
    load.start()
    try:
        for _ in range(4):
            target = len(load.answered) + 250
            wait_until(lambda target=target: len(load.answered) >= target, "load to be answered")
            own_gateway.kill()
            own_gateway.start()
    finally:
        load.stop()
    assert load.errors > 0, "the kills really hit requests under way"
    rows = own_gateway.settled_rows()
    times = Counter((row["request_id"], row["row"]) for row in rows)
    assert set(times.values()) == {1}, "nothing is captured twice"
    captured: dict[str, dict[int, Any]] = {}
    for row in rows:
        captured.setdefault(row["request_id"], {})[row["row"]] = json.loads(row["prediction"])
    missing = load.answered.keys() - captured.keys()
    assert not missing, "nothing that was answered is missing"
    for request_id, predictions in load.answered.items():
        assert captured[request_id] == dict(enumerate(predictions))


@pytest.mark.faults
def test_the_converter_killed_under_load_loses_and_doubles_nothing(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(endpoint("claims", [key], [engine.route()]))
    own_gateway.start()

    def converter() -> int:
        process = own_gateway.process
        assert process is not None
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(listed[0]) if listed else 0

    load = Load(own_gateway, key, threads=4)
    load.start()
    try:
        for _ in range(3):
            target = len(load.answered) + 150
            wait_until(lambda target=target: len(load.answered) >= target, "load to be answered")
            victim = wait_until(converter, "a converter")
            os.kill(victim, 9)
            wait_until(lambda victim=victim: converter() not in {0, victim}, "a new converter")
    finally:
        load.stop()
    times = Counter((row["request_id"], row["row"]) for row in own_gateway.settled_rows())
    assert set(times.values()) == {1}
    assert {request_id for request_id, _ in times} == load.answered.keys()

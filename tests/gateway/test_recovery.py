"""Starts and ends: what a killed gateway left, one gateway per state folder, and a clean shutdown."""

import json
import subprocess
import threading
import uuid
from typing import Any

from tests.gateway.support import (
    GATEWAY_PYTHON,
    Engine,
    GatewayProcess,
    Portal,
    columns,
    endpoint,
    new_key,
    start_engine,
    wait_until,
)

ENDPOINT_ID = str(uuid.uuid4())


def line(request_id: str, **meta: Any) -> bytes:
    known = {
        "request_id": request_id,
        "endpoint_id": ENDPOINT_ID,
        "deployment_id": str(uuid.uuid4()),
        "model_version": "claims/1",
        "shadow": False,
        "received_at_us": 1_750_000_000_000_000,
        "latency_ms": 1.5,
        "status": 200,
    }
    answer = {"outputs": [{"name": "prediction", "shape": [1], "datatype": "INT64", "data": [1]}]}
    return json.dumps({"m": known | meta, "q": columns(a=[1.0]), "a": answer}).encode() + b"\n"


def test_leftovers_of_a_kill_are_converted_at_start_and_torn_lines_dropped(
    own_gateway: GatewayProcess, own_portal: Portal
) -> None:
    spool = own_gateway.state / "spool"
    spool.mkdir(parents=True)
    open_file, sealed = uuid.uuid4(), uuid.uuid4()
    (spool / f"{open_file}.active").write_bytes(line("a") + line("b") + line("torn")[:-9])
    (spool / f"{sealed}.jsonl").write_bytes(line("c") + b"not json\n" + line("d"))
    (spool / f"{uuid.uuid4()}.active").write_bytes(b"")
    # As if the last run was killed between the Parquet file and the removal of its source.
    done = own_gateway.captures / ENDPOINT_ID / "dt=2025-06-15"
    done.mkdir(parents=True)
    (done / f"{sealed}.parquet").write_bytes(b"an unfinished older attempt is replaced")
    own_portal.publish()
    own_gateway.start()
    assert sorted(row["request_id"] for row in own_gateway.settled_rows()) == ["a", "b", "c", "d"]
    assert sorted(path.stem for path in done.glob("*.parquet")) == sorted([str(open_file), str(sealed)])
    assert (spool / f"{sealed}.rejected").read_bytes() == b"not json\n"
    assert not list(done.glob(".*")), "no half-made file stays"
    assert own_gateway.stop() == 0


def test_a_line_that_names_no_uuid_as_endpoint_writes_nowhere(
    own_gateway: GatewayProcess, own_portal: Portal
) -> None:
    spool = own_gateway.state / "spool"
    spool.mkdir(parents=True)
    (spool / f"{uuid.uuid4()}.jsonl").write_bytes(line("evil", endpoint_id="../../outside") + line("good"))
    own_portal.publish()
    own_gateway.start()
    assert [row["request_id"] for row in own_gateway.settled_rows()] == ["good"]
    assert not (own_gateway.folder / "outside").exists()


def test_a_shutdown_answers_what_is_under_way_and_leaves_an_empty_spool(
    own_gateway: GatewayProcess, own_portal: Portal
) -> None:
    slow = start_engine(delay_s=1.0)
    try:
        key = new_key()
        own_portal.publish(endpoint("claims", [key], [slow.route()]))
        own_gateway.start()
        answers: list[int] = []

        def send() -> None:
            answers.append(own_gateway.infer("claims", key, columns(a=[1.0])).status)

        threads = [threading.Thread(target=send) for _ in range(5)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(slow.seen()["seen"]) == 5, "all requests under way")
        assert own_gateway.stop() == 0
        for thread in threads:
            thread.join()
        assert answers == [200] * 5
        assert not own_gateway.spooled()
        assert len(own_gateway.rows()) == 5
    finally:
        slow.kill()


def test_a_state_folder_serves_one_gateway_only(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    own_portal.publish()
    own_gateway.start()
    second = subprocess.run(
        [GATEWAY_PYTHON, "-m", "gateway"], env=own_gateway.environment(), capture_output=True, timeout=30
    )
    assert second.returncode == 2
    assert b"GATEHOUSE_GATEWAY_STATE" in second.stdout
    assert own_gateway.get("/healthz").status == 200


def test_missing_settings_are_refused_by_name_and_without_secrets(
    own_gateway: GatewayProcess,
) -> None:
    environment = own_gateway.environment()
    for name in ("GATEHOUSE_GATEWAY_TOKEN", "GATEHOUSE_GATEWAY_BIND", "GATEHOUSE_ORDER_PUBLIC_KEYS"):
        without = {key: value for key, value in environment.items() if key != name}
        refused = subprocess.run(
            [GATEWAY_PYTHON, "-m", "gateway"], env=without, capture_output=True, timeout=30
        )
        assert refused.returncode == 2
        assert name.encode() in refused.stdout
        assert own_gateway.portal.token.encode() not in refused.stdout + refused.stderr
    crooked = environment | {"GATEHOUSE_GATEWAY_BIND": "nowhere"}
    refused = subprocess.run([GATEWAY_PYTHON, "-m", "gateway"], env=crooked, capture_output=True, timeout=30)
    assert (refused.returncode, b"HOST:PORT" in refused.stdout) == (2, True)

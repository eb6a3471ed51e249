"""Requests per second and latency of the serving engine on this machine: peer, ours, limit.

    .venv-agent/bin/python bench/engine.py [--seconds 5] [--rounds 3] [--engine-python .venv-kserve/bin/python]

The model is a scaled logistic regression on 30 columns (scikit-learn's breast cancer data), saved as MLflow does by
default. One row per request over keep-alive connections, closed loop; the client runs on the same machine.

    peer    KServe's ModelServer around mlflow.pyfunc, 30 named columns (bench/engine_peer.py)
    ours    the engine of celery_worker/serving/kserve, 30 named columns, names, types, nulls and shapes checked
    limit   the same engine fed one tensor of shape [1, 30]: what is left when there are no names to look up

The three are measured in turn, round after round, so that a noisy neighbour hits them alike; the median is printed.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402

from celery_worker.agent.engines.kserve import PROGRAM, engine_environment  # noqa: E402
from celery_worker.agent.wire import Connection, post_request  # noqa: E402

NAME = "bench"


def named_request(folder: Path) -> tuple[bytes, bytes]:
    """One row of the data as 30 named inputs and as one tensor."""
    row = json.loads((folder.parent / "row.json").read_text())
    named = [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in row.items()]
    tensor = [{"name": "input-0", "shape": [1, len(row)], "datatype": "FP64", "data": list(row.values())}]
    return json.dumps({"inputs": named}).encode(), json.dumps({"inputs": tensor}).encode()


async def closed_loop(port: int, body: bytes, connections: int, seconds: float) -> tuple[float, list[float]]:
    """Requests per second and the sorted latencies in ms."""
    request = post_request(f"/v2/models/{NAME}/infer", f"127.0.0.1:{port}", body)
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def client() -> None:
        connection = await Connection.open("127.0.0.1", port)
        while time.perf_counter() < until:
            started = time.perf_counter()
            status = await connection.send(request)
            if status != 200:
                raise RuntimeError(f"status {status}")
            latencies.append((time.perf_counter() - started) * 1000)
        connection.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return len(latencies) / seconds, sorted(latencies)


def share(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(len(values) * part))]


def wait_ready(port: int, process: subprocess.Popen) -> float:
    started = time.perf_counter()
    while True:
        if process.poll() is not None:
            raise SystemExit("a server ended while it was starting")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/v2/models/{NAME}/ready", trust_env=False).status_code == 200:
                return time.perf_counter() - started
        except httpx.TransportError:
            time.sleep(0.05)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine-python", default=str(ROOT / ".venv-kserve" / "bin" / "python"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        folder = home / "model"
        make = ROOT / "tests" / "celery_worker" / "make_model.py"
        subprocess.run([options.engine_python, str(make), str(folder), str(home / "row.json")], check=True)
        environment = engine_environment(os.environ, home=home, temporary=home, threads=1)
        ports = {"peer": free_port(), "ours": free_port()}
        commands = {
            "peer": [options.engine_python, str(ROOT / "bench" / "engine_peer.py"), str(folder), str(ports["peer"])],
            "ours": [options.engine_python, "-I", str(PROGRAM), "--folder", str(folder), "--name", NAME],
        }
        commands["ours"] += ["--port", str(ports["ours"])]
        processes: dict[str, subprocess.Popen] = {}
        try:
            for name, command in commands.items():
                with (home / f"{name}.log").open("wb") as log:
                    processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=home)
                seconds = wait_ready(ports[name], processes[name])
                memory = Path(f"/proc/{processes[name].pid}/status").read_text().split("VmRSS:")[1].split()[0]
                print(f"{name}: ready after {seconds:.1f} s, {int(memory) // 1024} MB")
            named, tensor = named_request(folder)
            cases = {"peer": (ports["peer"], named), "ours": (ports["ours"], named), "limit": (ports["ours"], tensor)}
            for connections in (1, 8):
                print(f"\n{connections} connection(s), {options.rounds} rounds of {options.seconds:g} s, medians")
                print(f"{'':8}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}")
                rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in cases}
                for _ in range(options.rounds):
                    for name, (port, body) in cases.items():
                        asyncio.run(closed_loop(port, body, connections, 0.5))
                        rate, latencies = asyncio.run(closed_loop(port, body, connections, options.seconds))
                        rows[name].append((rate, share(latencies, 0.5), share(latencies, 0.99)))
                for name, measured in rows.items():
                    rate, p50, p99 = (statistics.median(column) for column in zip(*measured, strict=True))
                    print(f"{name:8}{rate:12.0f}{p50:9.2f}{p99:9.2f}")
        finally:
            for process in processes.values():
                process.terminate()
                process.wait(20)


if __name__ == "__main__":
    main()

"""Latency and throughput the gateway adds to an engine, side by side with the engine itself and a bare relay.

    .venv/bin/python bench/gateway.py [--requests 3000] [--seconds 5] [--engine kserve|small]

Peer: the engine asked directly. Ours: the same request through the gateway, with its signature-checked
routes, key check, rate limit, validation and a capture on disk before every answer. Phased: the same with a plan of
three rollout phases, of which the caller's is open to 99% of its users, so that every request is placed by its hash. Limit: a relay on the
same event loop that only passes bytes on (bench/passthrough.py); no proxy in Python can add less.
One keep-alive connection a target, requests in turns of 50 so that all of them see the same machine; then 8
connections at once for throughput. Everything, the client too, runs on this machine.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gateway import cohorts  # noqa: E402
from tests.gateway import support  # noqa: E402

TURN = 50
CONNECTIONS = 8
MODEL = "bench"


class Connection:
    """A kept connection that sends one prepared request over and over."""

    def __init__(self, port: int, path: str, body: bytes, key: str) -> None:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.request = head.encode() + body
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> float:
        """Seconds from the first byte sent to the last byte received."""
        started_at = time.perf_counter()
        self.socket.sendall(self.request)
        got = b""
        while b"\r\n\r\n" not in got:
            part = self.socket.recv(262_144)
            if not part:
                raise ConnectionError("closed")
            got += part
        head, _, body = got.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(got.decode(errors="replace"))
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        missing = length - len(body)
        while missing > 0:
            missing -= len(self.socket.recv(262_144))
        return time.perf_counter() - started_at


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def throughput(targets: tuple[int, str], body: bytes, key: str, seconds: float) -> float:
    """Requests a second over 8 connections, closed loop."""
    counts: list[int] = []
    end = time.monotonic() + seconds

    def send() -> None:
        connection = Connection(*targets, body, key)
        count = 0
        while time.monotonic() < end:
            connection.ask()
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def measure(
    targets: dict[str, tuple[int, str]], body: bytes, key: str, requests: int
) -> dict[str, list[float]]:
    """Latencies in ms, in alternating turns."""
    connections = {name: Connection(*target, body, key) for name, target in targets.items()}
    for connection in connections.values():
        for _ in range(200):
            connection.ask()
    times: dict[str, list[float]] = {name: [] for name in targets}
    while len(times["engine"]) < requests:
        for name, connection in connections.items():
            times[name] += [connection.ask() * 1000 for _ in range(TURN)]
    return times


def start_kserve(folder: Path) -> tuple[support.Engine, bytes]:
    """The engine that deployments use, with a logistic regression on 30 columns, and a request of one row."""
    from celery_worker.agent.engines.kserve import PROGRAM, engine_environment

    python = str(ROOT / ".venv-kserve/bin/python")
    make = str(ROOT / "tests/celery_worker/make_model.py")
    subprocess.run([python, make, str(folder / "model"), str(folder / "row.json")], check=True)
    row: dict[str, float] = json.loads((folder / "row.json").read_text())
    port = support.free_port()
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-I", PROGRAM, "--folder", folder / "model", "--name", MODEL, "--port", str(port)],
            env=engine_environment(os.environ, home=folder, temporary=folder, threads=1),
            stdout=log,
            stderr=log,
        )
    ready = f"/v2/models/{MODEL}/ready"
    support.wait_until(lambda: support.ask(port, "GET", ready).status == 200, "engine ready", 60)
    body = json.dumps(support.columns(**{name: [value] for name, value in row.items()})).encode()
    return support.Engine(port, process, MODEL), body


def start_small() -> tuple[support.Engine, bytes]:
    """The engine of the gateway's tests: it only adds 30 numbers up, so the gateway's part shows most."""
    values = {f"feature_{n}": [n * 1.2345] for n in range(30)}
    return support.start_engine(model=MODEL), json.dumps(support.columns(**values)).encode()


OPEN_PERCENT = 99


def served_key() -> str:
    """A caller's key whose hash lies among the 99%, so that none of its requests is turned away."""
    while cohorts.mark("usecase", f"key:{(key := support.new_key())[4:12]}") >= OPEN_PERCENT:
        continue
    return key


def made(slug: str, key: str, engine: support.Engine) -> dict[str, Any]:
    """An endpoint without a plan, or with one of three phases."""
    row = support.endpoint(slug, [key], [engine.route()], rate=1e6, burst=1_000_000)
    if slug == "bench":
        return row
    row["keys"][0]["groups"] = ["Claims"]
    plan = (
        {"name": "Billing", "departments": ["Billing"]},
        {"name": "Claims desk", "departments": ["Claims"], "percent": OPEN_PERCENT},
        {"name": "Everybody", "open": False},
    )
    return row | {"environment": "production", "rollout": support.rollout(*plan)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=["kserve", "small"], default="kserve")
    parser.add_argument("--requests", type=int, default=3_000, help="to each target")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each throughput run")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    key = served_key()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine, body = start_kserve(folder) if options.engine == "kserve" else start_small()
        stack.callback(engine.kill)
        portal = support.Portal(folder)
        portal.start()
        stack.callback(portal.stop)
        portal.publish(*(made(slug, key, engine) for slug in ("bench", "bench-phased")))
        redis_port, relay_port = support.free_port(), support.free_port()
        stack.enter_context(support.valkey(redis_port, folder))
        gateway = support.GatewayProcess(portal, folder, {"REDIS_URL": f"redis://127.0.0.1:{redis_port}/0"})
        stack.callback(gateway.end)
        gateway.start()
        relay = [ROOT / "bench/passthrough.py", str(relay_port), "127.0.0.1", str(engine.port)]
        stack.callback(subprocess.Popen([support.GATEWAY_PYTHON, *relay]).kill)
        path = f"/v2/models/{MODEL}/infer"
        ready = f"/v2/models/{MODEL}/ready"
        support.wait_until(lambda: support.ask(relay_port, "GET", ready).status == 200, "relay up")
        targets = {
            "engine": (engine.port, path),
            "relay": (relay_port, path),
            "gateway": (gateway.port, "/v2/models/bench/infer"),
            "phased": (gateway.port, "/v2/models/bench-phased/infer"),
        }
        times = measure(targets, body, key, options.requests)
        rates = {name: throughput(target, body, key, options.seconds) for name, target in targets.items()}
        captured = len(gateway.settled_rows())
    report(times, rates, captured, options, len(body))


def report(
    times: dict[str, list[float]],
    rates: dict[str, float],
    captured: int,
    options: argparse.Namespace,
    body_bytes: int,
) -> None:
    """Print what was measured."""
    rows = {
        name: {
            "p50_ms": round(statistics.median(values), 3),
            "p90_ms": round(percentile(values, 0.90), 3),
            "p99_ms": round(percentile(values, 0.99), 3),
            "throughput_rps": round(rates[name]),
        }
        for name, values in times.items()
    }
    peer, ours, limit, phased = rows["engine"], rows["gateway"], rows["relay"], rows["phased"]
    result = {
        "peer": peer,
        "limit": limit,
        "ours": ours,
        "phased": phased,
        "phases_add_p50_ms": round(phased["p50_ms"] - ours["p50_ms"], 3),
        "ratio_p50_phased": round(phased["p50_ms"] / ours["p50_ms"], 2),
        "added_p50_ms": round(ours["p50_ms"] - peer["p50_ms"], 3),
        "added_p99_ms": round(ours["p99_ms"] - peer["p99_ms"], 3),
        "ratio_p50": round(ours["p50_ms"] / peer["p50_ms"], 2),
        "ratio_p50_to_limit": round(ours["p50_ms"] / limit["p50_ms"], 2),
        "captured_rows": captured,
        "requests_each": len(times["engine"]),
        "body_bytes": body_bytes,
        "engine": options.engine,
        "cpus": os.cpu_count(),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'':<24}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'requests/s':>12}")
    for label, row in (("peer: engine, direct", peer), ("limit: byte relay", limit), ("ours: gateway", ours), ("ours, with phases", phased)):
        print(f"{label:<24}" + "".join(f"{row[n]:>9.3f}" for n in ("p50_ms", "p90_ms", "p99_ms")), end="")
        print(f"{row['throughput_rps']:>12}")
    print(f"added: p50 {result['added_p50_ms']} ms, p99 {result['added_p99_ms']} ms;", end=" ")
    print(f"ratio p50 ours/peer {result['ratio_p50']}, ours/limit {result['ratio_p50_to_limit']}")
    print(f"phases add {result['phases_add_p50_ms']} ms at p50, {result['ratio_p50_phased']} times without")
    print(
        f"{captured} rows captured, {result['requests_each']} requests each, 30 named columns,",
        end=" ",
    )
    print(f"{body_bytes} bytes, {os.cpu_count()} CPUs")


if __name__ == "__main__":
    main()

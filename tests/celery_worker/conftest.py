"""A real model, a small web that hands out its archive, and an agent's Host without Celery."""

import io
import json
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from celery_worker import orders
from celery_worker.agent.own_key import OwnKey
from celery_worker.agent.reports import Reporter
from celery_worker.agent.settings import AgentSettings
from celery_worker.agent.state import Store
from celery_worker.agent.work import Host

ROOT = Path(__file__).resolve().parents[2]
HOST = "test-host"


def python_of(environment: str, variable: str) -> Path:
    return Path(os.environ.get(variable) or ROOT / environment / "bin" / "python")


@pytest.fixture(autouse=True)
def quick_passwords() -> None:
    """Nothing here signs in; the agent knows no Django."""


@pytest.fixture(autouse=True)
def private_cache() -> None:
    """Nothing here uses Django's cache."""


@pytest.fixture(scope="session")
def engine_python() -> Path:
    return python_of(".venv-kserve", "GATEHOUSE_ENGINE_PYTHON_KSERVE")


@pytest.fixture(scope="session")
def model_folder(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    script = Path(__file__).with_name("make_model.py")
    subprocess.run([str(engine_python), str(script), str(folder)], check=True, capture_output=True, timeout=120)
    return folder


def archive_of(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.add(path, arcname=path.relative_to(folder).as_posix())
    return buffer.getvalue()


@dataclass
class Web:
    """What the portal's artifact door does, as far as an agent sees it."""

    archive: bytes
    keys: dict[str, Any]
    url: str = ""
    requests: list[str] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    slow_s: float = 0.0


@pytest.fixture
def web(model_folder: Path, keys: "Keys") -> Iterator[Web]:
    served = Web(archive_of(model_folder), keys.order_public)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests.append(self.path)
            if served.failures:
                self.send_error(served.failures.pop(0))
                return
            time.sleep(served.slow_s)
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            try:
                orders.read_artifact_token(token, served.keys, datetime.now(UTC))
            except orders.OrderRefused:
                self.send_error(401)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/x-tar")
            self.end_headers()
            self.wfile.write(served.archive)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}/artifacts/v1/1/archive"
    yield served
    server.shutdown()
    server.server_close()


@dataclass
class Keys:
    """Key files as the launcher makes them."""

    folder: Path
    order: Any
    agent: Any
    order_public: dict[str, Any]
    agent_public: dict[str, Any]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    order = orders.generate_private_key(folder / "order.pem")
    agent = orders.generate_private_key(folder / "agent.pem")
    entry = orders.public_entry(order.public_key(), purpose="order")
    (folder / "order-public.json").write_text(json.dumps({"keys": [entry]}))
    return Keys(
        folder,
        order,
        agent,
        {orders.key_id(order.public_key()): order.public_key()},
        {orders.key_id(agent.public_key()): agent.public_key()},
    )


@dataclass
class Ordering:
    """Makes orders for one deployment, as control would."""

    keys: Keys
    web: Web
    digest: str
    host: str = HOST
    deployment_id: str = field(default_factory=lambda: str(uuid4()))
    generation: int = 0

    def payload(self, kind: str, /, **changes: Any) -> dict[str, Any]:
        self.generation += 1
        now = datetime.now(UTC)
        soon = orders.time_to_text(now + timedelta(minutes=5))
        payload: dict[str, Any] = {
            "v": 1,
            "order_id": str(uuid4()),
            "kind": kind,
            "audience": self.host,
            "issued_at": orders.time_to_text(now),
            "expires_at": soon,
            "generation": self.generation,
            "deployment_id": self.deployment_id,
            "fence": 1,
        }
        if kind == "start":
            token = orders.make_artifact_token(
                version_id="1",
                digest=self.digest,
                audience=self.host,
                expires_at=now + timedelta(minutes=5),
                private_key=self.keys.order,
            )
            payload["decision"] = {
                "id": str(uuid4()),
                "environment": "pilot",
                "artifact_digest": self.digest,
                "expires_at": soon,
            }
            payload["artifact"] = {
                "url": self.web.url,
                "token": token,
                "digest": self.digest,
                "model_version": "tumours/3",
            }
            payload["engine"] = {"kind": "kserve", "options": {"model_name": "tumours", "threads": 1}}
        return payload | changes

    def make(self, kind: str, /, **changes: Any) -> dict[str, Any]:
        return orders.sign(self.payload(kind, **changes), private_key=self.keys.order)


@pytest.fixture
def ordering(keys: Keys, web: Web, model_folder: Path) -> Ordering:
    return Ordering(keys, web, orders.digest_of_folder(model_folder))


@dataclass
class Agent:
    """A Host on its own state folder; its reports are read off the spool, each with its signature checked."""

    host: Host
    keys: Keys
    make: Callable[[], Host]

    def reports(self, kind: str | None = None) -> list[dict[str, Any]]:
        envelopes = [json.loads(path.read_text()) for path in self.host.reporter.waiting()]
        payloads = [orders.verify(envelope, keys=self.keys.agent_public) for envelope in envelopes]
        return [payload["body"] for payload in payloads if kind in (None, payload["kind"])]

    def states(self) -> list[str]:
        return [body["state"] for body in self.reports("deployment")]

    def restart(self) -> None:
        self.host = self.make()


def unreachable(envelope: dict[str, Any], expires_s: float | None) -> None:
    raise ConnectionError("this test has no broker")


@pytest.fixture
def agent(keys: Keys, tmp_path: Path, engine_python: Path) -> Iterator[Agent]:
    settings = AgentSettings(
        host=HOST,
        state_dir=tmp_path / "agent",
        key_path=keys.folder / "agent.pem",
        order_keys=keys.order_public,
        engine_pythons={"kserve": engine_python},
        ready_timeout_s=60.0,
    )

    def make() -> Host:
        store = Store(settings.state_dir)
        reporter = Reporter(settings.state_dir, host=HOST, sign=OwnKey(settings.key_path).sign, send=unreachable)
        return Host(settings, store, reporter)

    running = Agent(make(), keys, make)
    yield running
    for state in running.host.store.all():
        if state.engine is not None:
            running.host.engines["kserve"].stop(state.engine)

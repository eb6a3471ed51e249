"""MLflow down, slow, restarted in the middle of a call: MLflow's own error format, a trail that tells, nothing half recorded."""

import contextlib
import json
import select
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from apps.registry.gateways import pool
from apps.registry.models import ModelVersion, RegisteredModel, VersionIntent
from tests.registry.conftest import text

pytestmark = pytest.mark.django_db
API = "/api/2.0/mlflow"


class Relay:
    """A TCP relay before the real MLflow that can misbehave: `mode` is pass, refuse, mute (takes requests, never answers), cut
    (breaks the connection when the request has been sent on), cut-answer (breaks it in the middle of the answer), upgrade (what stands before
    a server says while that is exchanged for another one)."""

    def __init__(self, target):
        self.target, self.mode, self.taken = target, "pass", 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            if self.mode == "refuse":
                near.close()
            else:
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        with contextlib.suppress(OSError), near, socket.create_connection(self.target) as far:
            while True:
                for ready in select.select([near, far], [], [], 30)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if ready is near:
                        self.taken += 1
                        if self.mode == "mute":
                            continue
                        if self.mode == "upgrade":
                            body = b"<html><h1>503 Service Unavailable</h1></html>"
                            near.sendall(b"HTTP/1.1 503 x\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                            continue
                        # MLflow answers to its own name alone.
                        far.sendall(data.replace(self.url[7:].encode(), b"%b:%d" % (self.target[0].encode(), self.target[1])))
                        if self.mode == "cut":
                            # MLflow gets it and does it; nobody hears of it.
                            far.recv(65536)
                            return
                    elif self.mode == "cut-answer":
                        near.sendall(data[: len(data) // 2])
                        return
                    else:
                        near.sendall(data)

    def close(self):
        self.server.close()


@pytest.fixture
def relay(settings, mlflow_is_up):
    parts = urlsplit(mlflow_is_up)
    made = Relay((parts.hostname, parts.port))
    settings.MLFLOW_URL = made.url
    settings.ALLOWED_HOSTS = ["*"]
    yield made
    made.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(pool, "READ_S", 3.0)


def said(answer):
    return answer.status_code, json.loads(text(answer))["error_code"]


@pytest.mark.parametrize(("mode", "status"), [("refuse", 502), ("mute", 504), ("cut", 502), ("upgrade", 502)])
def test_a_read_gets_an_answer_in_mlflows_format_and_leaves_no_trace(endpoint, relay, events, mode, status):
    caller = endpoint()
    relay.mode = mode
    before = len(events("registry.mlflow.written"))
    for path in (f"{API}/registered-models/get?name=x", f"{API}/registered-models/search?max_results=5", f"{API}/runs/get?run_id={'a' * 32}"):
        assert said(caller("GET", path)) == (status, "TEMPORARILY_UNAVAILABLE"), path
    assert len(events("registry.mlflow.written")) == before


@pytest.mark.parametrize(
    ("mode", "status", "tells", "done"),
    [
        ("refuse", 502, "may have been done", False), ("mute", 504, "may have been done", False),
        ("cut", 502, "may have been done", True), ("cut-answer", 502, "may have been done", True),
    ],
)  # fmt: skip
def test_a_write_whose_answer_is_lost_is_told_in_the_trail_and_recorded_nowhere_else(
    endpoint, relay, events, name, behind_the_back, mode, status, tells, done
):
    caller = endpoint()
    relay.mode = mode
    assert said(caller("POST", f"{API}/registered-models/create", {"name": name})) == (status, "TEMPORARILY_UNAVAILABLE")
    assert len(events("registry.mlflow.written", name)) == 1
    failed = events("registry.mlflow.failed", name)
    assert len(failed) == 1 and tells in failed[0].payload
    assert not RegisteredModel.objects.filter(name=name).exists()
    relay.mode = "pass"
    assert (behind_the_back.get(f"{API}/registered-models/get", params={"name": name}).status_code == 200) is done
    again = caller("POST", f"{API}/registered-models/create", {"name": name})
    assert again.status_code == (400 if done else 200), text(again)


def test_a_server_that_is_exchanged_in_mid_request_records_nothing_and_serves_on_afterwards(endpoint, relay, events, name):
    caller = endpoint()
    assert caller("POST", f"{API}/registered-models/create", {"name": name}).status_code == 200
    relay.mode = "upgrade"
    assert said(caller("POST", f"{API}/registered-models/set-tag", {"name": name, "key": "team", "value": "care"})) == (502, "TEMPORARILY_UNAVAILABLE")
    failed = events("registry.mlflow.failed", name)
    assert len(failed) == 1 and "503" in failed[0].payload
    assert RegisteredModel.objects.get(name=name).tags == {}
    relay.mode = "pass"
    # A connection that was kept from before may end with the old server: then the write is refused in words, and sent again by whoever asked.
    tries = (caller("POST", f"{API}/registered-models/set-tag", {"name": name, "key": "team", "value": "care"}).status_code for _ in range(4))
    assert next((status for status in tries if status != 502), 502) == 200
    assert caller("GET", f"{API}/registered-models/get?name={name}").status_code == 200


def test_a_server_that_is_not_there_gets_nothing_and_the_trail_says_so(endpoint, settings, events, name):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    settings.MLFLOW_URL = f"http://127.0.0.1:{port}"
    assert said(endpoint()("POST", f"{API}/registered-models/create", {"name": name})) == (502, "TEMPORARILY_UNAVAILABLE")
    assert "Nothing was sent" in events("registry.mlflow.failed", name)[0].payload


def test_a_version_made_while_the_answer_is_lost_keeps_its_intent_and_its_author(endpoint, register, relay, make_user, name, monkeypatch):
    from apps.registry import services

    # MLflow takes its time on a busy machine; it is the answer that is to be lost here, not patience.
    monkeypatch.setattr(pool, "READ_S", 60.0)

    user = make_user("ml_engineer")
    caller = endpoint(user)
    made = register(caller)
    relay.mode = "cut"
    body = {"name": made.name, "source": f"mlflow-artifacts:/{made.root}", "run_id": made.run_id}
    assert caller("POST", f"{API}/model-versions/create", body).status_code == 502
    assert not ModelVersion.objects.filter(model__name=made.name, version=2).exists()
    assert VersionIntent.objects.filter(model_name=made.name, version=None).count() == 1
    relay.mode = "pass"
    row = services.sync_version(name=made.name, version=2)
    assert row.author_user == user


def test_a_restarted_server_is_met_with_new_connections(endpoint, relay):
    caller = endpoint()
    for _ in range(3):
        assert caller("GET", f"{API}/experiments/search?max_results=1").status_code == 200
    relay.mode = "refuse"
    for home in list(pool._pools.values()):
        if home.url.geturl() == relay.url:
            for _, kept in home._idle:
                kept.close()
            home._idle.clear()
    assert caller("GET", f"{API}/experiments/search?max_results=1").status_code == 502
    relay.mode = "pass"
    assert caller("GET", f"{API}/experiments/search?max_results=1").status_code == 200


def test_an_upload_that_breaks_off_upstream_is_told(endpoint, register, relay, events):
    caller = endpoint()
    made = register(caller)
    path = f"{made.root.removesuffix('/model')}/late.txt"
    relay.mode = "mute"
    started = time.monotonic()
    answer = caller("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", raw=b"x" * 100_000, content_type="application/octet-stream")
    assert answer.status_code == 504 and time.monotonic() - started < 15
    assert "may have been done" in events("registry.mlflow.failed", path)[0].payload


def test_a_connection_whose_answer_broke_off_is_not_used_again(settings):
    """However the answer is cut: after its headers, within its body, within its headers."""
    from apps.registry.gateways import forward

    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"whole": 1}\n'
    server = socket.create_server(("127.0.0.1", 0))
    settings.MLFLOW_URL = f"http://127.0.0.1:{server.getsockname()[1]}"
    headers = whole.index(b"\r\n\r\n") + 4
    cuts = [headers, headers + 5, 40, None]

    def serve():
        for cut in cuts:
            near, _ = server.accept()
            with near:
                near.recv(65536)
                near.sendall(whole[:cut])

    threading.Thread(target=serve, daemon=True).start()
    for _ in cuts[:-1]:
        with pytest.raises(forward.MlflowUnreachable), forward.send("GET", "/", headers={}) as answer:
            answer.read(1000)
    with forward.send("GET", "/", headers={}) as answer:
        assert answer.read(1000) == b'{"whole": 1}\n'
    server.close()

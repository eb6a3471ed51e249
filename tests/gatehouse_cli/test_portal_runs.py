import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gatehouse_cli import demo_file, guard, portal_runs, roles
from gatehouse_cli.programs import External
from gatehouse_cli.stack import Stack, StackError


@pytest.fixture
def endpoint() -> Iterator[dict[str, Any]]:
    """An endpoint that is not ready twice and then predicts, as demo.json describes it."""
    answers, asked = [503, 404, 200], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.headers["Authorization"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(answers.pop(0))
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield {"infer_url": f"http://127.0.0.1:{server.server_port}/v2/models/m/infer", "api_key": "k", "example_request": {"a": 1}, "asked": asked}
    server.shutdown()


def test_a_second_start_waits_until_the_endpoint_predicts(endpoint: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    portal_runs._endpoint_answers({"endpoint": endpoint}, patience_s=20)
    assert endpoint["asked"] == [("Bearer k", {"a": 1})] * 3
    assert "the sample endpoint answers" in capsys.readouterr().out


def test_an_endpoint_that_stays_silent_is_named_and_does_not_stop_the_start(capsys: pytest.CaptureFixture[str]):
    silent = {"infer_url": "http://127.0.0.1:1/v2/models/m/infer", "api_key": "k", "example_request": {}}
    portal_runs._endpoint_answers({"endpoint": silent | {"example_request": {"a": 1}}}, patience_s=0.3)
    assert "does not answer yet" in capsys.readouterr().out


def test_an_earlier_story_gets_todays_addresses():
    endpoint = {"infer_url": "http://127.0.0.1:1/v2/models/m/infer", "api_key": "k"}
    known = {"ready": True, "gateway_url": "http://127.0.0.1:1", "endpoint": endpoint}
    now = {"base_url": "http://127.0.0.1:3", "gateway_url": "http://127.0.0.1:2"}
    result = portal_runs.moved(known, now)
    assert result["endpoint"] == {"infer_url": "http://127.0.0.1:2/v2/models/m/infer", "api_key": "k"}
    assert result["base_url"] == "http://127.0.0.1:3"
    assert result["ready"] is True


def test_addresses_of_services_that_somebody_else_runs_are_not_given_away(tmp_path: Path):
    external = External(database_url="postgresql://u:p@db/x", redis_url="redis://:p@r/0", mlflow_url="http://m:5000")
    stack = Stack(tmp_path / "portal", external=external)
    stack.prepare()
    assert stack.names() == ["web", "seal", "control", "relay", "schedule", "agent", "gateway"]
    known = portal_runs.connections(stack)
    assert known["database_app_url"] is known["database_superuser_url"] is known["broker_url"] is None
    assert stack.env("web")["DATABASE_URL"] == "postgresql://u:p@db/x"
    assert stack.env("web")["GATEHOUSE_MLFLOW_URL"] == "http://m:5000"


@pytest.mark.parametrize(
    ("variable", "external"),
    [
        ("DATABASE_URL", External(database_url="postgresql://u:p@127.0.0.1:1/x")),
        ("REDIS_URL", External(redis_url="redis://127.0.0.1:1/0")),
        ("GATEHOUSE_MLFLOW_URL", External(mlflow_url="http://127.0.0.1:1")),
    ],
)
def test_a_named_service_that_does_not_answer_is_refused_before_anything_starts(tmp_path: Path, variable: str, external: External):
    stack = Stack(tmp_path / "portal", external=external, durable=False)
    with pytest.raises(StackError, match=f"What {variable} names does not answer"):
        stack.up()
    assert stack.state() == {}


def test_a_private_portal_gives_each_process_its_own_role(tmp_path: Path):
    stack = Stack(tmp_path / "portal", demo=True, durable=False)
    stack.prepare()
    assert "gatehouse_web:" in stack.env("web")["DATABASE_URL"]
    assert "gatehouse_control:" in stack.env("control")["DATABASE_URL"]
    assert "gatehouse_seal:" in stack.env("seal")["DATABASE_URL"]
    assert "GATEHOUSE_ORDER_KEY" in stack.env("control")
    assert not {"GATEHOUSE_ORDER_KEY", "GATEHOUSE_SEAL_KEY"} & stack.env("web").keys()
    assert stack.env("web")["GATEHOUSE_DEMO"] == "1"
    again = Stack(stack.data.root)
    again.attach()
    assert again.env("web")["GATEHOUSE_DEMO"] == "1"


def test_a_command_ends_with_the_launcher(tmp_path: Path):
    with pytest.raises(portal_runs.Ended):
        before = signal.signal(signal.SIGALRM, lambda number, frame: (_ for _ in ()).throw(portal_runs.Ended(number)))
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            portal_runs.child(["sh", "-c", f"trap 'echo ended > {tmp_path}/told; exit' TERM; while :; do sleep 0.05; done"], {"PATH": "/usr/bin:/bin"})
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "told").read_text() == "ended\n"


def test_role_passwords_come_from_the_urls_of_a_production_installation():
    urls = {f"{role.upper()}_DATABASE_URL": f"postgresql://{role}:p%40ss@db:5432/gatehouse" for role in roles.LOGIN_ROLES}
    assert set(roles.passwords_from_environment(urls).values()) == {"p@ss"}
    with pytest.raises(SystemExit, match="GATEHOUSE_SEAL_DATABASE_URL must read postgresql://gatehouse_seal:"):
        roles.passwords_from_environment(urls | {"GATEHOUSE_SEAL_DATABASE_URL": "postgresql://postgres:x@db/gatehouse"})


@pytest.fixture
def told(stack: Stack) -> Stack:
    """A folder in which the sample story was told and whose portal was then killed: demo.json says what it said last."""
    stack.prepare()
    demo_file.write(stack.data, {"ready": True, "accounts": []})
    return stack


def test_a_start_takes_back_what_a_killed_portal_had_said(told: Stack):
    told.start("valkey")
    assert demo_file.read(told.data) == {"ready": False, "told": True, "accounts": []}


def test_a_portal_is_ready_while_it_answers_and_no_longer(told: Stack, monkeypatch: pytest.MonkeyPatch):
    seen: list[bool] = []
    monkeypatch.setattr(portal_runs, "_endpoint_answers", lambda known: seen.append(demo_file.read(told.data)["ready"]))
    told.start("valkey")
    assert portal_runs.tell_story(told, check=False) == 0
    known = demo_file.read(told.data)
    assert known["ready"] and known["base_url"] == told.base_url
    assert seen == [False], "not before the endpoint answers"
    told.stop()
    assert demo_file.read(told.data)["ready"] is False
    assert demo_file.told(demo_file.read(told.data))


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_a_portal_it_is_not_ready_from_that_moment(told: Stack, end: signal.Signals):
    told.start("valkey")
    demo_file.write(told.data, {"ready": True})
    os.kill(guard.running(told.data), end)
    deadline = time.monotonic() + 30
    while guard.running(told.data):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert demo_file.read(told.data)["ready"] is False


def test_a_story_that_is_told_anew_is_not_told_until_its_end(told: Stack):
    demo_file.write(told.data, {"ready": False, "told": False})
    assert not demo_file.told(demo_file.read(told.data))
    (told.data.root / "demo.json").write_text("[")
    demo_file.withdraw(told.data)
    assert demo_file.read(told.data) == {}

"""What the web process writes: one JSON object a line, gunicorn's own lines too."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from portal.logs import JsonFormatter

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-k", "gthread", "--workers", "1", "--threads", "2", "--preload", "--no-control-socket"]


@pytest.fixture
def served(tmp_path):
    """Start gunicorn with more flags, ask it these paths, end it: (standard output, standard error), as objects."""

    def serve(*flags, paths=()):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "portal.wsgi:application", *FLAGS, "--bind", f"127.0.0.1:{port}"]
        command += ["--logger-class", "portal.gunicorn_logs.JsonLogger", *flags]
        environment = {**os.environ, "GATEHOUSE_DATA": str(tmp_path), "GATEHOUSE_ALLOWED_HOSTS": "127.0.0.1"}
        out, err = tmp_path / "out", tmp_path / "err"
        with out.open("w") as first, err.open("w") as second:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=first, stderr=second)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": "Bearer not-to-be-seen"}) as client:
                until = time.monotonic() + 60
                while not any("Listening" in line for line in err.read_text().splitlines()):
                    assert time.monotonic() < until and process.poll() is None, err.read_text()
                    time.sleep(0.1)
                for path in paths:
                    client.get(path, headers={"X-Request-Id": "asked-by-a-test"}, timeout=60)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        return [[json.loads(line) for line in path.read_text().splitlines()] for path in (out, err)]

    return serve


def test_gunicorns_lines_are_json_and_requests_are_not_logged_unless_asked_for(served):
    out, err = served(paths=["/healthz"])
    assert not out and err and all(list(line)[:4] == ["at", "level", "logger", "message"] for line in err)
    said = [line for line in err if line["logger"] == "gunicorn.error"]
    assert any("Listening at: http://127.0.0.1" in line["message"] and line["level"] == "info" for line in said)
    assert any("Handling signal: term" in line["message"] for line in said)


def test_an_access_log_names_request_answer_and_time_and_no_query_or_header(served):
    out, _ = served("--access-logfile", "-", paths=["/healthz?token=not-to-be-seen"])
    (line,) = [line for line in out if line["logger"] == "gunicorn.access"]
    known = {"method": "GET", "path": "/healthz", "status": 200, "address": "127.0.0.1", "request_id": "asked-by-a-test"}
    assert known.items() <= line.items() and line["bytes"] > 0 and line["took_ms"] >= 0
    assert line["message"] == "GET /healthz 200" and "not-to-be-seen" not in json.dumps(out)


def test_a_line_holds_its_request_its_fields_and_its_exception():
    import logging

    from portal.logs import request_id

    made = JsonFormatter()
    token = request_id.set("r-12345678")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "went %s", ("wrong",), sys.exc_info(), extra={"event": {"n": 3}}
        )
        text = made.format(record)
    finally:
        request_id.reset(token)
    line = json.loads(text)
    assert "\n" not in text and (line["message"], line["level"], line["request_id"], line["n"]) == ("went wrong", "error", "r-12345678", 3)
    assert "ValueError: two\nlines" in line["exception"]
    assert "request_id" not in json.loads(made.format(logging.makeLogRecord({"msg": "later"})))

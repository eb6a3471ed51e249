import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gatehouse_cli import client


class Portal:
    """A real HTTP server that answers as told and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.answers: list[tuple[int, Any, dict[str, str]]] = []
        portal = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                portal.asked.append((self.command, self.path, dict(self.headers), json.loads(body) if body else None))
                status, answer, headers = portal.answers.pop(0)
                raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_PATCH = _answer

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def will(self, answer: Any, status: int = 200, **headers: str) -> None:
        self.answers.append((status, answer, {name.replace("_", "-"): value for name, value in headers.items()}))


@pytest.fixture
def portal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    made = Portal()
    monkeypatch.setenv("GATEHOUSE_URL", made.url)
    monkeypatch.setenv("GATEHOUSE_TOKEN", "ghp_secret")
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    yield made
    made.server.shutdown()


def test_a_list_follows_its_pages_and_prints_json(portal: Portal, capsys: pytest.CaptureFixture[str]):
    portal.will({"results": [{"slug": "a"}], "next": f"{portal.url}/api/v1/usecases/?cursor=x"})
    portal.will({"results": [{"slug": "b"}], "next": None})
    assert client.main(["usecase", "list"]) == client.DONE
    assert [row["slug"] for row in json.loads(capsys.readouterr().out)] == ["a", "b"]
    assert portal.asked[0][2]["Authorization"] == "Bearer ghp_secret"


def test_the_token_does_not_follow_a_link_to_another_host(portal: Portal, capsys: pytest.CaptureFixture[str]):
    portal.will({"results": [], "next": "http://127.0.0.1:1/api/v1/usecases/"})
    assert client.main(["usecase", "list"]) == client.UNREACHABLE
    assert "another host" in capsys.readouterr().err


def test_the_token_does_not_follow_a_redirect(portal: Portal, capsys: pytest.CaptureFixture[str]):
    portal.will({}, 302, Location="http://127.0.0.1:1/")
    assert client.main(["whoami"]) == client.UNREACHABLE
    assert len(portal.asked) == 1


def test_the_token_is_not_sent_unencrypted(monkeypatch: pytest.MonkeyPatch, portal: Portal, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("GATEHOUSE_URL", "http://gatehouse.example.org")
    assert client.main(["whoami"]) == client.USAGE
    assert "https://" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, client.REFUSED), (401, client.NOT_ALLOWED), (403, client.NOT_ALLOWED),
        (404, client.NOT_FOUND), (409, client.CONFLICT), (500, client.UNREACHABLE),
    ],
)  # fmt: skip
def test_a_refusal_goes_to_standard_error_and_sets_the_exit_code(
    portal: Portal, capsys: pytest.CaptureFixture[str], status: int, code: int
):
    portal.will({"title": "No", "status": status, "detail": "owner: name a person"}, status, Content_Type="application/problem+json")
    assert client.main(["usecase", "show", "x/../y"]) == code
    captured = capsys.readouterr()
    assert json.loads(captured.err)["detail"] == "owner: name a person"
    assert captured.out == ""
    assert portal.asked[0][1] == "/api/v1/usecases/x%2F..%2Fy/"


def test_a_post_is_tried_again_with_the_same_key_only_when_the_caller_gave_it(portal: Portal):
    portal.will({}, 502)
    assert client.main(["gate", "request", "1"]) == client.UNREACHABLE
    assert len(portal.asked) == 1
    portal.will({}, 502)
    portal.will({"id": "1", "state": "open"})
    assert client.main(["gate", "request", "1", "--idempotency-key", "build-7"]) == client.DONE
    assert [asked[2]["Idempotency-Key"] for asked in portal.asked[1:]] == ["build-7", "build-7"]


def test_a_version_is_named_and_its_rollout_waited_for(portal: Portal):
    portal.will({"id": "r", "state": "in_progress"}, 201)
    portal.will({"id": "r", "state": "completed"})
    words = ["deploy", "request", "--endpoint", "fraud", "--version", "fraud/3", "--strategy", "canary", "--steps", "10,100", "--wait"]
    assert client.main(words) == client.DONE
    assert portal.asked[0][3] == {"endpoint": "fraud", "model": "fraud", "version": 3, "strategy": "canary", "steps": [10, 100]}
    assert portal.asked[1][1] == "/api/v1/rollouts/r/"


def test_an_export_names_the_use_case_by_its_slug_and_is_written_as_it_came(portal: Portal, tmp_path: Path):
    portal.will({"id": "0190"})
    portal.will(b"PK-zip", Content_Type="application/zip")
    assert client.main(["audit", "export", "--usecase", "fraud", "--output", str(tmp_path / "trail.zip")]) == client.DONE
    assert portal.asked[1][3] == {"usecase_id": "0190"}
    assert (tmp_path / "trail.zip").read_bytes() == b"PK-zip"


def test_waiting_ends_with_the_decision(portal: Portal, capsys: pytest.CaptureFixture[str]):
    for state in ("open", "open", "rejected"):
        portal.will({"id": "g", "state": state})
    assert client.main(["gate", "wait", "g"]) == client.REFUSED
    assert json.loads(capsys.readouterr().out)["state"] == "rejected"


def test_waiting_too_long_says_so(portal: Portal, capsys: pytest.CaptureFixture[str]):
    portal.will({"id": "g", "state": "open"})
    assert client.main(["gate", "wait", "g", "--timeout", "0"]) == client.TOO_LATE


def test_the_password_of_a_signature_is_read_and_never_an_argument(portal: Portal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("pass word\n"))
    portal.will({"id": "s"}, 201)
    words = ["gate", "sign", "g", "--function", "risk", "--meaning", "approved", "--evidence-digest", "d"]
    assert client.main(words) == client.DONE
    assert portal.asked[0][3] == {"function": "risk", "meaning": "approved", "evidence_digest": "d", "password": "pass word"}
    with pytest.raises(SystemExit):
        client.main([*words, "--password", "x"])


def test_a_portal_that_is_not_there_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("GATEHOUSE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("GATEHOUSE_TOKEN", "ghp_secret")
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    assert client.main(["whoami"]) == client.UNREACHABLE
    assert "ghp_secret" not in capsys.readouterr().err


def test_without_a_token_it_says_where_to_get_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("GATEHOUSE_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("GATEHOUSE_TOKEN", raising=False)
    assert client.main(["whoami"]) == client.USAGE
    assert "account page" in capsys.readouterr().err

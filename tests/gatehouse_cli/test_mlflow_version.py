"""The launcher's view of the MLflow server's version."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import pytest

from gatehouse_cli import doctor


@pytest.fixture
def saying() -> Iterator[Callable[[str], str]]:
    """saying("3.0") -> address of a server that says so at /version."""
    servers = []

    def make(text: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shown = self.headers.get("Authorization") == "Bearer its-token"
                self.send_response(401 if not shown else 200 if self.path == "/version" and text else 404)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args: object) -> None:
                """Quiet."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_pinned_version_is_fine(saying):
    (found,) = doctor.look_at_mlflow(saying(version("mlflow")), "its-token")
    assert (found.subject, found.state, found.found) == ("mlflow version", "ok", version("mlflow"))


def test_another_one_is_wrong_and_says_what_to_do(saying):
    (found,) = doctor.look_at_mlflow(saying("9.0.0"), "its-token")
    assert found.state == "wrong" and found.found == f"9.0.0, not {version('mlflow')}" and "run that version" in found.remedy


def test_a_server_that_does_not_say_is_not_judged_by_it(saying):
    assert list(doctor.look_at_mlflow(saying(""), "its-token")) == []


def test_without_its_token_nothing_is_said(saying):
    assert list(doctor.look_at_mlflow(saying("9.0.0"), "another")) == list(doctor.look_at_mlflow(saying("9.0.0"))) == []

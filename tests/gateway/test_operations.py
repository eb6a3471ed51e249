"""Health, metrics, slow clients, and an environment without the portal."""

import socket
import subprocess

from tests.gateway.support import (
    GATEWAY_PYTHON,
    ROOT,
    Engine,
    GatewayProcess,
    Portal,
    columns,
    endpoint,
    new_key,
)


def test_the_gateway_runs_where_django_and_the_portal_are_not_installed(
    gateway: GatewayProcess,
) -> None:
    program = (
        "import pathlib, importlib, sys\n"
        "for path in pathlib.Path('gateway').glob('*.py'):\n"
        "    if path.stem != '__main__':\n"
        "        importlib.import_module('gateway.' + path.stem)\n"
        "import gateway.__main__\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not roots & {'django', 'apps', 'portal', 'celery', 'celery_worker', 'mlflow'}, roots\n"
        "for name in ('django', 'celery', 'mlflow', 'rest_framework'):\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ImportError:\n"
        "        continue\n"
        "    raise SystemExit(name + ' is installed here')\n"
    )
    done = subprocess.run([GATEWAY_PYTHON, "-c", program], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert gateway.get("/healthz").status == 200, "and it does not only import, it serves"


def test_health_needs_no_key(gateway: GatewayProcess) -> None:
    assert gateway.get("/healthz").json == {"status": "ok"}
    assert gateway.get("/v2/health/live").json == {"live": True}
    ready = gateway.get("/v2/health/ready")
    assert ready.status == 200
    assert ready.json["ready"] is True
    assert ready.json["snapshot"]["fresh"] is True
    assert gateway.get("/v2").json["name"] == "gatehouse-gateway"


def test_metrics_count_what_happened_and_only_for_this_machine(
    gateway: GatewayProcess, portal: Portal, engine: Engine
) -> None:
    key = new_key()
    gateway.uses_version(portal.publish(endpoint("measured", [key], [engine.route()])))
    for _ in range(3):
        gateway.infer("measured", key, columns(a=[1.0]))
    gateway.infer("measured", new_key(), columns(a=[1.0]))
    text = gateway.get("/metrics").body.decode()
    deployment = engine.route()["deployment_id"]
    name = "gatehouse_gateway_requests_total"
    assert f'{name}{{endpoint="measured",deployment="{deployment}",status="200"}} 3.0' in text
    assert f'{name}{{endpoint="",deployment="",status="401"}}' in text
    assert 'gatehouse_gateway_latency_seconds_count{endpoint="measured"} 3' in text
    assert 'gatehouse_gateway_latency_seconds_bucket{endpoint="measured",le="+Inf"} 3' in text
    assert key not in text
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        assert gateway.get("/metrics", headers={header: "10.1.2.3"}).status == 404


def test_a_client_that_never_finishes_its_request_is_let_go(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_portal.publish(endpoint("claims", [key], [engine.route()]))
    own_gateway.extra = {
        "GATEHOUSE_GATEWAY_HEAD_TIMEOUT_S": "1",
        "GATEHOUSE_GATEWAY_BODY_TIMEOUT_S": "1",
    }
    own_gateway.start()
    with socket.create_connection(("127.0.0.1", own_gateway.port), 30) as silent:
        silent.settimeout(30)
        assert silent.recv(100) == b"", "a connection without a request is closed"
    with socket.create_connection(("127.0.0.1", own_gateway.port), 30) as slow:
        slow.settimeout(30)
        slow.sendall(b"POST /v2/models/claims/infer HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert slow.recv(100) == b"", "half a head is closed"
    with socket.create_connection(("127.0.0.1", own_gateway.port), 30) as slow:
        slow.settimeout(30)
        slow.sendall(
            b"POST /v2/models/claims/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            + f"Authorization: Bearer {key}\r\n\r\n{{".encode()
        )
        answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer
    assert own_gateway.infer("claims", key, columns(a=[1.0])).status == 200


def test_an_endless_head_is_cut_off(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as endless:
        endless.settimeout(30)
        closed = False
        try:
            endless.sendall(b"GET / HTTP/1.1\r\nX-Endless: ")
            for _ in range(200):
                endless.sendall(b"a" * 4096)
            closed = endless.recv(100) == b""
        except (BrokenPipeError, ConnectionResetError):
            closed = True
        assert closed
    assert gateway.get("/healthz").status == 200


def test_beyond_the_most_in_flight_callers_are_told_to_come_again(
    own_gateway: GatewayProcess, own_portal: Portal, engine: Engine
) -> None:
    key = new_key()
    own_gateway.extra = {"GATEHOUSE_GATEWAY_MAX_IN_FLIGHT": "1"}
    own_portal.publish(endpoint("claims", [key], [engine.route()]))
    own_gateway.start()
    with socket.create_connection(("127.0.0.1", own_gateway.port), 30) as held:
        held.sendall(
            b"POST /v2/models/claims/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            + f"Expect: 100-continue\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        assert held.recv(100).startswith(b"HTTP/1.1 100"), "the first request is let in and awaited"
        full = own_gateway.infer("claims", key, columns(a=[1.0]))
        assert (full.status, full.json["code"]) == (503, "overloaded")
        assert full.headers["retry-after"] == "1"

"""Default deny: what is not on the list, and every other way to write a path that is."""

import json

import httpx
import pytest

from apps.registry.gateways import forward
from apps.registry.machine import paths
from apps.registry.machine.routes import refused
from tests.registry.conftest import text

pytestmark = pytest.mark.django_db

NOT_SERVED = [
    ("GET", "/index.html"),
    ("GET", "/metrics"),
    ("GET", "/api/2.0/mlflow/experiments/search-datasets"),
    ("POST", "/api/2.0/mlflow/experiments/search-datasets"),
    ("PUT", "/api/2.0/mlflow/runs/get"),
    ("GET", "/api/4.0/mlflow/runs/get"),
    ("POST", "/api/3.0/mlflow/runs/create"),
    ("TRACE", "/health"),
    ("OPTIONS", "/api/2.0/mlflow/runs/create"),
    ("HEAD", "/api/2.0/mlflow/runs/get"),
    ("HEAD", "/"),
]
DENIED = [
    (method, path.replace("{}", "a"))
    for name in refused.NAMED
    for method, path in refused.lines(name)
]  # fmt: skip
TRICKS = [
    "//api/2.0/mlflow/experiments/search",
    "/api//2.0/mlflow/experiments/search",
    "/api/2.0/mlflow/experiments/search/",
    "/api/2.0/mlflow/./experiments/search",
    "/api/2.0/mlflow/runs/../experiments/search",
    "/api/2.0/mlflow/runs/%2e%2e/experiments/search",
    "/api/2.0/mlflow/runs/%252e%252e/experiments/search",
    "/api/2.0/mlflow\\experiments\\search",
    "/api/2.0/mlflow/experiments/search%00",
    "/api/2.0/mlflow/experiments/search%0a",
    "/API/2.0/mlflow/experiments/search",
    "/api/2.0/mlflow/experiments/search;x=1",
]


@pytest.mark.parametrize(("method", "path"), NOT_SERVED)
def test_what_is_not_on_the_list_is_refused_even_to_an_administrator(endpoint, monkeypatch, method, path):
    monkeypatch.setattr(forward, "send", lambda *a, **k: pytest.fail("it went on to MLflow"))
    answer = endpoint("admin")(method, path)
    assert answer.status_code in {400, 403, 405}
    if method != "HEAD":
        assert len(json.loads(text(answer))["message"]) > 30


def test_what_is_refused_by_name_is_refused_under_both_prefixes_with_its_own_sentence(endpoint, monkeypatch):
    monkeypatch.setattr(forward, "send", lambda *a, **k: pytest.fail("it went on to MLflow"))
    caller = endpoint("admin")
    for method, path in DENIED:
        for spelled in {path, path.replace("/api/", "/ajax-api/")} if not path.endswith("/") else ():
            answer = caller(method, spelled)
            status, sentence = refused.NAMED[refused.name_of(method, path)][:2]
            assert (answer.status_code, json.loads(text(answer))["message"]) == (status, sentence), (method, spelled)


@pytest.mark.parametrize("path", TRICKS)
def test_another_spelling_of_an_admitted_path_is_refused(endpoint, monkeypatch, path):
    monkeypatch.setattr(forward, "send", lambda *a, **k: pytest.fail("it went on to MLflow"))
    assert endpoint("admin")("GET", path).status_code in {400, 403}


@pytest.mark.parametrize("raw", ["/mlflow/api%2f2.0/mlflow/runs/get", "/mlflow/api/2.0%5Cmlflow", "/mlflow/a/%2E%2E/b", "/mlflow/%252e"])
def test_encoded_slashes_and_dots_are_refused_as_they_came_over_the_wire(endpoint, raw):
    answer = endpoint()("GET", "/api/2.0/mlflow/runs/get", RAW_URI=raw)
    assert answer.status_code == 400 and "encoded" in text(answer)


def test_refused_writes_are_in_the_trail_and_refused_reads_are_not(endpoint, events):
    caller = endpoint()
    before = len(events("registry.mlflow.denied"))
    caller("GET", "/graphql")
    assert len(events("registry.mlflow.denied")) == before
    caller("POST", "/api/2.0/mlflow/webhooks", {"name": "x"})
    assert len(events("registry.mlflow.denied")) == before + 1


def test_deleting_says_who_may(endpoint, register):
    made = register(endpoint())
    said = json.loads(text(endpoint()("POST", "/api/2.0/mlflow/runs/delete", {"run_id": made.run_id})))
    assert said["error_code"] == "PERMISSION_DENIED" and "Only an administrator" in said["message"]


def test_a_path_parameter_that_climbs_is_refused(endpoint):
    for value in ("../../etc", "1/%2e%2e/2", "a//b", "a\\b"):
        assert endpoint()("GET", f"/api/2.0/mlflow-artifacts/artifacts?path={value}").status_code == 400


@pytest.mark.parametrize("role", ["ml_engineer", "approver:risk", "auditor", "admin"])
def test_people_who_work_with_models_may_read(endpoint, role):
    answer = endpoint(role)("GET", "/api/2.0/mlflow/experiments/search?max_results=1")
    assert answer.status_code == 200 and "experiments" in json.loads(text(answer))


@pytest.mark.parametrize(("role", "scopes"), [("ml_engineer", ("read", "write")), ("admin", ("read",))])
def test_others_may_not_read(endpoint, role, scopes):
    answer = endpoint(role, scopes=scopes)("GET", "/api/2.0/mlflow/experiments/search?max_results=1")
    assert answer.status_code == 403 and json.loads(text(answer))["error_code"] == "PERMISSION_DENIED"


@pytest.mark.parametrize("token", ["", "ghp_00000000_nonsense", "nonsense"])
def test_without_a_known_token_there_is_nothing(endpoint, token):
    caller = endpoint()
    caller.token = token
    answer = caller("GET", "/api/2.0/mlflow/experiments/search")
    assert answer.status_code == 401 and json.loads(text(answer))["error_code"] == "UNAUTHENTICATED"
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"name": "a", "name": "b"}', "twice"),
        (b'{"name": "a", "tags": [{"key": "x", "key": "y"}]}', "twice"),
        (b'["name"]', "not an object"),
        (b'"{\\"name\\": \\"a\\"}"', "not an object"),
        (b"{not json", "not JSON"),
        (b'{"name": "a", "value": NaN}', "NaN"),
        (b'{"name": "a", "value": 1e999}', "out of range"),
        (b'{"a":' * 60_000 + b"1" + b"}" * 60_000, "not JSON"),
    ],
)
def test_a_body_that_two_readers_could_read_differently_is_refused(endpoint, monkeypatch, raw, why):
    monkeypatch.setattr(forward, "send", lambda *a, **k: pytest.fail("it went on to MLflow"))
    answer = endpoint()("POST", "/api/2.0/mlflow/registered-models/create", raw=raw)
    assert answer.status_code == 400 and why in text(answer)


def test_a_body_of_another_type_is_refused(endpoint):
    answer = endpoint()("POST", "/api/2.0/mlflow/registered-models/create", raw=b"name=x", content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 400 and "application/json" in text(answer)


def test_a_write_with_a_query_is_refused(endpoint):
    assert endpoint()("POST", "/api/2.0/mlflow/registered-models/create?name=other", {"name": "x"}).status_code == 400


def test_more_json_than_one_call_may_carry_is_refused(endpoint):
    answer = endpoint()("POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": "x" * 9_000_000})
    assert answer.status_code == 413 and "8 MiB" in text(answer)


def test_mlflow_is_told_nothing_of_the_callers_own_headers(endpoint, monkeypatch):
    seen = {}
    real = forward.send

    def spy(method, path, *, headers, **more):
        seen.update(headers)
        return real(method, path, headers=headers, **more)

    monkeypatch.setattr(forward, "send", spy)
    extra = {
        "HTTP_ORIGIN": "https://evil.example",
        "HTTP_COOKIE": "a=b",
        "HTTP_X_FORWARDED_FOR": "127.0.0.1",
        "HTTP_X_FORWARDED_HOST": "evil",
    }
    answer = endpoint()("GET", "/api/2.0/mlflow/experiments/search?max_results=1", REMOTE_ADDR="203.0.113.9", **extra)
    assert answer.status_code == 200
    assert seen["X-Forwarded-For"] == "203.0.113.9"
    assert not {"Origin", "Cookie", "Authorization", "X-Forwarded-Host"} & set(seen)


def test_mlflow_down_is_a_502_in_its_own_error_format(endpoint, settings, events):
    settings.MLFLOW_URL = "http://127.0.0.1:9"
    caller = endpoint()
    for method, path in (("GET", "/api/2.0/mlflow/experiments/search"), ("POST", "/api/2.0/mlflow/registered-models/create")):
        answer = caller(method, path, {"name": "nobody"} if method == "POST" else None)
        assert answer.status_code == 502 and json.loads(text(answer))["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert "Nothing was sent" in events("registry.mlflow.failed", "nobody")[-1].payload


def test_a_long_query_goes_through(endpoint):
    query = "&".join(f"run_ids={i:032x}" for i in range(300))
    answer = endpoint()("GET", f"/api/2.0/mlflow/metrics/get-history-bulk-interval?metric_key=x&max_results=5&{query}")
    assert len(query) > 8_190 and json.loads(text(answer)).get("error_code") != "PERMISSION_DENIED"


def test_a_normal_path_is_sent_on_as_it_was_matched():
    path = paths.normal("/api/2.0/mlflow-artifacts/artifacts/1/a b/ü.txt")
    assert httpx.URL(f"http://x{paths.wire(path)}").path == path

"""Every way we know to say one thing to a gate and another to MLflow behind it."""

import http.client
import json

import pytest
from guardian.shortcuts import assign_perm

from apps.registry.gateways import forward, pool
from apps.registry.machine import spans
from apps.registry.models import RegisteredModel
from tests.registry.conftest import text
from tests.registry_endpoint.governed import govern

pytestmark = pytest.mark.django_db
API = "/api/2.0/mlflow"


@pytest.fixture
def hidden(endpoint, register, make_user):
    """A version of a model that a use case uses, and an engineer who is none of its people: (made, experiment, endpoint)."""
    owner = endpoint("ml_engineer")
    made = register(owner)
    experiment = made.root.split("/")[0]
    govern(made.name)
    return made, experiment, endpoint("ml_engineer")


@pytest.fixture
def sent_on(monkeypatch):
    """What goes on to MLflow: [(method, path, query, headers, content)]."""
    seen = []
    real = forward.send

    def spy(method, path, *, query="", headers, content=None, **more):
        seen.append((method, path, query, dict(headers), content))
        return real(method, path, query=query, headers=headers, content=content, **more)

    monkeypatch.setattr(forward, "send", spy)
    return seen


READS = [
    ("GET", f"{API}/registered-models/get?name={{name}}", None),
    ("GET", f"{API}/registered-models/alias?name={{name}}&alias=first", None),
    ("GET", f"{API}/registered-models/get-latest-versions?name={{name}}", None),
    ("POST", f"{API}/registered-models/get-latest-versions", {"name": "{name}"}),
    ("GET", f"{API}/model-versions/get?name={{name}}&version=1", None),
    ("GET", f"{API}/model-versions/get-download-uri?name={{name}}&version=1", None),
    ("GET", "/model-versions/get-artifact?name={name}&version=1&path=MLmodel", None),
    ("GET", f"{API}/experiments/get?experiment_id={{experiment}}", None),
    ("GET", f"{API}/experiments/get-by-name?experiment_name={{name}}", None),
    ("GET", f"{API}/runs/get?run_id={{run}}", None),
    ("GET", f"{API}/runs/get?run_uuid={{run}}", None),
    ("GET", f"{API}/metrics/get-history?run_id={{run}}&metric_key=recall", None),
    ("GET", f"{API}/metrics/get-history-bulk-interval?run_ids={{run}}&metric_key=recall", None),
    ("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={run}&metric_key=recall", None),
    ("GET", f"{API}/artifacts/list?run_id={{run}}", None),
    ("GET", "/get-artifact?run_id={run}&path=model/MLmodel", None),
    ("GET", "/get-artifact?run_uuid={run}&path=model/MLmodel", None),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts?path={experiment}/{run}/artifacts", None),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/model/MLmodel", None),
]
WRITES = [
    ("POST", f"{API}/registered-models/set-tag", {"name": "{name}", "key": "a", "value": "b"}),
    ("PATCH", f"{API}/registered-models/update", {"name": "{name}", "description": "mine"}),
    ("POST", f"{API}/registered-models/rename", {"name": "{name}", "new_name": "mine"}),
    ("DELETE", f"{API}/registered-models/delete", {"name": "{name}"}),
    ("POST", f"{API}/registered-models/alias", {"name": "{name}", "alias": "mine", "version": "1"}),
    ("POST", f"{API}/model-versions/create", {"name": "{name}", "source": "runs:/{run}/model"}),
    ("POST", f"{API}/model-versions/transition-stage", {"name": "{name}", "version": "1", "stage": "Staging"}),
    ("POST", f"{API}/runs/create", {"experiment_id": "{experiment}"}),
    ("POST", f"{API}/runs/log-metric", {"run_id": "{run}", "key": "a", "value": 1, "timestamp": 1}),
    ("POST", f"{API}/runs/log-metric", {"run_uuid": "{run}", "key": "a", "value": 1, "timestamp": 1}),
    ("POST", f"{API}/runs/set-tag", {"run_id": "{run}", "key": "a", "value": "b"}),
    ("POST", f"{API}/runs/delete", {"run_id": "{run}"}),
    ("POST", f"{API}/experiments/update", {"experiment_id": "{experiment}", "new_name": "mine"}),
    ("POST", f"{API}/logged-models", {"experiment_id": "{experiment}", "name": "x"}),
    ("POST", f"{API}/traces", {"experiment_id": "{experiment}", "timestamp_ms": 1}),
    ("POST", "/api/3.0/mlflow/datasets/create", {"name": "d", "experiment_ids": ["{experiment}"]}),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/x.txt", None),
]


def filled(value, names):
    if isinstance(value, str):
        for key, word in names.items():
            value = value.replace(f"{{{key}}}", word)
        return value
    if isinstance(value, dict):
        return {k: filled(v, names) for k, v in value.items()}
    return [filled(v, names) for v in value] if isinstance(value, list) else value


def names_of(hidden):
    made, experiment, _ = hidden
    return {"name": made.name, "run": made.run_id, "experiment": experiment}


@pytest.mark.parametrize(("method", "path", "body"), READS + WRITES, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_out_of_sight_is_not_there_under_either_prefix(hidden, method, path, body):
    caller = hidden[2]
    for prefix in ("/api/", "/ajax-api/"):
        spelled = filled(path, names_of(hidden)).replace("/api/", prefix, 1)
        answer = caller(method, spelled, filled(body, names_of(hidden)))
        assert answer.status_code == 404, (spelled, text(answer))
        assert json.loads(text(answer))["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_what_is_out_of_sight_is_answered_word_for_word_as_what_does_not_exist(hidden):
    made, _, caller = hidden
    for path, real, none in (
        ("runs/get?run_id=", made.run_id, "0" * 32),
        ("registered-models/get?name=", made.name, "nobody-has-this"),
        ("experiments/get-by-name?experiment_name=", made.name, "nobody-has-this"),
        ("artifacts/list?run_id=", made.run_id, "0" * 32),
    ):
        assert text(caller("GET", f"{API}/{path}{real}")) == text(caller("GET", f"{API}/{path}{none}"))


def test_a_grant_opens_the_model_and_all_that_belongs_to_it(hidden, endpoint, make_user):
    made, _, _ = hidden
    user = make_user("stakeholder")
    caller = endpoint(user)
    assert caller("GET", f"{API}/runs/get?run_id={made.run_id}").status_code == 404
    assign_perm("registry.view_registeredmodel", user, RegisteredModel.objects.get(name=made.name))
    assert caller("GET", f"{API}/runs/get?run_id={made.run_id}").status_code == 200
    assert caller("GET", f"{API}/registered-models/get?name={made.name}").status_code == 200


@pytest.mark.parametrize("spelled", ["{0}.0", " {0}", "{0} ", "0{0}", "+{0}", "{0}_", "१"])
def test_a_number_has_one_spelling(hidden, spelled):
    _, experiment, caller = hidden
    value = spelled.format(experiment)
    for method, path, body in (
        ("GET", f"{API}/experiments/get?experiment_id={value.replace('+', '%2B').replace(' ', '%20')}", None),
        ("POST", f"{API}/runs/create", {"experiment_id": value}),
        ("POST", f"{API}/runs/search", {"experiment_ids": [value]}),
        ("POST", "/api/3.0/mlflow/traces/search", {"locations": [{"mlflow_experiment": {"experiment_id": value}}]}),
    ):
        answer = caller(method, path, body)
        assert answer.status_code == 400 and "experiment_id" in text(answer), path


def test_a_number_sent_as_a_number_goes_on_as_text(endpoint, sent_on, name):
    caller = endpoint()
    experiment = int(caller.ok("POST", "experiments/create", {"name": name})["experiment_id"])
    caller.ok("POST", "runs/create", {"experiment_id": experiment, "start_time": "1"})
    assert json.loads(sent_on[-1][4])["experiment_id"] == str(experiment)
    for wrong in (True, 1.0, [experiment], {"a": 1}):
        assert caller("POST", f"{API}/runs/create", {"experiment_id": wrong}).status_code == 400


def test_camel_case_means_the_same_and_goes_on_in_one_spelling(hidden, endpoint, sent_on, name):
    made, experiment, caller = hidden
    assert caller("POST", f"{API}/runs/create", {"experimentId": experiment}).status_code == 404
    assert caller("POST", f"{API}/runs/log-metric", {"runId": made.run_id, "key": "a", "value": 1, "timestamp": 1}).status_code == 404
    other = caller.ok("POST", "experiments/create", {"name": name + "-other"})["experiment_id"]
    both = caller("POST", f"{API}/runs/create", {"experiment_id": other, "experimentId": experiment})
    assert both.status_code == 400 and "twice" in text(both)
    caller.ok("POST", "runs/create", {"experimentId": other, "startTime": 1})
    assert set(json.loads(sent_on[-1][4])) == {"experiment_id", "start_time"}


def test_old_and_new_name_of_a_run_may_not_differ(hidden, endpoint, name):
    made, _, caller = hidden
    experiment = caller.ok("POST", "experiments/create", {"name": name + "-other"})["experiment_id"]
    own = caller.ok("POST", "runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
    body = {"run_id": own, "run_uuid": made.run_id, "key": "a", "value": 1, "timestamp": 1}
    assert caller("POST", f"{API}/runs/log-metric", body).status_code == 400
    assert caller("GET", f"/get-artifact?run_id={own}&run_uuid={made.run_id}&path=x").status_code == 400
    assert caller("GET", f"{API}/runs/get?run_id={own}&run_id={made.run_id}").status_code == 400


def test_a_get_with_a_body_and_a_post_with_a_query_are_refused(hidden):
    made, experiment, caller = hidden
    answer = caller("GET", f"{API}/runs/get", {"run_id": made.run_id})
    assert answer.status_code == 400 and "Leave the body out" in text(answer)
    answer = caller("POST", f"{API}/runs/search?experiment_ids={experiment}", {"experiment_ids": []})
    assert answer.status_code == 400 and "not in the query" in text(answer)


def test_a_path_and_a_body_that_name_different_things_are_refused(endpoint, name):
    caller = endpoint()
    experiment = caller.ok("POST", "experiments/create", {"name": name})["experiment_id"]
    model = caller.ok("POST", "logged-models", {"experiment_id": experiment, "name": "x"})["model"]["info"]["model_id"]
    path = f"{API}/logged-models/{model}/tags"
    assert caller("PATCH", path, {"model_id": "m-" + "0" * 32, "tags": [{"key": "a", "value": "b"}]}).status_code == 400
    assert caller("PATCH", path, {"tags": [{"key": "a", "value": "b"}]}).status_code == 200


@pytest.mark.parametrize("header", ["HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD"])
def test_a_method_is_what_it_says(hidden, sent_on, header):
    made, _, caller = hidden
    assert caller("GET", f"{API}/registered-models/get?name={made.name}", **{header: "DELETE"}).status_code == 404
    assert caller("GET", "/health", **{header: "POST"}).status_code == 200
    assert sent_on[-1][0] == "GET" and not [h for h in sent_on[-1][3] if "override" in h.lower() or "method" in h.lower()]


def test_what_mlflow_says_of_a_hidden_model_is_not_even_read(hidden, settings, monkeypatch):
    """The portal asks its own tables while MLflow works."""
    made, _, caller = hidden
    ended, really_close = [], http.client.HTTPConnection.close
    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", lambda self: pytest.fail("MLflow's answer was read"))
    monkeypatch.setattr(http.client.HTTPConnection, "close", lambda self: (ended.append(self), really_close(self)))
    answer = caller("GET", f"{API}/registered-models/get?name={made.name}")
    assert answer.status_code == 404 and "may not see it" in text(answer)
    # The connection, on which the answer arrives, serves nobody else.
    assert ended and ended[-1] not in [kept for _, kept in pool.to(settings.MLFLOW_URL)._idle]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_not_understood(hidden, monkeypatch, method):
    made, _, caller = hidden
    monkeypatch.setattr(forward, "send", lambda *a, **k: pytest.fail("it went on to MLflow"))
    assert caller(method, f"{API}/runs/get?run_id={made.run_id}").status_code in {400, 405}


@pytest.mark.parametrize(
    "path", ["//api/2.0/mlflow/runs/get", "/api/2.0//mlflow/runs/get", "/API/2.0/mlflow/runs/get", "/api/2.0/mlflow/runs/GET"]
)
def test_another_spelling_of_a_path_is_refused(hidden, path):
    made, _, caller = hidden
    assert caller("GET", f"{path}?run_id={made.run_id}").status_code in {400, 403}


def test_several_runs_are_each_looked_at(hidden, name):
    made, _, caller = hidden
    experiment = caller.ok("POST", "experiments/create", {"name": name + "-other"})["experiment_id"]
    own = caller.ok("POST", "runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
    alone = caller("GET", f"{API}/metrics/get-history-bulk-interval?run_ids={own}&metric_key=a&max_results=10")
    assert alone.status_code == 200
    assert (
        caller(
            "GET", f"{API}/metrics/get-history-bulk-interval?run_ids={own}&run_ids={made.run_id}&metric_key=a&max_results=10"
        ).status_code
        == 404
    )


def test_searches_are_narrowed_to_what_may_be_seen(hidden, name):
    _, experiment, caller = hidden
    other = caller.ok("POST", "experiments/create", {"name": name + "-other"})["experiment_id"]
    own = caller.ok("POST", "runs/create", {"experiment_id": other})["run"]["info"]["run_id"]
    found = caller.ok("POST", "runs/search", {"experiment_ids": [experiment, other]})
    assert [r["info"]["run_id"] for r in found["runs"]] == [own]
    assert caller.ok("POST", "runs/search", {"experiment_ids": [experiment]}) == {}
    assert caller.ok("POST", "logged-models/search", {"experiment_ids": [experiment]}) == {}
    for places in (
        [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}],
        [{"type": "MLFLOW_EXPERIMENT", "mlflowExperiment": {"experimentId": experiment}}],
    ):
        answer = caller("POST", "/api/3.0/mlflow/traces/search", {"locations": places})
        assert json.loads(text(answer)) == {}
    both = [{"mlflow_experiment": {"experiment_id": other}, "mlflowExperiment": {"experiment_id": experiment}}]
    assert caller("POST", "/api/3.0/mlflow/traces/search", {"locations": both}).status_code == 400


@pytest.mark.parametrize(
    "source",
    [
        "runs:/{run}/model",
        "mlflow-artifacts:/{experiment}/{run}/artifacts/model",
        "models:/{name}/1",
        "models:/{name}@first",
        "runs:///{run}/model",
    ],
)
def test_a_version_of_ones_own_is_not_made_of_what_is_out_of_sight(hidden, source, name):
    _, _, caller = hidden
    caller.ok("POST", "registered-models/create", {"name": name + "-mine"})
    answer = caller("POST", f"{API}/model-versions/create", {"name": name + "-mine", "source": filled(source, names_of(hidden))})
    assert answer.status_code == 404, text(answer)
    for trick in ("runs:/{run}/../x", "mlflow-artifacts:/0/../{experiment}/{run}", "mlflow-artifacts:/{experiment}%2f{run}"):
        answer = caller("POST", f"{API}/model-versions/create", {"name": name + "-mine", "source": filled(trick, names_of(hidden))})
        assert answer.status_code == 400, text(answer)


def test_a_trace_of_somebody_elses_is_not_written_over(hidden, endpoint, name, behind_the_back):
    _, experiment, caller = hidden
    other = caller.ok("POST", "experiments/create", {"name": name + "-other"})["experiment_id"]

    def start(where, who=None, camel=False):
        info = {
            "trace_id": "tr-" + name[-12:].rjust(32, "a").replace("-", "0"), "request_time": "2026-01-01T00:00:00Z", "state": "OK",
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": where}},
        }  # fmt: skip
        if camel:
            info["traceLocation"] = {"type": "MLFLOW_EXPERIMENT", "mlflowExperiment": {"experimentId": where}}
            del info["trace_location"]
        body = {"trace": {"traceInfo" if camel else "trace_info": info}}
        return (who or caller)("POST", "/api/3.0/mlflow/traces", body)

    assert start(experiment).status_code == 404 and start(experiment, camel=True).status_code == 404
    assert start(experiment, endpoint("admin")).status_code == 200
    answer = start(other)
    assert answer.status_code == 404, text(answer)
    assert start(other, endpoint("admin")).status_code in {200, 400}


def test_the_trace_of_a_span_is_read_as_mlflow_reads_it():
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    def message(trace_id):
        return field(1, field(2, field(2, field(1, trace_id) + field(2, b"12345678"))))

    number = bytes(range(1, 17))
    for spelled in (number, b"\0" + number, b"\0\0\0" + number):
        assert {int.from_bytes(f) for f in spans._at(memoryview(message(spelled)), spans.TO_TRACE_ID)} == {int.from_bytes(number)}
    twice = field(1, field(2, field(2, field(1, number) + field(1, b"\x09"))))
    assert len(list(spans._at(memoryview(twice), spans.TO_TRACE_ID))) == 2
    for broken in (b"\x0a", b"\x0a\xff", b"\x0b", b"\xff" * 12):
        with pytest.raises((ValueError, IndexError)):
            list(spans._at(memoryview(broken), spans.TO_TRACE_ID))


def test_a_redirect_of_mlflows_is_not_passed_on(endpoint, monkeypatch):
    class Redirect:
        status, headers = 302, {"Location": "http://127.0.0.1:5000/secret"}

        def close(self):
            pass

    monkeypatch.setattr(forward, "send", lambda *a, **k: Redirect())
    answer = endpoint("admin")("GET", f"{API}/experiments/get?experiment_id=0")
    assert answer.status_code == 502 and "Location" not in answer and "5000" not in text(answer)


def test_a_prompt_alias_is_a_protected_alias_too(endpoint, name):
    caller = endpoint()
    caller.ok("POST", "registered-models/create", {"name": name, "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]})
    answer = caller("POST", f"{API}/registered-models/alias", {"name": name, "alias": "Production", "version": "1"})
    assert answer.status_code == 403 and "PERMISSION_DENIED" in text(answer)

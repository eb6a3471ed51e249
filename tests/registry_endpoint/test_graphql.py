"""GraphQL: two queries of MLflow's own pages, about what may be seen; nothing else."""

import json

import pytest

from apps.registry.gateways import forward
from tests.registry.conftest import text
from tests.registry_endpoint.governed import govern

pytestmark = pytest.mark.django_db
RUN = """query GetRun($data: MlflowGetRunInput!) @component(name: "MLflow.ExperimentRunTracking") {
  mlflowGetRun(input: $data) { apiError { code message } run { info { runId experimentId ...More } experiment { name } modelVersions { name version } } }
}
fragment More on MlflowRunInfo { runName status }"""
EXPERIMENT = "query Q($input: MlflowGetExperimentInput!) { mlflowGetExperiment(input: $input) { experiment { experimentId name } } }"


def ask(caller, query, variables, **more):
    return caller("POST", "/graphql", {"query": query, "variables": variables, **more})


def test_a_run_and_an_experiment_are_shown_to_those_who_see_them(endpoint, register):
    owner, other = endpoint(), endpoint()
    made = register(owner)
    experiment = made.root.split("/")[0]
    said = json.loads(text(ask(owner, RUN, {"data": {"runId": made.run_id}}, operationName="GetRun")))
    run = said["data"]["mlflowGetRun"]["run"]
    assert run["info"]["runId"] == made.run_id and run["info"]["runName"] == "first try" and run["modelVersions"][0]["name"] == made.name
    assert json.loads(text(ask(owner, EXPERIMENT, {"input": {"experimentId": experiment}})))["data"]["mlflowGetExperiment"]["experiment"]["name"]
    govern(made.name)
    for query, variables in ((RUN, {"data": {"runId": made.run_id}}), (RUN, {"data": {"runUuid": made.run_id}}), (EXPERIMENT, {"input": {"experimentId": experiment}})):
        assert ask(other, query, variables).status_code == 404
        assert ask(endpoint("auditor"), query, variables).status_code == 200


def test_models_out_of_sight_are_left_out_of_a_run(endpoint, register, name):
    owner, other = endpoint(), endpoint()
    made = register(owner)
    owner.ok("POST", "registered-models/create", {"name": f"{name}-second"})
    owner.ok("POST", "model-versions/create", {"name": f"{name}-second", "source": f"mlflow-artifacts:/{made.root}", "run_id": made.run_id})
    govern(f"{name}-second")
    for caller, expected in ((owner, {made.name, f"{name}-second"}), (other, {made.name})):
        said = json.loads(text(ask(caller, RUN, {"data": {"runId": made.run_id}})))
        assert {v["name"] for v in said["data"]["mlflowGetRun"]["run"]["modelVersions"]} == expected


@pytest.mark.parametrize(
    "query",
    [
        "{ test(inputString: \"x\") { output } }",
        "query($d: MlflowSearchModelVersionsInput) { mlflowSearchModelVersions(input: $d) { modelVersions { name } } }",
        "mutation($d: MlflowSearchRunsInput) { mlflowSearchRuns(input: $d) { nextPageToken } }",
        "query($d: MlflowSearchRunsInput) { mlflowSearchRuns(input: $d) { nextPageToken } }",
        'query($d: MlflowGetRunInput) { mlflowGetRun(input: {runId: "x"}) { run { info { runId } } } }',
        "query($d: MlflowGetRunInput) { mlflowGetRun(input: $d) { run { x: modelVersions { name } } } }",
        "query($d: MlflowGetRunInput) { x: mlflowGetRun(input: $d) { run { info { runId } } } }",
        "query($d: MlflowGetRunInput) { mlflowGetRun(input: $d) { apiError { code } } mlflowGetExperiment(input: $d) { apiError { code } } }",
        "query A($d: MlflowGetRunInput) { mlflowGetRun(input: $d) { apiError { code } } } query B { __schema { types { name } } }",
        "query($d: MlflowGetRunInput) { ...All } fragment All on Query { mlflowGetRun(input: $d) { apiError { code } } }",
        'query($d: MlflowGetRunInput = {runId: "x"}) { mlflowGetRun(input: $d) { apiError { code } } }',
        "{ __schema { types { name } } }",
        "subscription { x }",
    ],
)
def test_any_other_query_is_refused(endpoint, monkeypatch, query):
    monkeypatch.setattr(forward, "send", lambda *a, **k: pytest.fail("it went on to MLflow"))
    assert ask(endpoint("admin"), query, {"d": {"runId": "a" * 32}}).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": "not { graphql"}, 400),
        ({"query": 7}, 400),
        ([{"query": RUN}], 400),
        ({"query": RUN, "variables": {"data": {"runId": "a" * 32, "runUuid": "b" * 32}}}, 400),
        ({"query": RUN, "variables": {"data": {"run_id": "a" * 32}}}, 403),
        ({"query": RUN, "variables": {}}, 403),
        ({"query": EXPERIMENT, "variables": {"input": {"experimentId": " 1"}}}, 400),
        ({"query": "{" * 5000, "variables": {}}, 400),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(endpoint, monkeypatch, body, status):
    monkeypatch.setattr(forward, "send", lambda *a, **k: pytest.fail("it went on to MLflow"))
    assert endpoint("admin")("POST", "/graphql", body).status_code == status

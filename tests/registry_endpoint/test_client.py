"""Everything the unmodified client offers for tracking and registry, through the endpoint, two people at once."""

import ast
import inspect
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import mlflow.genai
import pytest
from mlflow import MlflowClient

from tests.registry_endpoint.client_table import ELSEWHERE, FLUENT, GENAI, REFUSED
from tests.registry_endpoint.governed import govern

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SCRIPT = Path(__file__).with_name("client_script.py")


@pytest.fixture
def script(live_server, mlflow_is_up, endpoint):
    """script(who, *words, file=...) -> (exit status, output) of the client, in a process of its own as that person."""

    def run(who, *words, file=SCRIPT.name):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW", "GATEHOUSE", "DJANGO", "DATABASE"))}
        environment = clean | {
            "MLFLOW_TRACKING_URI": f"{live_server.url}/mlflow", "MLFLOW_TRACKING_TOKEN": who.token, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, str(SCRIPT.with_name(file)), *words], env=environment, capture_output=True, text=True, timeout=400
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_two_people_do_all_that_the_client_offers_at_the_same_time(script, endpoint, name):
    people = [endpoint("ml_engineer"), endpoint("ml_engineer")]
    with ThreadPoolExecutor(2) as both:
        done = list(both.map(lambda i: script(people[i], "work", f"{name}-{i}"), range(2)))
    for status, said in done:
        assert status == 0 and "all done" in said, said[-4000:]


def test_what_is_deleted_and_restored_is_so_by_an_administrator(script, endpoint, name):
    status, said = script(endpoint("ml_engineer"), "make", name)
    assert status == 0, said[-4000:]
    status, said = script(endpoint("ml_engineer"), "delete", name)
    assert status != 0 and "PERMISSION_DENIED: Only an administrator may delete" in said
    status, said = script(endpoint("admin"), "delete", name)
    assert status == 0 and "all gone" in said, said[-4000:]


def test_a_plain_script_prints_a_refusal_readably(script, endpoint, name):
    owner = endpoint("ml_engineer")
    assert script(owner, "make", name)[0] == 0
    status, said = script(owner, "promote", name)
    last = said.strip().splitlines()[-1]
    assert status != 0 and last.startswith("mlflow.exceptions.RestException: PERMISSION_DENIED:") and "/gates/new/" in last
    govern(name)
    status, said = script(endpoint("ml_engineer"), "look", name)
    assert status != 0 and "RESOURCE_DOES_NOT_EXIST: There is no such registered model, or you may not see it" in said


def test_an_engineer_judges_traces_and_uses_the_fluent_functions(script, endpoint, name):
    engineer = endpoint("ml_engineer")
    status, said = script(engineer, "work", name, file="client_more.py")
    assert status == 0 and "all done" in said, said[-4000:]
    for what in ("finished by", "found by"):
        # MLflow writes the name of an issue's finder its own way.
        assert f"{what} ml_engineer" in said.lower() and "somebody else" not in said, "the portal says who it was, not the caller"
    status, said = script(engineer, "delete", name, file="client_more.py")
    assert status != 0 and "PERMISSION_DENIED: Only an administrator may delete" in said
    status, said = script(endpoint("admin"), "delete", name, file="client_more.py")
    assert status == 0 and "all gone" in said, said[-4000:]


def test_what_is_refused_says_why_in_the_clients_own_exception(script, endpoint):
    status, said = script(endpoint("admin"), file="client_refused.py")
    assert status == 0, said[-4000:]
    found = json.loads(next(line for line in said.splitlines() if line.startswith('{"create_webhook')))
    assert set(found) == set(REFUSED)
    wrong = {method: words for method, words in found.items() if REFUSED[method] not in words}
    assert not wrong, json.dumps(wrong, indent=1)


def _named_in(*files):
    """`client.x` and `mlflow.a.b` that the scripts call."""
    trees = [ast.parse(SCRIPT.with_name(f).read_text()) for f in files]
    return {ast.unparse(n) for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Attribute)}


def test_every_public_method_of_the_installed_client_is_tested_or_refused_by_name():
    """A new version of mlflow that offers more fails here."""
    tested = {n.removeprefix("client.") for n in _named_in("client_script.py", "client_more.py") if n.startswith("client.")}
    offered = {n for n in dir(MlflowClient) if not n.startswith("_")}
    assert sorted(offered - tested - set(REFUSED) - set(ELSEWHERE)) == []
    assert sorted((set(REFUSED) | set(ELSEWHERE)) - offered) == [], "listed and not offered any more"
    assert not tested & (set(REFUSED) | set(ELSEWHERE)), "listed and tested all the same"
    assert all(ELSEWHERE.values())


def test_every_fluent_function_asks_what_the_clients_methods_ask():
    """`mlflow.x` is listed with how it is covered: called here, the client's method of that name, or nothing asked of the server."""
    called = {n.removeprefix("mlflow.") for n in _named_in("client_script.py", "client_more.py") if n.startswith("mlflow.")}
    methods = {n for n in dir(MlflowClient) if not n.startswith("_")}
    offered = {n for n in dir(mlflow) if not n.startswith("_") and callable(getattr(mlflow, n)) and not inspect.isclass(getattr(mlflow, n))}
    offered -= {n for n in offered if inspect.ismodule(getattr(mlflow, n))}
    assert sorted(offered - called - methods - set(FLUENT)) == []
    assert sorted(set(FLUENT) - offered) == [] and all(FLUENT.values())
    judging = {f"genai.{n}" for n in mlflow.genai.__all__} - {f"genai.{n}" for n in methods}
    assert sorted(judging - called - {f"genai.{n}" for n in GENAI}) == []

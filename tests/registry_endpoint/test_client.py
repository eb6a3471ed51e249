"""Everything the unmodified client offers for tracking and registry, through the endpoint, two people at once."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.registry_endpoint.governed import govern

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SCRIPT = Path(__file__).with_name("client_script.py")


@pytest.fixture
def script(live_server, mlflow_is_up, endpoint):
    """script(who, part, *words) -> (exit status, output) of the client, in a process of its own as that person."""

    def run(who, part, *words):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW", "GATEHOUSE", "DJANGO", "DATABASE"))}
        environment = clean | {
            "MLFLOW_TRACKING_URI": f"{live_server.url}/mlflow", "MLFLOW_TRACKING_TOKEN": who.token, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        done = subprocess.run([sys.executable, str(SCRIPT), part, *words], env=environment, capture_output=True, text=True, timeout=400)
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

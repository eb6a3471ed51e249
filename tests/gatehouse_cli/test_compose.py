"""docker-compose.yml describes the processes the launcher starts, with the same variables and commands."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gatehouse_cli import keyring
from gatehouse_cli.paths import REPO, DataDir
from gatehouse_cli.programs import Layout, Program, programs

COMPOSE: dict[str, Any] = yaml.safe_load((REPO / "docker-compose.yml").read_text())
# Set by the launcher for itself (which process is this, where is the left-over), or only behind a proxy.
ONLY_HERE = {"GATEHOUSE_PROCESS", "DJANGO_SETTINGS_MODULE"}
ONLY_THERE = {"GATEHOUSE_BEHIND_PROXY", "DJANGO_SETTINGS_MODULE"}
# Passed on to control where a person has set them.
MAIL = {f"GATEHOUSE_EMAIL_{name}" for name in ("HOST", "PORT", "FROM", "USER", "PASSWORD")}


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    data = DataDir(tmp_path_factory.mktemp("compose"))
    data.make()
    env = keyring.load_or_make_env(data)
    names = {"postgres_cluster": "/c", "postgres_bin": "/b", "valkey_program": "/v"}
    env |= names | {"ports": dict.fromkeys(("postgres", "valkey", "mlflow", "web", "gateway"), 1)}
    return {program.name: program for program in programs(Layout(data, env))}


def test_there_is_a_service_for_every_process(launched: dict[str, Program]):
    assert set(launched) <= set(COMPOSE["services"])


@pytest.mark.parametrize("name", ["web", "seal", "control", "relay", "schedule", "agent", "gateway"])
def test_a_service_gets_the_variables_its_process_gets(launched: dict[str, Program], name: str):
    here = set(launched[name].environment) - ONLY_HERE
    there = set(COMPOSE["services"][name]["environment"]) - ONLY_THERE
    assert here == there - MAIL and (there >= MAIL) == (name == "control")


@pytest.mark.parametrize("name", ["web", "seal", "control", "relay", "schedule", "agent", "gateway"])
def test_a_service_runs_the_program_its_process_runs(launched: dict[str, Program], name: str):
    words = launched[name].command
    program, rest = Path(words[0]).name, [word for word in words[1:] if not word.startswith(("/", "127."))]
    command = COMPOSE["services"][name]["command"].split()
    assert command[0] == program
    # What differs is where it listens, how long it may take, and what its host is called.
    for word in [word for word in rest if word.startswith(("portal.", "manage.py", "celery_worker.", "gateway", "--without", "-Q"))]:
        assert word in command, word


def test_no_service_but_web_control_and_seal_has_a_database(launched: dict[str, Program]):
    with_database = {name for name, service in COMPOSE["services"].items() if "database" in (service.get("networks") or [])}
    assert with_database == {"postgres", "migrate", "mlflow", "web", "control", "relay", "schedule", "seal"}
    for name in ("agent", "gateway"):
        assert not [key for key in COMPOSE["services"][name]["environment"] if "DATABASE" in key or "SECRET" in key]


def test_the_order_key_is_with_control_and_the_sealing_key_with_seal_alone():
    holders = {
        secret: {name for name, service in COMPOSE["services"].items() if secret in (service.get("secrets") or [])}
        for secret in ("order.pem", "seal.pem", "agent.pem")
    }
    assert holders == {"order.pem": {"control", "relay", "schedule"}, "seal.pem": {"seal"}, "agent.pem": {"agent"}}

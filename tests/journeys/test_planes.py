"""Each process of a running portal has the environment, the secrets and the connections of its plane, and no others."""

import re
import subprocess
import zipfile
from pathlib import Path

import psutil
import pytest

from gatehouse_cli import orphans
from gatehouse_cli.paths import REPO
from tests.journeys.portals import RunningPortal

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.xdist_group("stack")]

WITHOUT_DJANGO = "import importlib.util as u; found = [n for n in {names} if u.find_spec(n)]; assert not found, found"


def variables_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_bytes().decode()


def words_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def engine_pids(portal: RunningPortal) -> list[int]:
    return [d["pid"] for d in portal.ctx.engineer.pages("deployments/") if d["observed"] == "ready"]


def secrets_of(portal: RunningPortal) -> dict[str, str]:
    """What only the portal's own side may know, by name."""
    env, data = portal.stack.layout.env, portal.stack.data
    passwords = {f"password of {role}": password for role, password in env["passwords"].items()}
    tokens = {f"token of {a['email']}": a["token"] for a in portal.accounts}
    gateway_token = (data.keys / "gateway.token").read_text().strip()
    return {
        **passwords,
        **tokens,
        "secret key": env["secret_key"],
        "gateway's token": gateway_token,
        "broker's password": env["valkey_password"],
        "MLflow's token": env["mlflow_token"],
    }


def known_by(pid: int, secrets: dict[str, str]) -> set[str]:
    text = variables_of(pid) + "\0" + "\0".join(words_of(pid))
    return {name for name, secret in secrets.items() if secret in text}


@pytest.mark.parametrize(("name", "venv"), [("agent", ".venv-agent"), ("gateway", ".venv-gateway")])
def test_the_serving_planes_run_where_there_is_no_django_and_know_no_database(portal: RunningPortal, name: str, venv: str) -> None:
    pid = portal.stack.pid(name)
    interpreter = REPO / venv / "bin" / "python"
    assert words_of(pid)[0] == str(interpreter)
    check = WITHOUT_DJANGO.format(names=["django", "rest_framework", "psycopg", "mlflow"])
    subprocess.run([str(interpreter), "-c", check], check=True, cwd="/", timeout=60)
    assert "DATABASE_URL" not in variables_of(pid)
    known = {"broker's password"} | ({"gateway's token"} if name == "gateway" else set())
    assert known_by(pid, secrets_of(portal)) == known


def test_an_engine_has_an_interpreter_a_pid_and_an_environment_of_its_own(portal: RunningPortal) -> None:
    pids = engine_pids(portal)
    assert len(set(pids)) == len(pids) == 3
    for pid in pids:
        assert words_of(pid)[0] == str(REPO / ".venv-kserve" / "bin" / "python")
        assert known_by(pid, secrets_of(portal)) == set()
        names = {entry.partition("=")[0] for entry in variables_of(pid).split("\0")}
        assert not {name for name in names if re.match("GATEHOUSE_|DATABASE|REDIS|MLFLOW_TRACKING|DJANGO", name)}
        keys = str(portal.stack.data.keys)
        assert keys not in variables_of(pid)
        assert not [file.path for file in psutil.Process(pid).open_files() if file.path.startswith(keys)]


def test_signing_keys_are_named_to_their_own_process_alone(portal: RunningPortal) -> None:
    holders = {"order.pem": {"control", "relay", "schedule"}, "seal.pem": {"seal"}, "agent.pem": {"agent"}}
    pids = {name: portal.stack.pid(name) for name in portal.stack.names()}
    for key, allowed in holders.items():
        path = portal.stack.data.keys / key
        assert path.stat().st_mode & 0o077 == 0
        assert {name for name, pid in pids.items() if str(path) in variables_of(pid)} == allowed


def test_processes_talk_to_nobody_but_those_the_design_names(portal: RunningPortal) -> None:
    stack = portal.stack
    ports = {stack.layout.port(name): name for name in ("postgres", "valkey", "mlflow", "web", "gateway")}
    for deployment in portal.ctx.engineer.pages("deployments/"):
        if deployment["observed"] == "ready":
            (_, _, port) = portal.rows("SELECT url FROM deployments_deployment WHERE id = %s", deployment["id"])[0]["url"].rpartition(":")
            ports[int(port)] = "engine"
    allowed = {
        "web": {"postgres", "valkey", "mlflow"},
        "control": {"postgres", "valkey", "mlflow"},
        "relay": {"postgres", "valkey"},
        "schedule": {"valkey", "postgres"},
        "seal": {"postgres"},
        "agent": {"valkey", "web", "engine"},
        "gateway": {"valkey", "web", "engine"},
    }
    found: dict[str, set[str]] = {}
    for name, may in allowed.items():
        root = psutil.Process(stack.pid(name))
        family = [root] if name == "agent" else [root, *root.children(recursive=True)]
        found[name] = callees(family, ports)
        assert found[name] <= may, name
    assert "valkey" in found["agent"] and "postgres" in found["relay"], "connections are really seen"
    assert callees([psutil.Process(pid) for pid in engine_pids(portal)], ports) == set()


def callees(family: list[psutil.Process], ports: dict[int, str]) -> set[str]:
    """The names behind the ports to which these processes have opened connections, `?` for one that is nobody's."""
    found = set()
    for process in family:
        connections = [c for c in process.net_connections(kind="inet") if c.status == psutil.CONN_ESTABLISHED and c.raddr]
        # A connection that came in has one of our own listening ports at this end.
        found |= {ports.get(c.raddr.port, "?") for c in connections if c.laddr.port not in ports}
    return found


def test_nothing_of_the_portal_is_on_a_command_line(portal: RunningPortal) -> None:
    secrets = secrets_of(portal)
    for pid in orphans.find(portal.stack.data):
        words = "\0".join(words_of(pid))
        assert not {name for name, secret in secrets.items() if secret in words}, words[:200]


def test_the_verifier_proves_the_exported_trail_where_there_is_no_django(portal: RunningPortal) -> None:
    interpreter = REPO / ".venv-agent" / "bin" / "python"
    bundle = portal.stack.data.run / f"{portal.ctx['usecase']}.zip"
    checkpoint = portal.ctx.stack["audit"]["witnessed_checkpoint"]
    command = [str(interpreter), "-m", "verifier", "--bundle", str(bundle), "--checkpoint", checkpoint]
    seen = subprocess.run(command, cwd=REPO, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=60)
    assert seen.returncode == 6, seen.stdout + seen.stderr
    # One changed character of one event is found.
    forged = bundle.with_name("forged.zip")
    with zipfile.ZipFile(bundle) as real, zipfile.ZipFile(forged, "w") as false:
        for name in real.namelist():
            content = real.read(name)
            false.writestr(name, content.replace(b'"occurred_at":"2', b'"occurred_at":"1', 1) if name == "events.jsonl" else content)
    command[command.index(str(bundle))] = str(forged)
    seen = subprocess.run(command, cwd=REPO, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=60)
    assert seen.returncode == 1, seen.stdout + seen.stderr

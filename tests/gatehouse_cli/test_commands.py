"""The launcher as a person uses it, with everything running."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gatehouse_cli import guard, orphans, services
from gatehouse_cli.paths import REPO, DataDir
from gatehouse_cli.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.xdist_group("launcher")]
EXTERNAL = ("DATABASE_URL", "REDIS_URL", "GATEHOUSE_MLFLOW_URL", "GATEHOUSE_BASE_URL", "GATEHOUSE_GATEWAY_URL", "GATEHOUSE_DATA")


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GATEHOUSE_") and name not in EXTERNAL}
    return own | {"GATEHOUSE_PYTHON": sys.executable}


def launch(*words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(REPO / "gatehouse"), *words], env=environment() | variables, input=stdin, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder of a portal that `up --detach` started with its first administrator."""
    data = tmp_path_factory.mktemp("launcher") / "data"
    port, gateway = services.free_port(), services.free_port()
    done = launch(
        *("up", "--detach", "--data", str(data), "--port", str(port), "--gateway-port", str(gateway)),
        *("--admin-email", "ada@example.org", "--admin-name", "Ada"),
        stdin="a-long-enough-passphrase\n",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ada@example.org can sign in" in done.stdout
    yield data
    done = launch("down", "--data", str(data))
    assert done.returncode == 0
    assert orphans.find(DataDir(data)) == []
    assert "database system is shut down" in (data / "logs" / "postgres.log").read_text()
    for path in data.iterdir():
        if path.name != "logs":
            shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def portal(folder: Path) -> Stack:
    made = Stack(folder)
    made.attach()
    return made


def test_an_empty_portal_is_ready_with_its_first_administrator(portal: Stack):
    with urllib.request.urlopen(f"{portal.base_url}/readyz", timeout=10) as answer:
        assert json.load(answer)["status"] == "ready"
    with psycopg.connect(portal.database_url("gatehouse_web")) as connection:
        rows = connection.execute("SELECT email FROM accounts_user WHERE email NOT LIKE '%@service.invalid'").fetchall()
    assert rows == [("ada@example.org",)]
    assert not portal.layout.demo


def test_the_doctor_finds_every_process_well(folder: Path):
    done = launch("doctor", "--json", "--data", str(folder))
    findings = {row["subject"]: row for row in json.loads(done.stdout)}
    processes = ("postgres", "valkey", "mlflow", "web", "seal", "control", "relay", "schedule", "agent", "gateway")
    for name in (*processes, "migrations", "mlflow version", "row history"):
        assert findings[name]["state"] == "ok", findings[name]


def test_a_second_start_in_the_folder_is_refused_with_the_way_out(folder: Path):
    done = launch("up", "--data", str(folder))
    assert done.returncode == 2
    assert f"gatehouse down --data {folder}" in done.stderr


def test_the_sample_journey_is_not_told_in_somebodys_own_portal(folder: Path):
    done = launch("demo", "--check", "--data", str(folder))
    assert done.returncode == 2
    assert "is not the sample one" in done.stderr


def test_a_management_command_runs_beside_the_portal_and_passes_its_exit_code(folder: Path):
    done = launch("manage", "--data", str(folder), "migrate", "--check")
    assert done.returncode == 0, done.stderr
    assert launch("manage", "--data", str(folder), "migrate", "no_such_app").returncode != 0


def test_agent_and_gateway_hold_no_secret_of_the_portal(portal: Stack):
    env = portal.layout.env
    forbidden = [env["secret_key"], *env["passwords"].values(), "order.pem", "seal.pem", "DATABASE_URL", "DJANGO_"]
    for name in ("agent", "gateway"):
        variables = Path(f"/proc/{portal.pid(name)}/environ").read_bytes().decode()
        assert not [word for word in forbidden if word in variables], name
    web = Path(f"/proc/{portal.pid('web')}/environ").read_bytes().decode()
    assert "order.pem" not in web
    assert "seal.pem" not in web
    assert env["passwords"]["gatehouse_web"] in web
    assert env["passwords"]["gatehouse_owner"] not in web


def test_only_the_owner_can_read_what_lies_in_the_data_folder(folder: Path):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("env.json", "keys/order.pem", "keys/gateway.token", "run/supervisord.conf", "logs/web.log"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


def test_a_killed_process_is_started_again(portal: Stack):
    before = portal.kill9("mlflow")
    portal.wait_ready("mlflow")
    assert portal.pid("mlflow") not in (0, before)


def test_mlflow_is_one_process_that_answers_to_its_own_name_alone(portal: Stack):
    assert list(services.family(portal.pid("mlflow"))) == [portal.pid("mlflow")]
    url = f"{portal.layout.mlflow_url}/api/2.0/mlflow/experiments/get?experiment_id=0"
    shown = {"Authorization": f"Bearer {portal.layout.mlflow_token}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=shown), timeout=10) as answer:
        assert json.load(answer)["experiment"]["artifact_location"].startswith("mlflow-artifacts:/")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(url, headers=shown | {"Host": "elsewhere.example"}), timeout=10)


def run_of(pid: int) -> Path:
    return REPO / ".gatehouse-test" / f"run-{pid}"


def test_the_suite_runs_against_real_services_and_its_exit_code_is_passed_on(tmp_path: Path):
    (tmp_path / "test_seen.py").write_text(
        "import os, psycopg, redis, urllib.request\n"
        "def test_services():\n"
        "    psycopg.connect(os.environ['DATABASE_URL']).close()\n"
        "    assert redis.Redis.from_url(os.environ['REDIS_URL']).ping()\n"
        "    assert urllib.request.urlopen(os.environ['GATEHOUSE_MLFLOW_URL'] + '/health').status == 200\n"
        "    assert 0, 'seen ' + os.environ['GATEHOUSE_DATA']\n"
    )
    done = launch("test", "-n", "0", "-p", "no:cacheprovider", "--rootdir", str(REPO), str(tmp_path / "test_seen.py"))
    assert done.returncode == 1, done.stdout + done.stderr
    seen = next(line for line in done.stdout.splitlines() if "seen /" in line)
    assert not Path(seen.split("seen ")[1].strip("'")).exists()


def test_a_run_whose_terminal_dies_leaves_nothing(tmp_path: Path):
    (tmp_path / "test_slow.py").write_text("import time\ndef test_slow():\n    print('slow', flush=True)\n    time.sleep(60)\n")
    process = subprocess.Popen(
        [str(REPO / "gatehouse"), "test", "-n", "0", "-s", "-p", "no:cacheprovider", "--rootdir", str(REPO), str(tmp_path / "test_slow.py")],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    while "slow" not in (line := process.stdout.readline()):
        assert line, "it ended before the test began"
    data = DataDir(run_of(process.pid))
    assert guard.running(data)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 130
    assert not orphans.find(data)
    assert not data.root.exists()

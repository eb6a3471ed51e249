"""What the governed MLflow endpoint costs: the same calls to the same `mlflow server`, directly and through the portal, in turn.

    ./gatehouse bench registry [--models 2000] [--versions 3] [--rounds 200] [--file-mb 300]

The MLflow server has two workers on uvloop and PostgreSQL; the portal is gunicorn as `./gatehouse up` starts it. Both work on
scratch databases that are dropped afterwards. The caller is an ML engineer with a token: sight, rights, trail and follow-up are all
paid for, and nothing is skipped because an administrator sees everything. One kept connection each way, one call at a time.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
API = "/api/2.0/mlflow"
LIMIT = 1.25


@contextlib.contextmanager
def scratch(name: str) -> Iterator[str]:
    """URL of an empty database that is dropped at the end."""
    import psycopg

    home = os.environ["GATEHOUSE_OWNER_DATABASE_URL"]
    with psycopg.connect(home, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield urlunsplit(urlsplit(home)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(home, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], port: int, path: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers on `port`; ended with all its children."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended before it answered")
            with contextlib.suppress(OSError, http.client.HTTPException):
                probe = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                probe.request("GET", path)
                if probe.getresponse().status == 200:
                    break
            time.sleep(0.1)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class Caller:
    """One kept connection."""

    def __init__(self, port: int, prefix: str = "", token: str = "") -> None:
        self.port, self.prefix = port, prefix
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def __call__(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The JSON of an answer that has to be 200."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/json"} if data else self.headers
        self.connection.request(method, f"{self.prefix}{path}", data, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text or b"{}")

    def put(self, path: str, size: int) -> float:
        """Seconds to send `size` bytes."""
        piece = os.urandom(1024 * 1024)
        started = time.perf_counter()
        headers = {**self.headers, "Content-Length": str(size)}
        self.connection.request("PUT", f"{self.prefix}{path}", (piece for _ in range(size // len(piece))), headers)
        answer = self.connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"PUT {path}: {answer.status}")
        return time.perf_counter() - started

    def get(self, path: str, size: int) -> float:
        """Seconds to receive `size` bytes."""
        buffer, seen = bytearray(1024 * 1024), 0
        started = time.perf_counter()
        self.connection.request("GET", f"{self.prefix}{path}", headers=self.headers)
        answer = self.connection.getresponse()
        while count := answer.readinto(buffer):
            seen += count
        if answer.status != 200 or seen != size:
            raise SystemExit(f"GET {path}: {answer.status}, {seen} of {size} bytes")
        return time.perf_counter() - started


def multiply(url: str, models: int, versions: int) -> None:
    """Copy the one model with its one version that MLflow holds into many, in MLflow's own tables."""
    import psycopg

    with psycopg.connect(url) as db:

        def columns(table: str, **instead: str) -> tuple[str, str]:
            names = [r[0] for r in db.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,))]
            return ", ".join(names), ", ".join(instead.get(n, f"t.{n}") for n in names)

        into, taken = columns("registered_models", name="'bench-' || lpad(i::text, 5, '0')")
        db.execute(f"INSERT INTO registered_models ({into}) SELECT {taken} FROM registered_models t, generate_series(0, {models - 1}) i WHERE name = 'seed'")
        into, taken = columns("model_versions", name="'bench-' || lpad(i::text, 5, '0')", version="v")
        db.execute(
            f"INSERT INTO model_versions ({into}) SELECT {taken} FROM model_versions t, generate_series(0, {models - 1}) i, "
            f"generate_series(1, {versions}) v WHERE name = 'seed'"
        )
        into, taken = columns("registered_model_aliases", name="'bench-' || lpad(i::text, 5, '0')")
        db.execute(
            f"INSERT INTO registered_model_aliases ({into}) SELECT {taken} FROM registered_model_aliases t, generate_series(0, {models - 1}) i "
            f"WHERE name = 'seed'"
        )
        db.commit()
        db.autocommit = True
        db.execute("ANALYZE")


def people(models: int, versions: int) -> str:
    """Migrate, make the engineer and the portal's rows of every model; returns the token."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    from apps.accounts import services as accounts
    from apps.accounts.selectors import actor_from_user
    from apps.core.actor import Actor
    from apps.registry.models import ModelVersion, RegisteredModel

    person = accounts.create_user(actor=Actor.system("bench"), email="bench@example.org", full_name="Bench", password="bench bench bench")
    accounts.assign_role(actor=Actor.system("bench"), user=person, role="ml_engineer", function="")
    made = RegisteredModel.objects.bulk_create(RegisteredModel(name=f"bench-{i:05d}", owner=person) for i in range(models))
    ModelVersion.objects.bulk_create(
        (ModelVersion(model=m, version=v + 1, author="bench") for m in made for v in range(versions)), batch_size=2000
    )
    _, secret = accounts.issue_token(actor=actor_from_user(person), user=person, name="bench", scopes=["mlflow"])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    connection.close()
    return secret


def measure(direct: Caller, through: Caller, rounds: int, models: int, run_id: str, root: str) -> list[tuple[str, float, float]]:
    """(what, p50 direct, p50 through) in milliseconds, asked in turn."""
    count = iter(range(10**9))

    def name() -> str:
        return f"bench-{next(count) * 7919 % models:05d}"

    def create(caller: Caller) -> None:
        caller("POST", f"{API}/model-versions/create", {"name": name(), "source": f"mlflow-artifacts:/{root}/model", "run_id": run_id})

    calls: dict[str, Callable[[Caller], Any]] = {
        "get by name": lambda c: c("GET", f"{API}/registered-models/get?name={name()}"),
        "get by alias": lambda c: c("GET", f"{API}/registered-models/alias?name={name()}&alias=first"),
        "search, page of 100": lambda c: c("GET", f"{API}/registered-models/search?max_results=100"),
        "create version": create,
        "set alias": lambda c: c("POST", f"{API}/registered-models/alias", {"name": name(), "alias": "challenger", "version": "1"}),
    }
    out = []
    for what, ask in calls.items():
        took: dict[Caller, list[float]] = {direct: [], through: []}
        for i in range(rounds + 20):
            for caller in (direct, through) if i % 2 else (through, direct):
                started = time.perf_counter()
                ask(caller)
                if i >= 20:
                    took[caller].append((time.perf_counter() - started) * 1000)
        out.append((what, statistics.median(took[direct]), statistics.median(took[through])))
    return out


def main() -> None:
    """Seed, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--versions", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--file-mb", type=int, default=300)
    options = parser.parse_args()
    from gatehouse_cli import services
    from gatehouse_cli.paths import DataDir, venv_bin

    mlflow_port, web_port = services.free_port(), services.free_port()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gh-bench-")))
        mlflow_db, portal_db = stack.enter_context(scratch("bench_registry_mlflow")), stack.enter_context(scratch("bench_registry"))
        command = [
            *(str(venv_bin(".venv", "mlflow")), "server", "--host", "127.0.0.1", "--port", str(mlflow_port), "--workers", "2"),
            *("--uvicorn-opts", "--loop uvloop", "--serve-artifacts"),
        ]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))}
        mlflow_environment = {**clean, **services.mlflow_environment(DataDir(folder), mlflow_db, mlflow_port)}
        stack.enter_context(running(command, mlflow_environment, mlflow_port, "/health"))
        direct = Caller(mlflow_port)
        experiment = direct("POST", f"{API}/experiments/create", {"name": "bench"})["experiment_id"]
        run_id = direct("POST", f"{API}/runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]["run_id"]
        root = f"{experiment}/{run_id}/artifacts"
        direct("POST", f"{API}/registered-models/create", {"name": "seed"})
        direct("POST", f"{API}/model-versions/create", {"name": "seed", "source": f"mlflow-artifacts:/{root}/model", "run_id": run_id})
        direct("POST", f"{API}/registered-models/alias", {"name": "seed", "alias": "first", "version": "1"})
        multiply(mlflow_db, options.models, options.versions)
        os.environ |= {
            "DATABASE_URL": portal_db, "GATEHOUSE_MLFLOW_URL": f"http://127.0.0.1:{mlflow_port}", "GATEHOUSE_ALLOWED_HOSTS": "127.0.0.1",
            "GATEHOUSE_PROCESS": "web",
        }  # fmt: skip
        token = people(options.models, options.versions)
        web = [
            *(str(venv_bin(".venv", "gunicorn")), "portal.wsgi:application", "-k", "gthread", "--workers", "2", "--threads", "16", "--preload"),
            *("--bind", f"127.0.0.1:{web_port}", "--limit-request-line", "8190", "--worker-tmp-dir", "/dev/shm", "--no-control-socket"),
            *("--log-level", "warning"),
        ]
        stack.enter_context(running(web, dict(os.environ), web_port, "/healthz"))
        through = Caller(web_port, "/mlflow", token)
        # The kept connection has been idle for longer than the server keeps it.
        direct = Caller(mlflow_port)
        found = measure(direct, through, options.rounds, options.models, run_id, root)
        print(f"{options.models} models x {options.versions} versions, MLflow with 2 workers; p50 of {options.rounds} calls, asked in turn")
        print(f"{'':24}{'direct':>12}{'through':>12}{'ratio':>8}")
        for what, bare, ours in found:
            print(f"{what:24}{bare:9.2f} ms{ours:9.2f} ms{ours / bare:8.2f}{'' if ours / bare <= LIMIT else f'   over {LIMIT}'}")
        size = options.file_mb * 1024 * 1024
        store = "/api/2.0/mlflow-artifacts/artifacts"
        for what, act in (("upload", Caller.put), ("download", Caller.get)):
            took: dict[str, list[float]] = {"direct": [], "through": []}
            for _ in range(3):
                for who, caller in (("direct", Caller(mlflow_port)), ("through", Caller(web_port, "/mlflow", token))):
                    took[who].append(act(caller, f"{store}/{root}/{who}.bin", size))
            best = {who: options.file_mb / statistics.median(each) for who, each in took.items()}
            print(f"{what + f' of {options.file_mb} MB':24}{best['direct']:7.0f} MB/s{best['through']:7.0f} MB/s{best['through'] / best['direct']:8.2f}")


if __name__ == "__main__":
    main()

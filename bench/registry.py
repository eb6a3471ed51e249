"""What the governed MLflow endpoint costs: the same calls to the same `mlflow server`, directly and through the portal, in turn.

    ./gatehouse bench registry [--models 2000] [--versions 3] [--rounds 200] [--file-mb 300] [--not-durable]

The MLflow server has two workers on uvloop and PostgreSQL; the portal is gunicorn as `./gatehouse up` starts it. Both work on
scratch databases that are dropped afterwards, in one PostgreSQL that waits for the disk as it does in use. The caller is an ML engineer
with a token: sight, rights, trail and follow-up are all paid for, and nothing is skipped because an administrator sees everything. One
kept connection each way, one call at a time.

The limit beside them is a relay in the same web server that checks and records nothing, and for writes one bare durable commit more:
the trail has to stand before MLflow is asked, so nothing that keeps this promise can be faster. The portal's own list of 100 models,
filtered by what the caller may see, is asked in turn with MLflow's search of 100.
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
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_PROCESS", "manage")

from bench._scratch import scratch  # noqa: E402

API = "/api/2.0/mlflow"
LIMIT = 1.25
WARM_UP = 40
# Below what either server keeps an idle connection for.
KEPT_S = 1.0


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
        self.used_at = 0.0
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def __call__(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The JSON of an answer that has to be 200."""
        if time.monotonic() - self.used_at > KEPT_S:
            self.connection.close()
        self.used_at = time.monotonic()
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
        db.execute(
            f"INSERT INTO registered_models ({into}) SELECT {taken} FROM registered_models t, generate_series(0, {models - 1}) i WHERE name = 'seed'"
        )
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
    _, secret = accounts.issue_token(actor=actor_from_user(person), user=person, name="bench", scopes=["mlflow", "read"])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    connection.close()
    return secret


class Committer:
    """One row, committed to disk: what the promise of a trail before the write costs at the least."""

    def __init__(self, url: str) -> None:
        import psycopg

        self.db = psycopg.connect(url, autocommit=True)
        self.db.execute("CREATE TABLE bench_commit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload text)")

    def __call__(self) -> None:
        self.db.execute("INSERT INTO bench_commit (payload) VALUES (%s)", ["x" * 700])


def measure(
    callers: dict[str, Caller], listing: Caller, commit: Callable[[], None], rounds: int, models: int, run_id: str, root: str
) -> None:
    """Ask each thing of MLflow directly, through the relay and through the portal in turn; print medians in milliseconds."""
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
    print(f"{'':22}{'direct':>11}{'through':>11}{'ratio':>7}{'fastest tenth':>15}{'limit':>11}{'ratio':>7}")
    for what, ask in calls.items():
        turns: dict[str, Callable[[], Any]] = {who: partial(ask, caller) for who, caller in callers.items()}
        writes = what in {"create version", "set alias"}
        if writes:
            turns["commit"] = commit
        if what.startswith("search"):
            turns["listing"] = lambda: listing("GET", "/models/?page_size=100")
        took = in_turn(turns, rounds)
        middle = {who: statistics.median(each) for who, each in took.items()}
        low = {who: sorted(each)[len(each) // 10] for who, each in took.items()}
        limit = middle["relay"] + middle.get("commit", 0)
        bare, ours = middle["direct"], middle["through"]
        remark = "" if ours / bare <= LIMIT else f"   over {LIMIT}"
        if writes:
            remark += f"   (a durable commit alone: {middle['commit']:.2f} ms)"
        tenth = low["through"] / low["direct"]
        print(f"{what:22}{bare:8.2f} ms{ours:8.2f} ms{ours / bare:7.2f}{tenth:15.2f}{limit:8.2f} ms{limit / bare:7.2f}{remark}")
        if "listing" in middle:
            print(
                f"{'own list of 100':22}{bare:8.2f} ms{middle['listing']:8.2f} ms{middle['listing'] / bare:7.2f}   (direct: MLflow's search of 100)"
            )


def in_turn(turns: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call, one after the other in an order that changes."""
    took: dict[str, list[float]] = {who: [] for who in turns}
    names = list(turns)
    for i in range(rounds + WARM_UP):
        for who in names[i % len(names) :] + names[: i % len(names)]:
            started = time.perf_counter()
            turns[who]()
            if i >= WARM_UP:
                took[who].append((time.perf_counter() - started) * 1000)
    return took


def wait_for_disk(wanted: bool) -> None:
    """The services of a bench do not wait for the disk; have them wait, as PostgreSQL does in use."""
    import psycopg

    with psycopg.connect(os.environ["GATEHOUSE_SUPERUSER_DATABASE_URL"], autocommit=True) as connection:
        for name in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {name} = {'on' if wanted else 'off'}")
        connection.execute("SELECT pg_reload_conf()")


def main() -> None:
    """Seed, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--versions", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--file-mb", type=int, default=300)
    parser.add_argument("--not-durable", action="store_true", help="PostgreSQL does not wait for the disk")
    options = parser.parse_args()
    from gatehouse_cli import services
    from gatehouse_cli.paths import DataDir, venv_bin

    mlflow_port, web_port, relay_port = (services.free_port() for _ in range(3))
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
        server = [
            *(str(venv_bin(".venv", "gunicorn")), "-k", "gthread", "--workers", "2", "--threads", "16", "--preload"),
            *("--limit-request-line", "8190", "--worker-tmp-dir", "/dev/shm", "--no-control-socket", "--log-level", "warning"),
        ]
        stack.enter_context(
            running([*server, "--bind", f"127.0.0.1:{web_port}", "portal.wsgi:application"], dict(os.environ), web_port, "/healthz")
        )
        relay = [*server, "--bind", f"127.0.0.1:{relay_port}", "bench.relay:application"]
        stack.enter_context(running(relay, {**os.environ, "BENCH_RELAY_PORT": str(mlflow_port)}, relay_port, "/healthz"))
        wait_for_disk(not options.not_durable)
        # Made anew: the first connection has been idle for longer than the server keeps it.
        callers = {"direct": Caller(mlflow_port), "relay": Caller(relay_port), "through": Caller(web_port, "/mlflow", token)}
        print(
            f"{options.models} models x {options.versions} versions, MLflow with 2 workers, PostgreSQL {'does not wait' if options.not_durable else 'waits'} "
            f"for the disk; median of {options.rounds} calls asked in turn; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        )
        measure(callers, Caller(web_port, "/api/v1", token), Committer(portal_db), options.rounds, options.models, run_id, root)
        size = options.file_mb * 1024 * 1024
        store = "/api/2.0/mlflow-artifacts/artifacts"
        for what, act in (("upload", Caller.put), ("download", Caller.get)):
            took: dict[str, list[float]] = {"direct": [], "through": []}
            for _ in range(5):
                for who, caller in (("direct", Caller(mlflow_port)), ("through", Caller(web_port, "/mlflow", token))):
                    took[who].append(act(caller, f"{store}/{root}/{who}.bin", size))
            best = {who: options.file_mb / statistics.median(each) for who, each in took.items()}
            print(
                f"{what + f' of {options.file_mb} MB':24}{best['direct']:7.0f} MB/s{best['through']:7.0f} MB/s{best['through'] / best['direct']:8.2f}"
            )
        print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

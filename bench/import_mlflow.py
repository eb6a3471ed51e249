"""`./gatehouse import-mlflow` of a whole server, killed in the middle and resumed, and everything counted afterwards.

    ./gatehouse bench import_mlflow [--models 10000] [--every 10] [--kill-at 0.4]

The source is an `mlflow server` of its own; every model has one version, every `--every`th two, each with its own run (two
parameters, one metric) and two files. The seed is copied in the source's own tables, as `bench/registry.py` does. The portal is
gunicorn as `./gatehouse up` starts it, in front of a second `mlflow server`; the importing person is an ML engineer with a token. The
import is killed with SIGKILL when `--kill-at` of the models are through, and started again with the same words.
"""

import argparse
import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("GATEHOUSE_PROCESS", "manage")

from bench._scratch import scratch  # noqa: E402
from bench.registry import API, Caller, people, running  # noqa: E402

FILES = {"MLmodel": b"flavors:\n  python_function: {}\n", "model.pkl": b"x" * 4096}
# A run's id is 32 hex digits: the model's number and the version's, so that a file's folder is known without asking.
RUN = "lpad(i::text, 16, '0') || lpad(v::text, 16, '0')"


def seed(url: str, artifacts: Path, experiment: str, models: int, every: int) -> int:
    """Copy the seed's model, version and run, and write the files of each. Returns how many versions there are."""
    import psycopg

    with psycopg.connect(url) as db:

        def copied(table: str, where: str, over: str, **instead: str) -> None:
            names = [r[0] for r in db.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,))]
            taken = ", ".join(instead.get(n, f"t.{n}") for n in names)
            db.execute(f"INSERT INTO {table} ({', '.join(names)}) SELECT {taken} FROM {table} t, {over} WHERE {where}")

        name, numbers = "'model-' || lpad(i::text, 6, '0')", f"generate_series(1, {models}) i"
        both = f"{numbers}, generate_series(1, 2) v"
        wanted = f"(v = 1 OR i % {every} = 0)"
        where = f"'mlflow-artifacts:/{experiment}/' || {RUN} || '/artifacts'"
        copied("registered_models", "t.name = 'seed'", numbers, name=name)
        copied("runs", f"t.name = 'seed' AND {wanted}", both, run_uuid=RUN, name="'fit ' || i || '.' || v", artifact_uri=where)
        of_seed = f"t.run_uuid = (SELECT run_uuid FROM runs WHERE name = 'seed') AND {wanted}"
        for table in ("params", "metrics", "latest_metrics"):
            copied(table, of_seed, both, run_uuid=RUN)
        source = f"{where} || '/model'"
        at = {"name": name, "version": "v", "run_id": RUN, "source": source, "storage_location": source}
        copied("model_versions", f"t.name = 'seed' AND {wanted}", both, **at)
        db.execute("DELETE FROM model_versions WHERE name = 'seed'")
        db.execute("DELETE FROM registered_models WHERE name = 'seed'")
        runs = [r[0] for r in db.execute("SELECT run_id FROM model_versions")]
        db.commit()
        db.autocommit = True
        db.execute("ANALYZE")
    for run_id in runs:
        folder = artifacts / experiment / run_id / "artifacts" / "model"
        folder.mkdir(parents=True)
        for path, data in FILES.items():
            (folder / path).write_bytes(data + (run_id.encode() if path == "model.pkl" else b""))
    return len(runs)


def finished(state: Path) -> int:
    """How many models the state file says are through."""
    if not state.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as db, contextlib.suppress(sqlite3.Error):
        return int(db.execute("SELECT count(*) FROM place WHERE kind = 'finished'").fetchone()[0])
    return 0


def bring_over(source: str, environment: dict[str, str], state: Path, workers: int, kill_at: int) -> float:
    """Run the command; with `kill_at` kill it when so many models are through, else wait for its end and print what it says."""
    words = [sys.executable, "-m", "gatehouse_cli", "import-mlflow", source, "--state", str(state), "--workers", str(workers)]
    started = time.monotonic()
    process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    while kill_at and process.poll() is None:
        if finished(state) >= kill_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"killed with {finished(state):,} models through", file=sys.stderr)
            return time.monotonic() - started
        time.sleep(0.1)
    out, _ = process.communicate()
    said = json.loads(out)
    if process.returncode or said["problems"]:
        raise SystemExit(f"exit {process.returncode}: {json.dumps(said)[:2000]}")
    print(json.dumps({k: v for k, v in said.items() if not isinstance(v, list)}), file=sys.stderr)
    return time.monotonic() - started


def check(mlflow_db: str, artifacts: Path, models: int, versions: int) -> list[tuple[str, int, int]]:
    """(what, counted, wanted) in MLflow's tables, its files and the portal's tables after both runs."""
    import psycopg

    from apps.audit.models import Event
    from apps.registry.models import ModelVersion, RegisteredModel

    with psycopg.connect(mlflow_db) as db:

        def count(sql: str) -> int:
            row = db.execute(sql).fetchone()
            return int(row[0]) if row else -1

        rows = [
            ("models in MLflow", count("SELECT count(*) FROM registered_models"), models),
            ("versions in MLflow", count("SELECT count(*) FROM model_versions"), versions),
            ("versions by where they come from", count("SELECT count(DISTINCT value) FROM model_version_tags WHERE key = 'imported.from'"), versions),
            ("runs", count("SELECT count(*) FROM runs"), versions),
            ("runs with both parameters", count("SELECT count(*) FROM (SELECT run_uuid FROM params GROUP BY run_uuid HAVING count(*) = 2) x"), versions),
            ("points of metrics", count("SELECT count(*) FROM metrics"), versions),
            ("runs that have ended", count("SELECT count(*) FROM runs WHERE status = 'FINISHED'"), versions),
        ]  # fmt: skip
        where = dict(db.execute("SELECT run_id, source FROM model_versions").fetchall())
        of_run = dict(db.execute("SELECT run_uuid, value FROM tags WHERE key = 'imported.run'").fetchall())
    good = 0
    for run_id, source in where.items():
        folder = artifacts / source.removeprefix("mlflow-artifacts:/")
        found = {p.name: hashlib.sha256(p.read_bytes()).digest() for p in folder.iterdir()}
        wanted = {p: hashlib.sha256(d + (of_run[run_id].encode() if p == "model.pkl" else b"")).digest() for p, d in FILES.items()}
        good += found == wanted
    return [
        *rows,
        ("folders with exactly the source's files", good, versions),
        ("models in the portal, with their owner", RegisteredModel.objects.exclude(owner=None).count(), models),
        ("versions in the portal, with their author", ModelVersion.objects.exclude(author_user=None).count(), versions),
        ("versions in the trail", Event.objects.filter(action="registry.version.created").values("object_id").distinct().count(), versions),
    ]


def main() -> None:
    """Seed, import, kill, import again, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=10, help="every so many models have a second version")
    parser.add_argument("--kill-at", type=float, default=0.4, help="share of the models after which the import is killed")
    parser.add_argument("--workers", type=int, default=6)
    options = parser.parse_args()
    from gatehouse_cli import services
    from gatehouse_cli.paths import DataDir, venv_bin

    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gh-bench-")))
        databases = {n: stack.enter_context(scratch(f"bench_import_{n}")) for n in ("source", "mlflow", "portal")}
        ports = {n: services.free_port() for n in ("source", "mlflow", "portal")}
        for name in ("source", "mlflow"):
            command = [
                *(str(venv_bin(".venv", "mlflow")), "server", "--host", "127.0.0.1", "--port", str(ports[name]), "--workers", "1"),
                *("--uvicorn-opts", "--loop uvloop", "--serve-artifacts"),
            ]
            environment = {**clean, **services.mlflow_environment(DataDir(folder / name), databases[name], ports[name])}
            stack.enter_context(running(command, environment, ports[name], "/health"))
        source = Caller(ports["source"])
        experiment = source("POST", f"{API}/experiments/create", {"name": "work"})["experiment_id"]
        run_id = source("POST", f"{API}/runs/create", {"experiment_id": experiment, "run_name": "seed", "start_time": 1})["run"]["info"][
            "run_id"
        ]
        params = [{"key": k, "value": "1"} for k in ("depth", "rate")]
        metrics = [{"key": k, "value": 0.8, "timestamp": 1, "step": 0} for k in ("auc",)]
        source("POST", f"{API}/runs/log-batch", {"run_id": run_id, "params": params, "metrics": metrics})
        source("POST", f"{API}/runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 2})
        source("POST", f"{API}/registered-models/create", {"name": "seed"})
        source(
            "POST",
            f"{API}/model-versions/create",
            {"name": "seed", "source": f"mlflow-artifacts:/{experiment}/{run_id}/artifacts/model", "run_id": run_id},
        )
        started = time.monotonic()
        versions = seed(databases["source"], folder / "source" / "mlflow-artifacts", experiment, options.models, options.every)
        print(f"seeded {options.models:,} models, {versions:,} versions in {time.monotonic() - started:.0f} s", file=sys.stderr)
        os.environ |= {
            "DATABASE_URL": databases["portal"], "GATEHOUSE_MLFLOW_URL": f"http://127.0.0.1:{ports['mlflow']}",
            "GATEHOUSE_ALLOWED_HOSTS": "127.0.0.1", "GATEHOUSE_PROCESS": "web",
        }  # fmt: skip
        token = people(0, 0)
        web = [
            *(
                str(venv_bin(".venv", "gunicorn")),
                "portal.wsgi:application",
                "-k",
                "gthread",
                "--workers",
                "2",
                "--threads",
                "16",
                "--preload",
            ),
            *(
                "--bind",
                f"127.0.0.1:{ports['portal']}",
                "--limit-request-line",
                "8190",
                "--worker-tmp-dir",
                "/dev/shm",
                "--no-control-socket",
            ),
            *("--log-level", "warning"),
        ]
        stack.enter_context(running(web, dict(os.environ), ports["portal"], "/healthz"))
        words = {**clean, "GATEHOUSE_URL": f"http://127.0.0.1:{ports['portal']}", "GATEHOUSE_TOKEN": token}
        state, url = folder / "state.sqlite", f"http://127.0.0.1:{ports['source']}"
        first = bring_over(url, words, state, options.workers, int(options.models * options.kill_at))
        through = finished(state)
        second = bring_over(url, words, state, options.workers, 0)
        load = os.getloadavg()[1]
        print(f"{options.models:,} models, {versions:,} versions; load {load:.1f} on {os.cpu_count()} cores")
        print(f"killed after {first:.0f} s with {through:,} models through; the second run took {second:.0f} s")
        print(f"{versions / (first + second):.1f} versions a second with their run, files and trail")
        rows = check(databases["mlflow"], folder / "mlflow" / "mlflow-artifacts", options.models, versions)
        for what, counted, wanted in rows:
            print(f"{what:44}{counted:>9,} of {wanted:>7,}{'' if counted == wanted else '   WRONG'}")
        if any(counted != wanted for _, counted, wanted in rows):
            raise SystemExit(1)


if __name__ == "__main__":
    main()

"""`./gatehouse import-mlflow URI`: takes the models of an existing MLflow server under governance.

Reads the server's REST API and writes through the portal's governed endpoint, so that everything is permission-checked and in the
trail. What was done is kept in a state file: the same command goes on where it was stopped. Standard library only.
"""

import argparse
import contextlib
import fnmatch
import hashlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatehouse_cli.client import DONE, REFUSED, UNREACHABLE, USAGE, ClientError, refuse
from gatehouse_cli.mlflow_copy import Copier, Problem
from gatehouse_cli.mlflow_rest import API, Server, ServerError

SCHEMA = """
CREATE TABLE IF NOT EXISTS place (kind TEXT, source TEXT, target TEXT, PRIMARY KEY (kind, source));
"""


class State:
    """What has been copied: (kind, source) -> target; `''` as target: begun, outcome unknown. Safe for several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.executescript(SCHEMA)

    def get(self, kind: str, source: str) -> str | None:
        """Where it went; "" when it was begun and nobody knows; None when it was not begun."""
        with self._lock:
            row = self._database.execute("SELECT target FROM place WHERE kind = ? AND source = ?", (kind, source)).fetchone()
        return row[0] if row else None

    def put(self, kind: str, source: str, target: str) -> None:
        """Remember it; on disk when this returns."""
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?)", (kind, source, target))

    def count(self, kind: str) -> int:
        """How many of a kind are done."""
        with self._lock:
            return int(self._database.execute("SELECT count(*) FROM place WHERE kind = ? AND target != ''", (kind,)).fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()


@dataclass
class Tally:
    """What this run did. `waiting`: protected aliases, which need a gate in the portal."""

    models: int = 0
    versions: int = 0
    already: int = 0
    bytes: int = 0
    waiting: list[dict[str, Any]] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What the source holds of what was asked for: model rows, and their versions, lowest number first."""

    models: list[dict[str, Any]]
    versions: dict[str, list[dict[str, Any]]]


def read_source(source: Server, pattern: str) -> Plan:
    """Every registered model whose name matches, with its versions. Prompts are not models and stay behind."""
    rows = [
        m
        for m in source.pages(f"{API}/registered-models/search", "registered_models", max_results=1000)
        if fnmatch.fnmatchcase(m["name"], pattern) and not any(t["key"] == "mlflow.prompt.is_prompt" for t in m.get("tags", []))
    ]
    wanted = {m["name"] for m in rows}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    for version in source.pages(f"{API}/model-versions/search", "model_versions", max_results=1000):
        if version["name"] in wanted:
            found[version["name"]].append(version)
    for versions in found.values():
        versions.sort(key=lambda v: int(v["version"]))
    return Plan(sorted(rows, key=lambda m: str(m["name"])), found)


def run(source: Server, target: Server, plan: Plan, state: State, *, workers: int, run_artifacts: bool, tell: "Progress") -> Tally:
    """Copy the plan, several models at once; a model whose copying fails is a problem of the tally and the others go on."""
    copier = Copier(source, target, state, run_artifacts=run_artifacts)
    tally, lock = Tally(), threading.Lock()
    stop = threading.Event()

    def one(model: dict[str, Any]) -> None:
        name = str(model["name"])
        if stop.is_set():
            return
        try:
            copier.model(model)
            for version in plan.versions[name]:
                if stop.is_set():
                    return
                copied = copier.version(version)
                with lock:
                    tally.versions += copied is not None
                    tally.already += copied is None
                    tally.bytes += copied or 0
                tell.now(tally)
            waiting = copier.aliases(model)
            state.put("finished", name, "yes")
            with lock:
                tally.models += 1
                tally.waiting += waiting
        except (Problem, ServerError) as error:
            with lock:
                tally.problems.append({"model": name, "detail": str(error)})
        tell.now(tally)

    pool = ThreadPoolExecutor(workers)
    try:
        for done in as_completed([pool.submit(one, model) for model in plan.models]):
            done.result()
    except BaseException:
        stop.set()
        raise
    finally:
        # What is under way is finished, so that the next run begins at a clean edge.
        pool.shutdown(wait=True, cancel_futures=True)
    tally.waiting.sort(key=lambda w: (w["model"], w["alias"]))
    tally.problems.sort(key=lambda p: p["model"])
    return tally


def preview(target: Server, plan: Plan, state: State) -> dict[str, Any]:
    """What a run would do, without writing anything: counts, names that are taken, protected aliases."""
    versions = [v for rows in plan.versions.values() for v in rows]
    done = sum(state.get("version", f"{v['name']}/{v['version']}") not in {None, ""} for v in versions)
    taken = []
    for model in plan.models:
        if state.get("model", model["name"]) is None:
            with contextlib.suppress(ServerError):
                target.get(f"{API}/registered-models/get", name=model["name"])
                taken.append(model["name"])
    return {
        "dry_run": True, "models": len(plan.models), "versions": len(versions), "already_imported": done,
        "runs": len({v.get("run_id") for v in versions if v.get("run_id")}),
        "names_taken": taken,
        "aliases": sum(len(m.get("aliases", [])) for m in plan.models),
    }  # fmt: skip


class Progress:
    """A line on standard error, at most one a second."""

    def __init__(self, plan: Plan, *, quiet: bool) -> None:
        self._total = (len(plan.models), sum(len(v) for v in plan.versions.values()))
        self._quiet, self._next, self._began = quiet, 0.0, time.monotonic()
        self._lock = threading.Lock()

    def now(self, tally: Tally, *, last: bool = False) -> None:
        """Say how far it is."""
        with self._lock:
            moment = time.monotonic()
            if self._quiet or (moment < self._next and not last):
                return
            self._next = moment + 1
        models, versions = self._total
        print(
            f"{tally.models:,} of {models:,} models, {tally.versions + tally.already:,} of {versions:,} versions, "
            f"{tally.bytes / 1e6:,.1f} MB, {len(tally.problems):,} problems, {moment - self._began:.0f} s",
            file=sys.stderr,
            flush=True,
        )


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./gatehouse import-mlflow",
        description="Copy registered models, their versions, runs, files and aliases from an MLflow server into the portal, through its "
        "governed endpoint. Give the same command again to go on after a stop.",
        epilog="GATEHOUSE_URL and GATEHOUSE_TOKEN (scope mlflow) name the portal; SOURCE_MLFLOW_TOKEN, or SOURCE_MLFLOW_USERNAME and "
        "SOURCE_MLFLOW_PASSWORD, open the source if it asks.",
    )
    parser.add_argument("uri", help="address of the MLflow server to read, such as http://mlflow.example.org:5000")
    parser.add_argument("--models", default="*", metavar="PATTERN", help="only names like this, such as 'churn-*'")
    parser.add_argument("--dry-run", action="store_true", help="read and count, write nothing")
    parser.add_argument("--run-artifacts", action="store_true", help="copy all files of the runs, not the models' alone")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="models copied at once (1 to 32; default 4)")
    parser.add_argument(
        "--state", metavar="FILE", help="what has been done; default: gatehouse-import-....sqlite here, one a pair of servers"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress lines")
    options = parser.parse_args(words)
    if not 1 <= options.workers <= 32:
        parser.error("--workers: give 1 to 32")
    return options


def main(words: list[str]) -> int:
    """Import, print a JSON summary. Exit codes: 0 all done; 1 some models have problems; 2 wrong arguments; 6 a server is away."""
    options = _arguments(words)
    try:
        return _import(options)
    except ClientError as error:
        print(json.dumps(error.problem, indent=1, ensure_ascii=False), file=sys.stderr)
        return error.code
    except ServerError as error:
        print(json.dumps({"title": "import-mlflow", "detail": str(error)}, indent=1, ensure_ascii=False), file=sys.stderr)
        return UNREACHABLE if error.status in {0, 502, 503, 504} else REFUSED
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _import(options: argparse.Namespace) -> int:
    portal, token = os.environ.get("GATEHOUSE_URL", "").rstrip("/"), os.environ.get("GATEHOUSE_TOKEN", "")
    if not portal or not token:
        refuse(USAGE, "GATEHOUSE_URL and GATEHOUSE_TOKEN are not both set: the portal's address, and an API token with the scope mlflow.")
    try:
        source = Server(
            options.uri,
            token=os.environ.get("SOURCE_MLFLOW_TOKEN", ""),
            user=os.environ.get("SOURCE_MLFLOW_USERNAME", ""),
            password=os.environ.get("SOURCE_MLFLOW_PASSWORD", ""),
        )
        target = Server(f"{portal}/mlflow", token=token)
    except ValueError as error:
        refuse(USAGE, str(error))
    with _state(options, source, target) as state:
        plan = read_source(source, options.models)
        if not plan.models:
            refuse(REFUSED, f"{source.url} has no registered model like {options.models!r}.")
        if options.dry_run:
            print(json.dumps(preview(target, plan, state), indent=1, ensure_ascii=False))
            return DONE
        progress = Progress(plan, quiet=options.quiet)
        tally = run(source, target, plan, state, workers=options.workers, run_artifacts=options.run_artifacts, tell=progress)
        progress.now(tally, last=True)
    print(
        json.dumps(
            {
                "models": tally.models, "versions": tally.versions, "already_imported": tally.already, "bytes": tally.bytes,
                "aliases_that_need_a_gate": tally.waiting, "problems": tally.problems,
            },
            indent=1, ensure_ascii=False,
        )
    )  # fmt: skip
    return REFUSED if tally.problems else DONE


@contextlib.contextmanager
def _state(options: argparse.Namespace, source: Server, target: Server) -> Iterator[State]:
    """The state file; a dry run works on a copy in memory, so that it leaves nothing behind."""
    pair = hashlib.sha256(f"{source.url}\n{target.url}".encode()).hexdigest()[:12]
    here = Path(os.environ.get("GATEHOUSE_CALLED_FROM", "."))
    path = here / (options.state or f"gatehouse-import-{pair}.sqlite")
    if options.dry_run and not path.exists():
        path = Path(":memory:")
    try:
        state = State(path)
    except sqlite3.Error as error:
        refuse(USAGE, f"--state {path}: {error}. Name a file that can be written.")
    try:
        with state._lock:
            row = state._database.execute("SELECT target FROM place WHERE kind = 'pair'").fetchone()
        if row and row[0] != pair:
            refuse(USAGE, f"--state {path} belongs to another pair of servers. Name another file.")
        state.put("pair", "pair", pair)
        yield state
    finally:
        state.close()

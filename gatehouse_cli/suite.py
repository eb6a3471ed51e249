"""Services for `./gatehouse test` and `bench`: private ones, in a folder of their own, ready made.

What each run would make alike (the database cluster, its roles, MLflow's tables, the portal's migrated tables) is made once for
a state of the code and kept beside the runs; a run begins with a copy. `TEMPLATE` names the database that the suite's own
databases are copied from.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from gatehouse_cli import guard, machine, orphans, portal_runs, roles
from gatehouse_cli.paths import REPO, DataDir, digest_of_files, venv_bin
from gatehouse_cli.say import say
from gatehouse_cli.stack import STORES, Stack, StackError

PARENT = REPO / ".gatehouse-test"
TEMPLATE = "gatehouse_template"
# What is made for another state of the code goes when nobody has begun with it for this long.
KEPT_FOR_S = 24 * 3600.0


def pytest_words(arguments: list[str]) -> tuple[list[str], bool]:
    """What pytest is told, and whether tests marked `long` are left out: they run with `--all`, or asked for by mark or file."""
    parallel = not any(word.startswith(("-n", "--numprocesses", "--pdb", "--trace")) or word == "no:xdist" for word in arguments)
    asked = any(word == "--all" or word.startswith("-m") or ".py" in word for word in arguments)
    words = [*(["-n", "2", "--dist", "loadgroup"] if parallel else []), *([] if asked else ["-m", "not long"])]
    return [*words, *(word for word in arguments if word != "--all")], not asked


def with_services(command: list[str], variables: dict[str, str]) -> int:
    """Run a command against private PostgreSQL, Valkey and MLflow, and pass its exit code through."""
    remove_left_overs()
    machine.check_space(REPO, 2000, "running the tests")
    stack = _stack("run")

    def run() -> int:
        stack.start("mlflow")
        say("PostgreSQL, Valkey and MLflow answer")
        env = {**os.environ, **portal_runs.services_environment(stack), "GATEHOUSE_TEST_TEMPLATE": TEMPLATE, **variables}
        return portal_runs.child(command, env)

    try:
        return portal_runs.run(stack, run, stay=False, only=STORES, prepare=lambda: stack.restore(ready_made()))
    finally:
        shutil.rmtree(stack.data.root, ignore_errors=True)


def _stack(what: str) -> Stack:
    # Tests also do to MLflow what is done behind the portal's back.
    open_to_all = {"GATEHOUSE_MLFLOW_TOKEN": ""}
    return Stack(PARENT / f"{what}-{os.getpid()}", durable=False, environment=open_to_all, say=say)


def remove_left_overs() -> None:
    """What earlier, killed runs left."""
    for pattern in ("run-*", "making-*"):
        for left in PARENT.glob(pattern):
            launcher = left.name.partition("-")[2].partition(".")[0]
            if not guard.running(DataDir(left)) and not Path("/proc", launcher).exists():
                orphans.end(DataDir(left))
                shutil.rmtree(left, ignore_errors=True)
    for made in PARENT.glob("made-*"):
        if time.time() - made.stat().st_mtime > KEPT_FOR_S:
            shutil.rmtree(made, ignore_errors=True)


def ready_made() -> Path:
    """The data folder that runs begin with, made if the code has changed since the last was."""
    # What the tables of the portal and of MLflow come from, and how they are made.
    digest = digest_of_files("apps/*/migrations/*.py", "requirements.txt", "gatehouse_cli/*.py")
    folder = PARENT / f"made-{digest[:16]}"
    if not folder.exists():
        say("making database, roles and tables for this state of the code; the next runs begin with a copy")
        _make(folder)
    folder.touch()
    return folder


def _make(folder: Path) -> None:
    """Fill `folder`; it appears complete or not at all."""
    stack = _stack("making")
    draft = stack.data.root.with_name(f"{stack.data.root.name}.data")
    try:
        stack.prepare()
        stack.start(*STORES)
        roles.ensure_roles(stack.database_url("postgres", "postgres"), stack.layout.env["passwords"])
        stack.start("mlflow", wait=False)
        _migrate(stack)
        stack.wait_ready("mlflow")
        stack.stop()
        stack.snapshot(draft)
        if not folder.exists():
            draft.rename(folder)
    finally:
        stack.stop()
        for left in (stack.data.root, draft):
            shutil.rmtree(left, ignore_errors=True)


def _migrate(stack: Stack) -> None:
    import psycopg

    with psycopg.connect(stack.database_url("gatehouse_owner", "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{TEMPLATE}"')
    env = stack.env("manage", "gatehouse_owner") | {"DATABASE_URL": stack.database_url("gatehouse_owner", TEMPLATE)}
    command = [str(venv_bin(".venv", "python")), "manage.py", "migrate", "--no-input", "--verbosity", "0"]
    done = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError("the migrations failed:\n" + "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:]))

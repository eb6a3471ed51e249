"""Portals for tests: one that has told the sample story up to the pilot's gate, and copies of it that go on from there.

The story's first four steps are told once for a run of the tests, whichever parallel worker comes first; the stopped
portal's data is the snapshot that every copy begins with.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from demo import story
from demo.journey import STEPS
from demo.steps.context import Context
from gatehouse_cli import guard, orphans
from gatehouse_cli.portal_runs import connections
from gatehouse_cli.programs import ORDER
from gatehouse_cli.stack import Stack

HALF_WAY = 4
LATENCY_P99_MS = 2_000.0
# The shared folder of what a story leaves behind in which nothing is killed.
UNDISTURBED = "undisturbed"
# Nothing is deployed before the pilot.
NOT_NEEDED_BEFORE = ("seal", "schedule", "agent", "gateway")


@dataclass
class RunningPortal:
    """A portal that runs, and where its story stands. `took` holds the seconds of each told step, by its number."""

    stack: Stack
    ctx: Context
    took: dict[int, float] = field(default_factory=dict)
    said: dict[int, str] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        """The portal's address."""
        return self.stack.base_url

    @property
    def accounts(self) -> list[dict[str, str]]:
        """The story's people: `name`, `email`, `role`, `function`, `password`, `token`."""
        return self.ctx.accounts

    def tell(self, *numbers: int) -> None:
        """Go on with these steps of the story. Raises JourneyError."""
        for number in numbers:
            began = time.monotonic()
            self.said[number] = STEPS[number - 1][1](self.ctx)
            self.took[number] = time.monotonic() - began

    def replaced(self, name: str, pid: int) -> int:
        """Wait until supervisor runs another process in the place of `pid`; returns the new one's pid."""
        until(f"another {name}", lambda: self.stack.pid(name) not in (0, pid))
        self.stack.wait_ready(name)
        return self.stack.pid(name)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What the database says, past the portal: a test counts with it."""
        with psycopg.connect(self.stack.database_url("postgres"), row_factory=dict_row) as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[arg-type]

    def count(self, query: str, *values: Any) -> int:
        """The one number a query returns."""
        (row,) = self.rows(query, *values)
        return int(next(iter(row.values())))


def fresh_stack(folder: Path, environment: dict[str, str] | None = None) -> Stack:
    """A portal of its own under `folder`; killed processes come back, and it ends with this process."""
    return Stack(folder, demo=True, durable=False, environment=environment)


def make_accounts(stack: Stack) -> list[dict[str, str]]:
    """The story's people, through the portal's command line."""
    people = [{"name": p.name, "email": p.email, "role": p.role, "function": p.function} for p in story.PEOPLE.values()]
    made: list[dict[str, str]] = json.loads(stack.manage("sample_accounts", stdin=json.dumps(people)).splitlines()[-1])
    return made


def make_half_way(folder: Path) -> None:
    """Tell the first steps in a new portal and leave its data, stopped, as `folder/data`, its context as `context.json`."""
    stack = fresh_stack(folder / "portal")
    # Tests are about what happens, not about how fast a busy machine is: ./gatehouse demo keeps to the story's own requirement,
    # and so does whatever is written down after this snapshot.
    own = story.NFRS["latency_p99_ms"]
    story.NFRS["latency_p99_ms"] = LATENCY_P99_MS
    try:
        stack.up(without=NOT_NEEDED_BEFORE)
        accounts = make_accounts(stack)
        portal = RunningPortal(stack, Context(data=stack.data.root, stack=connections(stack), accounts=accounts))
        portal.tell(*range(1, HALF_WAY + 1))
        stack.stop()
        stack.snapshot(folder / "data")
    finally:
        story.NFRS["latency_p99_ms"] = own
        stack.stop()
    context = {"accounts": accounts, "run": portal.ctx.run, "made": portal.ctx.made, "took": portal.took, "said": portal.said}
    (folder / "context.json").write_text(json.dumps(context))
    remove_data(folder / "portal")


def made_once(factory: pytest.TempPathFactory, worker_id: str, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that all parallel workers share, filled by the first that asks while the others wait."""
    shared = factory.getbasetemp() if worker_id == "master" else factory.getbasetemp().parent
    folder = shared / name
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "failed").exists():
            pytest.fail((folder / "failed").read_text(), pytrace=False)
        if not (folder / "made").exists():
            try:
                make(folder)
            except Exception as error:
                (folder / "failed").write_text(f"{name} could not be made: {error}")
                raise
            (folder / "made").touch()
    return folder


def half_way_snapshot(factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of the snapshot after the first steps."""
    return made_once(factory, worker_id, "half-way", make_half_way)


def _numbers(texts: dict[str, Any]) -> dict[int, Any]:
    return {int(key): value for key, value in texts.items()}


@contextlib.contextmanager
def copy_of(
    snapshot: Path, folder: Path, *, without: tuple[str, ...] = (), environment: dict[str, str] | None = None
) -> Iterator[RunningPortal]:
    """A running copy of the snapshot, with ports of its own and every process but those in `without`."""
    stack = fresh_stack(folder, environment)
    try:
        stack.restore(snapshot / "data")
        stack.start(*[name for name in ORDER if name not in without])
        known = json.loads((snapshot / "context.json").read_text())
        ctx = Context(data=stack.data.root, stack=connections(stack), accounts=known["accounts"], run=known["run"], made=known["made"])
        ctx["versions"] = _numbers(ctx["versions"])
        yield RunningPortal(stack, ctx, _numbers(known["took"]), _numbers(known["said"]))
    finally:
        discard(stack)


def discard(stack: Stack) -> None:
    """End a portal that nobody needs any more, all processes at once, and delete its data."""
    # Those who supervise first, so that nothing comes back. A pid in a file may have gone to a stranger meanwhile.
    for pid in (guard.running(stack.data), supervisor_of(stack)):
        if pid > 0 and orphans.belongs(pid, stack.data):
            kill(pid, signal.SIGKILL)
    for pid in orphans.find(stack.data):
        # PostgreSQL alone ends by itself, and need not write down what is thrown away: killed, it would leave shared
        # memory behind.
        kill(pid, signal.SIGQUIT if is_postgres(pid) else signal.SIGKILL)
    stack.stop()
    remove_data(stack.data.root)


def supervisor_of(stack: Stack) -> int:
    """Pid of the supervisor that last ran for this portal, 0 when none did."""
    try:
        return int((stack.data.run / "supervisord.pid").read_text())
    except (OSError, ValueError):
        return 0


def kill(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def is_postgres(pid: int) -> bool:
    """Is it PostgreSQL or one of its children?"""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        return False


def remove_data(folder: Path) -> None:
    """Delete a stopped portal's data. Its logs stay, for whoever looks for the cause of a failure."""
    for path in folder.iterdir() if folder.exists() else ():
        if path.name != "logs":
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def until(what: str, look: Callable[[], Any], *, limit_s: float = 60.0) -> Any:
    """The first answer that is not None, False, 0 or empty; fails with `what` was awaited after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {limit_s:.0f} s in vain for {what}"
        time.sleep(0.05)
    return found

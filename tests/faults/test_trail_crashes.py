"""kill -9 of the sealer, of web and of PostgreSQL at random moments while people write: the trail loses, doubles and forgets nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from gatehouse_cli.programs import ORDER
from tests.journeys.portals import RunningPortal, until

from .conftest import MakeCopy
from .counting import assert_whole_trail_verifies

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.stack, pytest.mark.xdist_group("faults")]
NEEDED = ("postgres", "valkey", "web", "seal")
WRITERS = 3
# One request, one transaction, five events: all of them are there or none.
BODY = {
    "problem": "Calls reach the wrong members.", "decision_supported": "Whom the desk calls.", "output_users": "Nurses", "risk_tier": "high",
    "currency": "USD", "requirements": {"latency_p99_ms": 100},
    "integrations": [{"name": f"Register {n}", "direction": "in", "owner": "IT"} for n in range(3)],
}  # fmt: skip
PARTS = {"usecases.usecase.created": 1, "usecases.requirements.set": 1, "usecases.integration.added": 3}


@pytest.fixture
def portal(copy: MakeCopy) -> RunningPortal:
    """What the trail needs, with a trail that has begun, and somebody who may write."""
    return copy(without=tuple(name for name in ORDER if name not in NEEDED))


@dataclass
class Writers:
    """People who write one use case after the other, each under a name of its own, and note which were answered."""

    portal: RunningPortal
    answered: dict[str, str] = field(default_factory=dict)
    broken: int = 0
    surprises: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def write(self, writer: int) -> None:
        """Until told to stop. What breaks off is not sent again: it may be there or not, but not in part."""
        token = next(a["token"] for a in self.portal.accounts if a["role"] == "ml_engineer")
        for number in range(1_000_000):
            if self.stopped.is_set():
                return
            name = f"Outreach {writer} {number}"
            try:
                answer = httpx.post(
                    f"{self.portal.base_url}/api/v1/usecases/",
                    json=BODY | {"name": name},
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=60,
                )
            except httpx.TransportError:
                self.broken += 1
                time.sleep(0.05)
                continue
            if answer.status_code == 201:
                self.answered[name] = answer.json()["id"]
            elif answer.status_code in (500, 502, 503):
                self.broken += 1
                time.sleep(0.05)
            else:
                self.surprises.append(f"{answer.status_code}: {answer.text[:300]}")
                return

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """They write inside the block."""
        threads = [threading.Thread(target=self.write, args=[n]) for n in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopped.set()
            for thread in threads:
                thread.join()

    def wait_for(self, more: int) -> None:
        """Until so many more have been answered."""
        enough = len(self.answered) + more
        until(f"{more} more answers", lambda: self.surprises or len(self.answered) >= enough, limit_s=120)
        assert not self.surprises


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_seal(portal: RunningPortal, chance: random.Random) -> None:
    portal.replaced("seal", portal.stack.kill9("seal"))


def kill_web(portal: RunningPortal, chance: random.Random) -> None:
    """The server and all its workers."""
    server = portal.stack.pid("web")
    for pid in (server, *children(server)):
        os.kill(pid, signal.SIGKILL)
    portal.replaced("web", server)


def kill_web_worker(portal: RunningPortal, chance: random.Random) -> None:
    """One worker; the server starts another."""
    os.kill(chance.choice(children(portal.stack.pid("web"))), signal.SIGKILL)


def kill_postgres(portal: RunningPortal, chance: random.Random) -> None:
    """The server; its sessions end when they notice."""
    portal.replaced("postgres", portal.stack.kill9("postgres"))


def kill_session(portal: RunningPortal, chance: random.Random) -> None:
    """One of PostgreSQL's processes: the server ends all of them and recovers."""
    os.kill(chance.choice(children(portal.stack.pid("postgres"))), signal.SIGKILL)


KILLS: tuple[Callable[[RunningPortal, random.Random], None], ...] = (kill_seal, kill_web, kill_web_worker, kill_postgres, kill_session)


def asked(portal: RunningPortal, query: str, *values: Any) -> int:
    """The one number a query returns; asked again while PostgreSQL is away."""

    def ask() -> list[int] | None:
        try:
            return [portal.count(query, *values)]
        except psycopg.OperationalError:
            return None

    (number,) = until("PostgreSQL to answer", ask)
    return int(number)


def assert_sealed_so_far(portal: RunningPortal) -> None:
    """Every event of every transaction that has ended by now gets its leaf."""
    ended = asked(portal, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    unsealed = (
        "SELECT count(*) FROM audit_event e WHERE xid < %s::text::xid8 AND NOT EXISTS (SELECT 1 FROM audit_leaf WHERE event_id = e.id)"
    )
    until("every finished event to be sealed", lambda: asked(portal, unsealed, ended) == 0, limit_s=120)


def assert_nothing_lost_or_doubled(portal: RunningPortal, writers: Writers) -> None:
    rows = {row["name"]: str(row["id"]) for row in portal.rows("SELECT id, name FROM usecases_usecase WHERE name LIKE 'Outreach %%'")}
    assert writers.answered.items() <= rows.items(), "every answered write is there"
    assert len(rows) == portal.count("SELECT count(*) FROM usecases_usecase WHERE name LIKE 'Outreach %%'"), "and there once"
    written = "SELECT usecase_id FROM audit_event WHERE action = 'usecases.usecase.created' AND object_label LIKE 'Outreach %%'"
    told = portal.rows(f"SELECT usecase_id, action, count(*) AS times FROM audit_event WHERE usecase_id IN ({written}) GROUP BY 1, 2")
    by_usecase: dict[str, dict[str, int]] = {}
    for row in told:
        by_usecase.setdefault(row["usecase_id"], {})[row["action"]] = row["times"]
    assert set(by_usecase) == set(rows.values()), "each change has events, each event its change"
    assert all(actions == PARTS for actions in by_usecase.values()), [a for a in by_usecase.values() if a != PARTS][:3]
    events = portal.count("SELECT count(*) FROM audit_event")
    leaves = portal.rows("SELECT count(*) AS all, count(DISTINCT event_id) AS events, max(leaf_index) + 1 AS size FROM audit_leaf")[0]
    assert (leaves["all"], leaves["events"], leaves["size"]) == (events, events, events), "each is sealed once, in one row"
    log = portal.ctx.stack["audit"]["witnessed_checkpoint"].removesuffix("latest") + "checkpoints.jsonl"
    notes: dict[int, set[str]] = {}
    for line in Path(log).read_text().splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            notes.setdefault(entry["tree_size"], set()).add(entry["note"].split("\n")[2])
    assert all(len(roots) == 1 for roots in notes.values()), "the witness was never shown two roots for one size"


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.long)])
def test_kills_at_random_moments_lose_double_and_forget_no_event(portal: RunningPortal, rounds: int) -> None:
    chance = random.Random(rounds)
    order = [kill for _ in range(rounds // len(KILLS)) for kill in KILLS]
    chance.shuffle(order)
    writers = Writers(portal)
    with writers.at_work():
        for kill in order:
            writers.wait_for(chance.randint(1, 9))
            time.sleep(chance.random() * 0.05)
            kill(portal, chance)
            assert_sealed_so_far(portal)
        writers.wait_for(3)
    assert Counter(kill.__name__ for kill in order) == {kill.__name__: rounds // len(KILLS) for kill in KILLS}
    assert writers.broken, "kills hit requests under way"
    assert_sealed_so_far(portal)
    assert_nothing_lost_or_doubled(portal, writers)
    assert_whole_trail_verifies(portal)

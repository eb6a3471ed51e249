"""Step 5 of the story, the deployment to the pilot, told while processes are killed: one function for each kill.

Each leaves the portal with version 1 on the pilot and has checked what is particular to its kill. What holds after any of
them is in `counting`; how the story goes on is for the tests.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pyarrow.dataset as ds
import redis

from celery_worker import orders
from demo import traffic
from gatehouse_cli.programs import HOST_NAME
from tests.journeys.portals import RunningPortal, until

from .points import Fault

InBackground = Callable[..., Future[None]]


@dataclass(frozen=True)
class Kill:
    """How step 5 is told, and the durations of the portal's processes with which that does not take long."""

    tell: Callable[[RunningPortal, InBackground], None]
    environment: dict[str, str] = field(default_factory=dict)


def kill_control(portal: RunningPortal, in_background: InBackground) -> None:
    """The relay after the commit and before it sends, the next one after it has sent, the worker with a report stored."""
    fault = Fault(portal)
    relay = portal.stack.pid("relay")
    fault.arm("relay.claimed", "deployments.send_order")
    step = in_background(portal.tell, 5)
    # The signed order is committed and lies in nobody's queue; a new relay takes it up.
    fault.wait()
    second = portal.replaced("relay", relay)
    # This one dies with the order sent and the message not yet settled.
    fault.strike("relay.sent", "deployments.send_order")
    portal.replaced("relay", second)
    # And what the agent says about it is stored by a worker that cannot say so any more.
    fault.strike("control.report_stored")
    step.result()


def kill_agent(portal: RunningPortal, in_background: InBackground) -> None:
    """The agent when the engine's process exists and is not yet noted."""
    fault = Fault(portal)
    agent = portal.stack.pid("agent")
    fault.arm("agent.engine_spawned")
    portal.tell(5)
    assert fault.struck
    assert portal.stack.pid("agent") not in (0, agent)


def kill_web(portal: RunningPortal, in_background: InBackground) -> None:
    """Web in the middle of a transaction, and a worker of the next one between its commit and its answer."""
    fault, web = Fault(portal), portal.stack.pid("web")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'gatehouse_web' AND wait_event_type = 'Lock'"
    with writes_held_back(portal, "deployments_endpoint"):
        step = in_background(portal.tell, 5)
        until("the request for an endpoint to be in the middle of its transaction", lambda: portal.count(waiting))
        kill_server(portal)
    portal.replaced("web", web)
    # The request for a deployment is carried out, and its worker dies before it can say so.
    fault.strike("web.committed", "POST /api/v1/deployments/")
    step.result()


def kill_server(portal: RunningPortal) -> None:
    """SIGKILL web's server and each of its workers, as when the machine runs out of memory."""
    master = portal.stack.pid("web")
    workers = [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]
    assert workers
    for pid in (master, *workers):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def writes_held_back(portal: RunningPortal, table: str) -> Iterator[None]:
    """Nobody can write to the table inside the block: who tries waits in the middle of a transaction."""
    with psycopg.connect(portal.stack.database_url("postgres")) as connection:
        connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")  # type: ignore[arg-type]
        yield
        connection.rollback()


GATEWAY_KILLS = 2
BETWEEN_KILLS = 150


class Callers:
    """Callers that send single rows without pause until told to stop, and note what they were answered."""

    def __init__(self, portal: RunningPortal) -> None:
        self.endpoint = portal.ctx["pilot"]
        self.rows = traffic.load_rows(portal.ctx.rows / "control.json")
        self.stopped = threading.Event()
        self.answered: list[traffic.Answer] = []
        self.broken = 0

    def run(self) -> None:
        """Send; a request that a killed gateway broke off is counted."""
        going = itertools.takewhile(lambda _: not self.stopped.is_set(), itertools.cycle(self.rows))
        for answer in traffic.send(going, infer_url=self.endpoint["url"], api_key=self.endpoint["key"], rate_rps=100):
            assert answer.status in (0, 200), answer
            if answer.status == 200:
                self.answered.append(answer)
            else:
                self.broken += 1


def captured_requests(portal: RunningPortal) -> Counter[tuple[str, int]]:
    """How often each row of each request is in the captures."""
    folder = portal.stack.data.root / "captures" / portal.ctx["pilot"]["id"]
    table = ds.dataset([str(path) for path in folder.rglob("*.parquet")], schema=None).to_table(columns=["request_id", "row"])
    return Counter(zip(table["request_id"].to_pylist(), table["row"].to_pylist(), strict=True))


def kill_gateway(portal: RunningPortal, in_background: InBackground) -> None:
    """The gateway under load on the deployed pilot, twice. What it answered is captured, once."""
    portal.tell(5)
    callers = Callers(portal)
    load = in_background(callers.run)
    try:
        for _ in range(GATEWAY_KILLS):
            enough = len(callers.answered) + BETWEEN_KILLS
            until("callers to be answered", lambda enough=enough: len(callers.answered) >= enough or load.done())
            portal.replaced("gateway", portal.stack.kill9("gateway"))
    finally:
        callers.stopped.set()
    load.result()
    assert callers.broken, "the kills hit requests under way"
    ids = {answer.request_id for answer in callers.answered}
    assert len(ids) == len(callers.answered) >= GATEWAY_KILLS * BETWEEN_KILLS
    until("every answer to be captured", lambda: ids <= {request for request, _ in captured_requests(portal)})
    assert set(captured_requests(portal).values()) == {1}, "nothing is captured twice"


def kill_valkey(portal: RunningPortal, in_background: InBackground) -> None:
    """Valkey with the signed order in it, and everything that it had written down gone."""
    queue = orders.agent_queue(HOST_NAME)
    with redis.Redis.from_url(portal.stack.layout.redis_url) as valkey:
        until(
            "the agent's first word",
            lambda: portal.count("SELECT count(*) FROM deployments_host WHERE last_seen_at > now() - interval '1 minute'"),
        )
        portal.stack.stop("agent")
        step = in_background(portal.tell, 5)
        until("the signed order in the agent's queue", lambda: valkey.llen(queue) == 1)
        assert portal.count("SELECT count(*) FROM deployments_workorder WHERE state = 'sent'") == 1

        shutil.rmtree(portal.stack.data.valkey / "appendonlydir")
        portal.replaced("valkey", portal.stack.kill9("valkey"))
        assert valkey.llen(queue) == 0

        portal.stack.start("agent")
        step.result()


KILLS = {
    # What a killed relay had in hand is free for the next one after this long, not after half a minute.
    "control": Kill(kill_control, {"GATEHOUSE_OUTBOX_CLAIM_S": "5"}),
    "agent": Kill(kill_agent),
    "web": Kill(kill_web),
    "gateway": Kill(kill_gateway),
    # The host counts as present a while longer than usual, so that an order is issued to an agent that is away.
    "valkey": Kill(kill_valkey, {"GATEHOUSE_HOST_STALE_AFTER_S": "300"}),
}

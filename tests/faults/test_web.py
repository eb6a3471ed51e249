"""kill -9 of web while it answers requests."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.journeys.portals import RunningPortal, until

from .conftest import Fault, MakeCopy
from .counting import assert_deployed_exactly_once, assert_whole_trail_verifies

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.stack, pytest.mark.xdist_group("faults")]


def kill_web(portal: RunningPortal) -> None:
    """SIGKILL the server and each of its workers, as when the machine runs out of memory."""
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


def test_web_killed_in_mid_request_answers_the_repeated_requests_as_if_nothing_had_happened(
    copy: MakeCopy, in_background: Callable[..., Future[None]]
) -> None:
    portal = copy()
    fault, web = Fault(portal), portal.stack.pid("web")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'gatehouse_web' AND wait_event_type = 'Lock'"
    with writes_held_back(portal, "deployments_endpoint"):
        step = in_background(portal.tell, 5)
        until("the request for an endpoint to be in the middle of its transaction", lambda: portal.count(waiting))
        kill_web(portal)
    portal.replaced("web", web)
    # The request for a deployment is carried out, and its worker dies before it can say so.
    fault.strike("web.committed", "POST /api/v1/deployments/")
    step.result()
    assert_deployed_exactly_once(portal)
    assert portal.count("SELECT count(*) FROM deployments_endpoint") == 1
    assert portal.count("SELECT count(*) FROM deployments_rollout") == 1
    assert_whole_trail_verifies(portal)

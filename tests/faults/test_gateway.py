"""kill -9 of the gateway under load on the deployed pilot."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future

import pyarrow.dataset as ds
import pytest

from demo import traffic
from demo.steps.serve import answers_with, captured, send
from tests.journeys.portals import RunningPortal, until

from .conftest import MakeCopy
from .counting import assert_deployed_exactly_once

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.stack, pytest.mark.xdist_group("faults")]

KILLS = 2
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


def test_a_gateway_killed_under_load_has_captured_every_answer_once_and_goes_on(
    copy: MakeCopy, in_background: Callable[..., Future[None]]
) -> None:
    portal = copy()
    portal.tell(5)
    callers = Callers(portal)
    load = in_background(callers.run)
    try:
        for _ in range(KILLS):
            enough = len(callers.answered) + BETWEEN_KILLS
            until("callers to be answered", lambda enough=enough: len(callers.answered) >= enough or load.done())
            portal.replaced("gateway", portal.stack.kill9("gateway"))
    finally:
        callers.stopped.set()
    load.result()
    assert callers.broken, "the kills hit requests under way"
    ids = {answer.request_id for answer in callers.answered}
    assert len(ids) == len(callers.answered) >= KILLS * BETWEEN_KILLS

    until("every answer to be captured", lambda: ids <= {request for request, _ in captured_requests(portal)})
    times = captured_requests(portal)
    assert set(times.values()) == {1}, "nothing is captured twice"
    # The story goes on: the endpoint answers, the portal counts what was captured, labels find their predictions.
    assert answers_with(callers.endpoint, callers.rows[0], portal.ctx["versions"][1]["label"])
    before = captured(portal.ctx, callers.endpoint, len(ids))
    send(portal.ctx, callers.endpoint, callers.rows[:100], rate_rps=20, batch_rows=20)
    rows = sum(version["rows"] for version in before["versions"]) + 100
    captured(portal.ctx, callers.endpoint, rows)
    assert_deployed_exactly_once(portal)

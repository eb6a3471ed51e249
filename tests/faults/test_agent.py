"""kill -9 of the agent while it starts an engine."""

import pytest

from demo import traffic
from demo.steps.serve import answers_with
from tests.journeys.portals import until

from .conftest import MakeCopy
from .counting import assert_deployed_exactly_once, engines
from .kills import KILLS, InBackground

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.stack, pytest.mark.xdist_group("faults")]


def test_an_agent_killed_in_mid_start_adopts_the_engine_it_had_begun(copy: MakeCopy, in_background: InBackground) -> None:
    portal = copy()
    KILLS["agent"].tell(portal, in_background)
    start = assert_deployed_exactly_once(portal)
    # The engine was running before its agent came back: it was found again, not replaced.
    assert start["generation"] == 1
    # And it outlives an agent that is killed while it serves, and answers.
    portal.replaced("agent", portal.stack.kill9("agent"))
    (row, *_) = traffic.load_rows(portal.ctx.rows / "control.json")
    assert answers_with(portal.ctx["pilot"], row, portal.ctx["versions"][1]["label"])
    heard = "SELECT count(*) FROM deployments_host WHERE heartbeat_at > %s"
    now = portal.rows("SELECT now() AS now")[0]["now"]
    until("the new agent's heartbeat", lambda: portal.count(heard, now))
    assert engines(portal) == [start["pid"]]
    assert portal.count("SELECT count(*) FROM deployments_enginestart") == 1

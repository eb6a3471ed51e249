"""kill -9 of control between a commit and what should follow it."""

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from .conftest import Fault, MakeCopy
from .counting import assert_deployed_exactly_once

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.stack, pytest.mark.xdist_group("faults")]


def test_control_killed_after_commit_before_send_and_at_every_point_after_deploys_once(
    copy: MakeCopy, in_background: Callable[..., Future[None]]
) -> None:
    # What a killed relay had in hand is free for the next one after this long, not after half a minute.
    portal = copy(environment={"GATEHOUSE_OUTBOX_CLAIM_S": "5"})
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
    assert_deployed_exactly_once(portal)
    assert portal.count("SELECT count(*) FROM deployments_workorder") == 1
    assert portal.count("SELECT count(*) FROM deployments_agentreport WHERE kind = 'deployment' AND body->>'state' = 'ready'") == 1

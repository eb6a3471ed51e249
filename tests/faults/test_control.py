"""kill -9 of control between a commit and what should follow it."""

import pytest

from .conftest import MakeCopy
from .counting import assert_deployed_exactly_once
from .kills import KILLS, InBackground

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.stack, pytest.mark.xdist_group("faults")]


def test_control_killed_after_commit_before_send_and_at_every_point_after_deploys_once(copy: MakeCopy, in_background: InBackground) -> None:
    kill = KILLS["control"]
    portal = copy(environment=kill.environment)
    kill.tell(portal, in_background)
    assert_deployed_exactly_once(portal)
    assert portal.count("SELECT count(*) FROM deployments_workorder") == 1
    assert portal.count("SELECT count(*) FROM deployments_agentreport WHERE kind = 'deployment' AND body->>'state' = 'ready'") == 1

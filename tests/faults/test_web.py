"""kill -9 of web while it answers requests."""

import pytest

from .conftest import MakeCopy
from .counting import assert_deployed_exactly_once, assert_whole_trail_verifies
from .kills import KILLS, InBackground

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.stack, pytest.mark.xdist_group("faults")]


def test_web_killed_in_mid_request_answers_the_repeated_requests_as_if_nothing_had_happened(
    copy: MakeCopy, in_background: InBackground
) -> None:
    portal = copy()
    KILLS["web"].tell(portal, in_background)
    assert_deployed_exactly_once(portal)
    assert portal.count("SELECT count(*) FROM deployments_endpoint") == 1
    assert portal.count("SELECT count(*) FROM deployments_rollout") == 1
    assert_whole_trail_verifies(portal)

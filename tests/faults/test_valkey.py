"""kill -9 of Valkey, and everything that was in it gone."""

import pytest

from .conftest import MakeCopy
from .counting import assert_deployed_exactly_once
from .kills import KILLS, InBackground

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.stack, pytest.mark.xdist_group("faults")]


def test_valkey_killed_with_a_signed_order_in_it_and_wiped_only_delays_the_deployment(copy: MakeCopy, in_background: InBackground) -> None:
    kill = KILLS["valkey"]
    portal = copy(environment=kill.environment)
    kill.tell(portal, in_background)
    assert_deployed_exactly_once(portal)
    # The same order was sent once more; no second one was signed.
    assert portal.count("SELECT count(*) FROM deployments_workorder") == 1

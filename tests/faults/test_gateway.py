"""kill -9 of the gateway under load on the deployed pilot."""

import pytest

from demo import traffic
from demo.steps.serve import answers_with, captured, send

from .conftest import MakeCopy
from .counting import assert_deployed_exactly_once
from .kills import KILLS, InBackground, captured_requests

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.stack, pytest.mark.xdist_group("faults")]


def test_a_gateway_killed_under_load_has_captured_every_answer_once_and_goes_on(copy: MakeCopy, in_background: InBackground) -> None:
    portal = copy()
    KILLS["gateway"].tell(portal, in_background)
    rows = traffic.load_rows(portal.ctx.rows / "control.json")
    # The story goes on: the endpoint answers, the portal counts what was captured, labels find their predictions.
    assert answers_with(portal.ctx["pilot"], rows[0], portal.ctx["versions"][1]["label"])
    before = captured(portal.ctx, portal.ctx["pilot"], captured_requests(portal).total())
    send(portal.ctx, portal.ctx["pilot"], rows[:100], rate_rps=20, batch_rows=20)
    captured(portal.ctx, portal.ctx["pilot"], sum(version["rows"] for version in before["versions"]) + 100)
    assert_deployed_exactly_once(portal)

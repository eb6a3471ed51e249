"""kill -9 of Valkey, and everything that was in it gone."""

import shutil
from collections.abc import Callable
from concurrent.futures import Future

import pytest
import redis

from celery_worker import orders
from gatehouse_cli.programs import HOST_NAME
from tests.journeys.portals import until

from .conftest import MakeCopy
from .counting import assert_deployed_exactly_once

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.stack, pytest.mark.xdist_group("faults")]


def test_valkey_killed_with_a_signed_order_in_it_and_wiped_only_delays_the_deployment(
    copy: MakeCopy, in_background: Callable[..., Future[None]]
) -> None:
    # The host counts as present a while longer than usual, so that an order is issued to an agent that is away.
    portal = copy(environment={"GATEHOUSE_HOST_STALE_AFTER_S": "300"})
    valkey = redis.Redis.from_url(portal.stack.layout.redis_url)
    queue = orders.agent_queue(HOST_NAME)
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
    assert_deployed_exactly_once(portal)
    # The same order was sent once more; no second one was signed.
    assert portal.count("SELECT count(*) FROM deployments_workorder") == 1
    valkey.close()

"""The order key is rotated while the portal runs: the agent goes on under the new key, and the old one is over when its time is."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celery_worker import orders
from gatehouse_cli import keyring
from gatehouse_cli.programs import HOST_NAME
from tests.journeys.portals import RunningPortal, copy_of, until

from .counting import engines
from .forging import Forger

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.long, pytest.mark.stack, pytest.mark.xdist_group("faults")]
OVERLAP_S = 60.0


@pytest.fixture(scope="module")
def portal(half_way: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    """Version 1 on the pilot."""
    with copy_of(half_way, tmp_path_factory.mktemp("rotation") / "p", without=("seal",)) as running:
        running.tell(5)
        yield running


def refused_orders(portal: RunningPortal) -> list[dict[str, Any]]:
    rows = portal.rows("SELECT payload FROM audit_event WHERE action = 'deployments.order.refused'")
    return [json.loads(row["payload"])["after"] for row in rows]


def test_the_agent_learns_the_new_key_from_the_old_ones_word_alone(portal: RunningPortal) -> None:
    forger = Forger(portal)
    old_key, old_id = forger.order_key, forger.real["key_id"]
    agent_pid, control_pid = portal.stack.pid("agent"), portal.stack.pid("control")
    said = portal.stack.manage("rotate_order_key", "--overlap", str(OVERLAP_S / 3600))
    over_at = time.monotonic() + OVERLAP_S
    new_id = orders.key_id(orders.load_private_key(keyring.private_key_path(portal.stack.data, "order")).public_key())
    assert new_id in said and new_id != old_id
    listed = {k["id"]: k for k in portal.ctx.auditor.pages("keys/") if k["purpose"] == "order"}
    assert listed[old_id]["accepted_until"] and not listed[new_id]["accepted_until"]

    # The very agent and control that ran before: what is ordered now is signed by the new key, and done.
    (deployment,) = portal.rows("SELECT id FROM deployments_deployment")
    portal.ctx.engineer.post(f"deployments/{deployment['id']}/stop/", {"reason": "Rotation is tried."})
    until("the pilot to stop", lambda: portal.rows("SELECT observed FROM deployments_deployment")[0]["observed"] == "stopped")
    (order,) = portal.rows("SELECT envelope FROM deployments_workorder WHERE kind = 'stop'")
    assert order["envelope"]["key_id"] == new_id and order["envelope"]["handovers"]
    assert engines(portal) == [] and refused_orders(portal) == []
    assert (portal.stack.pid("agent"), portal.stack.pid("control")) == (agent_pid, control_pid)
    learned = portal.stack.data.root / "agents" / HOST_NAME / "order-keys.json"
    assert [h["new"] for h in json.loads(learned.read_text())["handovers"]] == [new_id]
    until(
        "routes signed anew",
        lambda: portal.rows("SELECT envelope FROM deployments_routingsnapshot ORDER BY version DESC LIMIT 1")[0]["envelope"]["key_id"] == new_id,
    )

    # Its time over, the old key starts nothing any more, and that is reported and in the trail.
    time.sleep(max(0.0, over_at - time.monotonic()) + 1)
    digest = forger.order(forger.signed(forger.payload(), old_key))
    until("the refusal", lambda: [r for r in refused_orders(portal) if r["order_sha256"] == digest])
    assert refused_orders(portal) == [{"reason": "unknown_key", "order_sha256": digest, "host": HOST_NAME}]
    # Nor does it hand over to anybody.
    digest = forger.order({**forger.signed(forger.payload()), "handovers": [forger.handed_over(old_key)]})
    until("the second refusal", lambda: [r for r in refused_orders(portal) if r["order_sha256"] == digest])
    assert engines(portal) == []

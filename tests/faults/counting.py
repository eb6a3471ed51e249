"""What must have happened exactly once, whatever was killed meanwhile."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from gatehouse_cli import orphans
from gatehouse_cli.paths import REPO
from tests.journeys.portals import RunningPortal, until

# Every event of one deployment to the pilot. Those of routes are left out: routes may be published anew.
ONE_DEPLOYMENT = {
    "deployments.host.registered": 1,
    "deployments.endpoint.created": 1,
    "deployments.key.issued": 1,
    "deployments.deployment.requested": 1,
    "deployments.order.issued": 1,
    "registry.artifact.downloaded": 1,
    "deployments.deployment.ready": 1,
    "deployments.rollout.stepped": 1,
    "deployments.rollout.completed": 1,
}


def events(portal: RunningPortal) -> dict[str, int]:
    """How often each act about deployments is in the trail."""
    rows = portal.rows(
        "SELECT action, count(*) AS times FROM audit_event WHERE (action LIKE 'deployments.%%' OR action = 'registry.artifact.downloaded') "
        "AND action NOT IN ('deployments.routing.published', 'deployments.routing.taken_up', 'deployments.traffic.changed') GROUP BY action"
    )
    return {row["action"]: row["times"] for row in rows}


def engines(portal: RunningPortal) -> list[int]:
    """Process ids of the engines that run on this portal's host: leaders of their own sessions, started as an engine is."""
    found = []
    for pid in orphans.find(portal.stack.data):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--start-id" in words:
            found.append(pid)
    return found


def settled(portal: RunningPortal) -> None:
    """Wait until every message that is due has been sent: nothing that a killed process left can still happen."""
    until(
        "the outbox to be empty",
        lambda: portal.count("SELECT count(*) FROM outbox_message WHERE sent_at IS NULL AND due_at < now() + interval '1 second'") == 0,
    )


def assert_deployed_exactly_once(portal: RunningPortal) -> dict[str, Any]:
    """One engine process, one start, one event for each act; returns the row of the start."""
    settled(portal)
    (start,) = portal.rows("SELECT * FROM deployments_enginestart")
    (deployment,) = portal.rows("SELECT * FROM deployments_deployment")
    assert str(deployment["id"]) == portal.ctx["pilot_deployment"]
    assert (deployment["engine_starts"], deployment["failures"], deployment["observed"]) == (1, 0, "ready")
    assert engines(portal) == [start["pid"]]
    assert start["ended_at"] is None
    assert events(portal) == ONE_DEPLOYMENT
    # What the trail says can be read by those who may.
    seen = [e["action"] for e in portal.ctx.auditor.pages("audit/events/", usecase=portal.ctx["usecase_id"])]
    assert seen.count("deployments.deployment.ready") == 1
    return start


def assert_whole_trail_verifies(portal: RunningPortal) -> None:
    """The separate program proves every event of the trail, those around the kills included."""
    portal.stack.start("seal")
    audit, url = portal.ctx.stack["audit"], portal.stack.database_url("postgres")
    # The sealer may just have started: its checkpoint comes with its first round.
    until("the sealer's checkpoint", Path(audit["witnessed_checkpoint"]).exists)
    command = [*audit["verify_command"], "--database-url", url, "--checkpoint", audit["witnessed_checkpoint"]]
    seen = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, timeout=120)
    assert seen.returncode == 0, seen.stdout + seen.stderr

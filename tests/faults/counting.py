"""What must have happened exactly once, whatever was killed meanwhile."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
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


# How often these happen is for clocks and for the machine's other work to say (a load test that is tried once more, a window
# that the schedule judges early). Each row of the table has exactly one event of each action, and no event is without a row.
ONE_FOR_EACH_ROW = {
    "deployments_workorder": ("deployments.order.issued",),
    "deployments_routingsnapshot": ("deployments.routing.published",),
    "decisions_hold": ("decisions.hold.placed",),
    "kpis_costentry": ("kpis.cost.recorded",),
    "loadtests_loadrun": ("loadtests.run.requested", "loadtests.run.finished"),
    "monitoring_incident": ("monitoring.incident.opened",),
    "monitoring_monitorwindow": ("monitoring.window.recorded",),
}
# These have one event for each batch, which says how many rows were new.
ONE_FOR_EACH_BATCH = {
    "kpis_measurement": "kpis.measurements.recorded",
    "monitoring_predictionlabel": "monitoring.labels.recorded",
}


# What gateways route by is published for many changes at once, so how often says nothing of what was done.
OF_ROUTING = {"deployments.routing.taken_up", "deployments.traffic.changed"}


def told(portal: RunningPortal) -> dict[str, dict[str, int]]:
    """What the story leaves behind, counted: each act that chance has no part in, orders, engine starts, alias moves."""
    settled(portal)
    by_chance = {action for actions in ONE_FOR_EACH_ROW.values() for action in actions} | set(ONE_FOR_EACH_BATCH.values()) | OF_ROUTING
    counted = {
        "events": ("SELECT action AS what, count(*) AS times FROM audit_event GROUP BY action", by_chance),
        "orders": ("SELECT kind AS what, count(*) AS times FROM deployments_workorder GROUP BY kind", {"load_test"}),
        "starts": (
            "SELECT e.environment || ' ' || d.model_version_label AS what, count(DISTINCT s.engine_start_id) AS times "
            "FROM deployments_enginestart s JOIN deployments_deployment d ON d.id = s.deployment_id "
            "JOIN deployments_endpoint e ON e.id = d.endpoint_id GROUP BY 1",
            set(),
        ),
        "rollouts": ("SELECT state AS what, count(*) AS times FROM deployments_rollout GROUP BY state", set()),
        "decisions": ("SELECT kind || ' ' || environment AS what, count(*) AS times FROM decisions_decision GROUP BY 1", set()),
    }
    return {
        name: {row["what"]: row["times"] for row in portal.rows(query.replace("%", "%%")) if row["what"] not in without}
        for name, (query, without) in counted.items()
    }


def write_told(portal: RunningPortal, folder: Path) -> None:
    """Keep what an undisturbed run left behind, for those that are compared with it."""
    (folder / "told.json").write_text(json.dumps(told(portal)))


def assert_each_counted_once(portal: RunningPortal) -> None:
    """Every engine that was started is there once, in the table, in the trail and as a process; so is every row that has events."""
    settled(portal)
    starts = portal.rows("SELECT engine_start_id, pid, ended_at FROM deployments_enginestart")
    assert len({start["engine_start_id"] for start in starts}) == len(starts)
    assert sorted(start["pid"] for start in starts if start["ended_at"] is None) == sorted(engines(portal))
    # A start that is ordered is carried out by one engine.
    assert len(starts) == portal.count("SELECT count(*) FROM deployments_workorder WHERE kind = 'start'")
    assert portal.count("SELECT count(*) FROM deployments_deployment WHERE failures > 0") == 0
    for table, actions in ONE_FOR_EACH_ROW.items():
        rows = Counter(str(row["id"]) for row in portal.rows(f"SELECT id FROM {table}"))
        for action in actions:
            seen = Counter(row["object_id"] for row in portal.rows("SELECT object_id FROM audit_event WHERE action = %s", action))
            assert seen == rows, f"{action} and the rows of {table}"
    for table, action in ONE_FOR_EACH_BATCH.items():
        query = "SELECT coalesce(sum((payload::jsonb #>> '{after,accepted}')::int), 0) FROM audit_event WHERE action = %s"
        assert portal.count(query, action) == portal.count(f"SELECT count(*) FROM {table}"), f"{action} and the rows of {table}"


def assert_whole_trail_verifies(portal: RunningPortal) -> None:
    """The separate program proves every event of the trail, those around the kills included."""
    portal.stack.start("seal")
    audit, url = portal.ctx.stack["audit"], portal.stack.database_url("postgres")
    # The sealer may just have started: its checkpoint comes with its first round.
    until("the sealer's checkpoint", Path(audit["witnessed_checkpoint"]).exists)
    command = [*audit["verify_command"], "--database-url", url, "--checkpoint", audit["witnessed_checkpoint"]]
    seen = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, timeout=120)
    assert seen.returncode == 0, seen.stdout + seen.stderr

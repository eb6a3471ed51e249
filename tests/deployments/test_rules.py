"""The reconciler and a rollout as tables; no database."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.core.errors import Invalid
from apps.deployments import rules
from apps.deployments.rules import Facts, OpenOrder, RolloutFacts

START, STOP = OpenOrder("start"), OpenOrder("stop")


@pytest.mark.parametrize(("facts", "kind", "lost"), [
    # to run, live decision
    (Facts("running", "unknown", "live"), "start", False),
    (Facts("running", "stopped", "live"), "start", False),
    (Facts("running", "failed", "live"), "start", False),
    (Facts("running", "failed", "live", back_off_s=3), "wait", False),
    (Facts("running", "unknown", "live", order=START), "wait", False),
    (Facts("running", "starting", "live", order=START), "wait", False),
    (Facts("running", "starting", "live", order=OpenOrder("start", stalled=True)), "start", False),
    (Facts("running", "unknown", "live", order=OpenOrder("start", expired=True)), "start", False),
    (Facts("running", "ready", "live"), "none", False),
    (Facts("running", "ready", "live", listed=True), "none", False),
    (Facts("running", "ready", "live", listed=False), "start", True),
    (Facts("running", "lost", "live"), "start", False),
    (Facts("running", "unknown", "live", host_fresh=False), "wait", False),
    (Facts("running", "ready", "live", host_fresh=False), "none", False),
    # wanted again while a stop is under way: the start takes its place
    (Facts("running", "ready", "live", order=STOP), "none", False),
    (Facts("running", "stopped", "live", order=STOP), "start", False),
    # to run, no live decision: never start, keep what runs
    (Facts("running", "unknown", "held"), "wait", False),
    (Facts("running", "unknown", "expired"), "wait", False),
    (Facts("running", "unknown", "none"), "wait", False),
    (Facts("running", "failed", "held"), "wait", False),
    (Facts("running", "ready", "held"), "none", False),
    (Facts("running", "ready", "expired"), "none", False),
    (Facts("running", "ready", "held", listed=False), "wait", True),
    # revoked: stop
    (Facts("running", "ready", "revoked"), "stop", False),
    (Facts("running", "starting", "revoked", order=START), "stop", False),
    (Facts("running", "unknown", "revoked"), "none", False),
    # to stop
    (Facts("stopped", "ready", "live"), "stop", False),
    (Facts("stopped", "ready", "live", order=STOP), "wait", False),
    (Facts("stopped", "ready", "live", order=OpenOrder("stop", stalled=True)), "stop", False),
    (Facts("stopped", "stopped", "live"), "none", False),
    (Facts("stopped", "stopped", "live", listed=True), "stop", False),
    (Facts("stopped", "unknown", "live"), "none", False),
    (Facts("stopped", "unknown", "live", order=START), "stop", False),
    (Facts("stopped", "failed", "live"), "none", False),
    (Facts("stopped", "ready", "live", host_fresh=False), "wait", False),
])  # fmt: skip
def test_the_reconciler_decides_from_facts_alone(facts, kind, lost):
    step = rules.next_step(facts)
    assert (step.kind, step.lost) == (kind, lost)
    assert step == rules.next_step(facts)
    assert step.reason or step.kind == "none"


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def facts(**changed):
    given = {
        "steps": [10, 100], "step": -1, "bake_s": 600, "step_started_at": None, "to_ready": True, "to_failures": 0, "to_wanted": True,
        "from_ready": True, "allowed": True,
    } | changed  # fmt: skip
    return RolloutFacts(**given)


AGO = NOW - timedelta(seconds=599)
DUE = NOW - timedelta(seconds=600)


@pytest.mark.parametrize(("given", "kind", "step"), [
    (facts(to_ready=False), "wait", -1),
    (facts(), "step", 0),
    (facts(allowed=False, why_not="On hold."), "wait", -1),
    (facts(step=0, step_started_at=AGO), "wait", -1),
    (facts(step=0, step_started_at=DUE), "step", 1),
    (facts(step=0, step_started_at=None), "wait", -1),
    (facts(step=0, step_started_at=DUE, allowed=False), "wait", -1),
    (facts(step=0, step_started_at=DUE, to_ready=False), "wait", -1),
    (facts(to_failures=3), "fail", -1),
    (facts(to_failures=2, to_ready=False), "wait", -1),
    (facts(step=0, step_started_at=AGO, to_failures=3), "roll_back", -1),
    (facts(step=0, step_started_at=AGO, to_failures=3, from_ready=False), "fail", -1),
    (facts(step=0, step_started_at=AGO, to_wanted=False), "roll_back", -1),
    (facts(to_wanted=False), "fail", -1),
    (facts(steps=[100], bake_s=0), "step", 0),
])  # fmt: skip
def test_a_rollout_moves_by_the_table(given, kind, step):
    move = rules.next_move(given, NOW)
    assert (move.kind, move.step) == (kind, step)


@pytest.mark.parametrize("steps", [[], [10], [100, 10], [10, 10, 100], [0, 100], [10, 101], [True, 100], ["10", 100], [50.0, 100]])
def test_steps_that_do_not_grow_to_100_are_refused(steps):
    with pytest.raises(Invalid) as refusal:
        rules.check_steps(steps)
    assert "steps" in refusal.value.errors


@pytest.mark.parametrize(
    "text",
    [None, 5, "", "127.0.0.1:9001", "file:///etc/passwd", "http://127.0.0.1", "http://u:p@127.0.0.1:1", "http://h:1/x", "http://h:1?q=1", "http://h:99999"],
)
def test_only_a_plain_engine_address_is_taken_from_a_report(text):
    assert rules.engine_url(text) == ""
    assert rules.engine_url("http://127.0.0.1:9001") == "http://127.0.0.1:9001"


def test_back_off_doubles_up_to_a_minute():
    assert [rules.back_off_s(n) for n in (0, 1, 2, 3, 6, 9)] == [0, 2, 4, 8, 60, 60]


def test_a_heartbeat_counts_only_when_it_is_later_than_the_report():
    running = [{"deployment_id": "a", "state": "ready"}, {"deployment_id": "b", "state": "failed"}]
    said = {"heartbeat_at": NOW, "observed_at": NOW - timedelta(seconds=10)}
    assert rules.is_listed(running, "a", **said) is True
    assert rules.is_listed(running, "b", **said) is False
    assert rules.is_listed(running, "c", **said) is False
    assert rules.is_listed(running, "c", heartbeat_at=NOW, observed_at=NOW - timedelta(seconds=1)) is None
    assert rules.is_listed(running, "c", heartbeat_at=None, observed_at=None) is None

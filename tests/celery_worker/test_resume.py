"""An agent killed at any point of a start finishes it after its restart, with exactly one engine."""

import json
import signal
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from celery_worker.agent import work

from .conftest import ROOT, Agent, Ordering, python_of
from .test_execute import engines_of


def kill_at(point: str, agent: Agent, ordering: Ordering, tmp_path: Path, engine_python: Path, **changes: str) -> None:
    envelope = tmp_path / "order.json"
    envelope.write_text(json.dumps(ordering.make("start", **changes)))
    python = python_of(".venv-agent", "GATEHOUSE_AGENT_PYTHON")
    command = [str(python), str(Path(__file__).with_name("killed_agent.py")), point]
    command += [str(agent.host.settings.state_dir), str(ordering.keys.folder), str(engine_python), str(envelope)]
    killed = subprocess.run(command, capture_output=True, timeout=60, cwd=ROOT, env={"PATH": "/usr/bin:/bin"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("point", ["accepted", "downloaded", "before_spawn", "after_spawn", "starting", "reported"])
def test_a_kill_in_mid_start_is_resumed_with_one_engine(
    point: str, agent: Agent, ordering: Ordering, tmp_path: Path, engine_python: Path
) -> None:
    kill_at(point, agent, ordering, tmp_path, engine_python)
    left = {process.pid for process in engines_of(ordering.deployment_id)}
    assert len(left) == (1 if point in ("after_spawn", "starting", "reported") else 0)

    agent.restart()
    agent.host.artifacts.clean()
    for thread in agent.host.resume():
        thread.join(60)

    found = {process.pid for process in engines_of(ordering.deployment_id)}
    assert len(found) == 1
    assert left <= found, "the engine that was already loading is adopted, not doubled"
    reports = agent.reports("deployment")
    assert reports[-1]["state"] == "ready"
    assert reports[-1]["pid"] in found
    assert len({body["engine_start_id"] for body in reports if body["engine_start_id"]}) == 1
    (state,) = agent.host.store.all()
    assert state.order is None
    assert list((agent.host.settings.state_dir / "incoming").iterdir()) == []
    assert agent.host.resume() == [], "there is nothing left to resume"


@pytest.mark.slow
def test_an_order_that_expired_while_the_agent_was_dead_ends_its_engine_and_says_so(
    agent: Agent, ordering: Ordering, tmp_path: Path, engine_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime):
        """The clock when the order has long expired."""

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=1)

    kill_at("after_spawn", agent, ordering, tmp_path, engine_python)
    assert len(engines_of(ordering.deployment_id)) == 1
    monkeypatch.setattr(work, "datetime", Later)
    agent.restart()
    for thread in agent.host.resume():
        thread.join(60)
    assert engines_of(ordering.deployment_id) == []
    assert agent.reports("order_refused")[-1]["reason"] == "expired"
    assert agent.states()[-1] == "failed"


def holds(pid: int, lock: Path) -> bool:
    """Whether the kernel says that this process holds the file's lock."""
    held = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return lock.exists() and any(pid == int(row[4]) and row[5].endswith(f":{lock.stat().st_ino}") for row in held if row[1] == "FLOCK")


@pytest.mark.slow
def test_a_second_engine_for_a_deployment_cannot_exist(agent: Agent, ordering: Ordering, tmp_path: Path, engine_python: Path) -> None:
    kill_at("starting", agent, ordering, tmp_path, engine_python)
    (engine,) = engines_of(ordering.deployment_id)
    twin = engine.cmdline()
    del twin[twin.index("--socket") : twin.index("--socket") + 2]
    # The twin would win, were it quicker: it is started when the first has come as far as its lock.
    until = time.monotonic() + 60
    while not holds(engine.pid, Path(twin[twin.index("--lock") + 1])):
        assert time.monotonic() < until and engine.is_running()
        time.sleep(0.05)
    refused = subprocess.run(twin, capture_output=True, timeout=60, env={"PATH": "/usr/bin:/bin"})
    assert refused.returncode == 3
    assert b"already serves" in refused.stderr
    agent.restart()


@pytest.mark.slow
def test_a_forgotten_engine_makes_way_for_the_one_that_is_ordered(
    agent: Agent, ordering: Ordering, tmp_path: Path, engine_python: Path
) -> None:
    kill_at("starting", agent, ordering, tmp_path, engine_python)
    (forgotten,) = engines_of(ordering.deployment_id)
    (agent.host.store.folder / f"{ordering.deployment_id}.json").unlink()
    agent.restart()
    agent.host.execute(ordering.make("start"))
    assert agent.states()[-1] == "ready"
    (engine,) = engines_of(ordering.deployment_id)
    assert engine.pid != forgotten.pid

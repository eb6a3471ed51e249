"""Carry out one order and kill this very process with SIGKILL at a named point. Run by the agent's interpreter.

`python killed_agent.py POINT STATE_DIR KEY_DIR ENGINE_PYTHON ENVELOPE_FILE`
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from celery_worker import orders
from celery_worker.agent.own_key import OwnKey
from celery_worker.agent.reports import Reporter
from celery_worker.agent.settings import AgentSettings
from celery_worker.agent.state import Store
from celery_worker.agent.work import Host


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def main(point: str, state_dir: str, key_dir: str, engine_python: str, envelope_file: str) -> None:
    settings = AgentSettings(
        host="test-host",
        state_dir=Path(state_dir),
        key_path=Path(key_dir) / "agent.pem",
        order_keys=orders.load_public_keys(Path(key_dir) / "order-public.json"),
        engine_pythons={"kserve": Path(engine_python)},
    )
    host = Host(
        settings,
        Store(settings.state_dir),
        Reporter(settings.state_dir, host="test-host", sign=OwnKey(settings.key_path).sign, send=lambda *_: None),
    )
    engine: Any = host.engines["kserve"]
    artifacts: Any = host.artifacts
    start, unpack = engine.start, artifacts._unpack
    if point == "accepted":
        artifacts.fetch = die
    elif point == "downloaded":
        artifacts._unpack = lambda chunks, target: (unpack(chunks, target), die())
    elif point == "before_spawn":
        engine.start = die
    elif point == "after_spawn":
        engine.start = lambda *given, **named: (start(*given, **named), die())
    elif point == "starting":
        engine.probe = die
    elif point == "reported":
        host.artifacts.prune = die  # type: ignore[method-assign]
    else:
        raise ValueError(point)
    host.execute(json.loads(Path(envelope_file).read_text()))


if __name__ == "__main__":
    main(*sys.argv[1:])

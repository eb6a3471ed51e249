"""The agent's own threads: heartbeats, and an eye on the engines that should be running."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any, Final

import psutil

from celery_worker.agent import AGENT_VERSION
from celery_worker.agent.gpus import read_gpus
from celery_worker.agent.work import Host

log = logging.getLogger(__name__)

HEARTBEAT_EVERY_S: Final = 5.0
LOOK_EVERY_S: Final = 1.0
PROBE_EVERY_S: Final = 10.0
SILENT_PROBES: Final = 6


def describe_host(host: Host) -> dict[str, Any]:
    """The body of a heartbeat: what this host has, and what runs on it."""
    memory = psutil.virtual_memory()
    return {
        "cpu_count": len(os.sched_getaffinity(0)),
        "memory_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "load_1m": round(os.getloadavg()[0], 2),
        "gpus": read_gpus(),
        "agent_version": AGENT_VERSION,
        "engines": sorted(host.engines),
        "deployments": [
            {
                "deployment_id": state.deployment_id,
                "generation": state.work_generation,
                "state": state.phase,
                "pid": state.engine.pid if state.engine is not None else None,
                "port": state.engine.port if state.engine is not None else None,
                "started_at": state.engine.started_at if state.engine is not None else None,
            }
            for state in host.store.all()
        ],
    }


def beat(host: Host, stop: threading.Event) -> None:
    """Send a heartbeat every few seconds until `stop`."""
    while not stop.is_set():
        try:
            host.reporter.heartbeat(describe_host(host))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the broker, the next beat tries again
            log.warning("heartbeat not sent: %s", type(error).__name__)
        stop.wait(HEARTBEAT_EVERY_S)


class Watch:
    """Finds engines that crashed or have stopped answering."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._silent: dict[str, int] = {}
        self._next_probe = 0.0

    def run(self, stop: threading.Event) -> None:
        """Look every second until `stop`."""
        while not stop.is_set():
            try:
                self.look(time.monotonic())
            except Exception:
                log.exception("watching the engines failed")
            stop.wait(LOOK_EVERY_S)

    def look(self, now: float) -> None:
        """One look at every engine that should be ready."""
        probing = now >= self._next_probe
        if probing:
            self._next_probe = now + PROBE_EVERY_S
        for state in self._host.store.all():
            engine = state.engine
            if state.phase != "ready" or state.order is not None or engine is None:
                continue
            kind = self._host.engines.get(engine.kind)
            if kind is None:
                continue
            if not kind.is_alive(engine):
                words = kind.last_words(state.deployment_id) or "it left no message"
                self._host.engine_died(state, f"The engine process ended: {words}")
            elif probing:
                silent = 0 if kind.probe(engine) == "ready" else self._silent.get(engine.engine_start_id, 0) + 1
                self._silent[engine.engine_start_id] = silent
                if silent >= SILENT_PROBES:
                    self._host.engine_died(state, f"The engine has not answered {silent} probes in a row.")

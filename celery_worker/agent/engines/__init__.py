"""One module per engine kind; each offers start, stop, probe and adopt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from celery_worker.agent.engines.kserve import KServeEngine
from celery_worker.agent.state import EngineRecord

Probe = Literal["ready", "starting", "gone"]


class Engine(Protocol):
    """What the agent needs of an engine kind."""

    kind: str

    def prepare(self, *, digest: str, options: Mapping[str, Any]) -> EngineRecord:
        """Choose an id and a port for one start; nothing runs yet. Raises EngineError for wrong options."""

    def start(self, record: EngineRecord, *, deployment_id: str, folder: Path) -> EngineRecord:
        """Start the process of a prepared record. Raises EngineError."""

    def adopt(self, record: EngineRecord) -> EngineRecord | None:
        """The record completed with the process that already runs for it, None if there is none."""

    def probe(self, record: EngineRecord) -> Probe:
        """Whether the engine answers, is still loading, or is gone."""

    def is_alive(self, record: EngineRecord) -> bool:
        """Whether the very process of this start still runs."""

    def stop(self, record: EngineRecord) -> None:
        """End the whole process group; returns when nothing of it is left."""

    def last_words(self, deployment_id: str) -> str:
        """The last line of the engine's log, to explain a failure."""


def make_engines(root: Path, pythons: Mapping[str, Path]) -> dict[str, Engine]:
    """The engines this host can start: those whose interpreter it was told."""
    engines: dict[str, Engine] = {}
    if "kserve" in pythons:
        engines["kserve"] = KServeEngine(root, pythons["kserve"])
    return engines

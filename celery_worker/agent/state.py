"""What the agent remembers of every deployment, on its own disk: it must survive a kill at any instruction.

One JSON file per deployment. The last generation seen is never forgotten, so an old order stays old after a restart.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from celery_worker.agent.files import private_folder, write_atomically

log = logging.getLogger(__name__)

SEEN_KEPT = 64


@dataclass
class EngineRecord:
    """One start of an engine process. `pid` is None between the decision to start it and knowing its pid."""

    engine_start_id: str
    kind: str
    digest: str
    options: dict[str, Any]
    port: int
    pid: int | None = None
    start_ticks: int | None = None
    started_at: str | None = None
    ready_at: str | None = None


@dataclass
class DeploymentState:
    """`generation` is the highest seen in any order; `work_generation` that of the last start or stop.

    `order` and `load_orders` (by order id) hold the signed envelopes of what is unfinished.
    """

    deployment_id: str
    generation: int = 0
    seen: list[str] = field(default_factory=list)
    order: dict[str, Any] | None = None
    order_id: str | None = None
    work_generation: int = 0
    load_orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    phase: str = "stopped"
    engine: EngineRecord | None = None


class Superseded(Exception):
    """A newer order for the same deployment was accepted; whoever works on the older one stops."""


class AlreadyRunning(Exception):
    """Another agent process uses the same state folder."""


class KeyedLocks:
    """One lock per name, made when first asked for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Hold the lock of `name`."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            yield


class Store:
    """All deployment states of this host. Safe to use from many threads of one process."""

    def __init__(self, root: Path) -> None:
        self.root = private_folder(root)
        self.folder = private_folder(root / "deployments")
        self._guard = threading.Lock()
        self._work_locks = KeyedLocks()
        self._states: dict[str, DeploymentState] = {}
        self._process_lock: int | None = None
        self.reload()

    def claim(self, *, patience_s: float = 10.0) -> None:
        """Become the one agent process of this folder; waits for a predecessor that is just ending.

        Raises AlreadyRunning. The lock falls with the process, however that ends.
        """
        descriptor = os.open(self.root / "agent.lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise AlreadyRunning(f"Another agent already works in {self.root}; stop it first.") from None
                time.sleep(0.1)
        self._process_lock = descriptor
        self.reload()

    def reload(self) -> None:
        """Read every state from disk. Raises for a file that cannot be read: forgetting it would allow replays."""
        with self._guard:
            self._states.clear()
            for path in sorted(self.folder.glob("*.json")):
                try:
                    self._states[path.stem] = _from_json(path.read_text("utf-8"))
                except (ValueError, KeyError, TypeError) as error:
                    log.error("state file %s cannot be read: %s", path.name, error)
                    raise

    def get(self, deployment_id: str) -> DeploymentState:
        """A copy of what is known, an empty state if nothing is."""
        with self._guard:
            found = self._states.get(deployment_id)
            return deepcopy(found) if found is not None else DeploymentState(deployment_id)

    def all(self) -> list[DeploymentState]:
        """Copies of all states."""
        with self._guard:
            return [deepcopy(state) for state in self._states.values()]

    def update(
        self,
        deployment_id: str,
        change: Callable[[DeploymentState], None],
        *,
        for_order: str | None = None,
    ) -> DeploymentState:
        """Apply `change` and write it to disk before returning the new state.

        With `for_order`, only while that is still the deployment's current start or stop order, else Superseded.
        An exception from `change` leaves everything as it was.
        """
        name = str(UUID(deployment_id))
        with self._guard:
            current = self._states.get(name)
            state = deepcopy(current) if current is not None else DeploymentState(name)
            if for_order is not None and state.order_id != for_order:
                raise Superseded(deployment_id)
            change(state)
            state.seen = state.seen[-SEEN_KEPT:]
            write_atomically(self.folder / f"{name}.json", json.dumps(asdict(state)).encode("utf-8"))
            self._states[name] = state
            return deepcopy(state)

    @contextmanager
    def working_on(self, deployment_id: str) -> Iterator[None]:
        """Only one start or stop of a deployment is worked on at a time."""
        with self._work_locks.holding(deployment_id):
            yield

    def is_current(self, deployment_id: str, order_id: str) -> bool:
        """Whether `order_id` is still the deployment's current start or stop order."""
        with self._guard:
            state = self._states.get(deployment_id)
            return state is not None and state.order_id == order_id


def _from_json(text: str) -> DeploymentState:
    values = json.loads(text)
    engine = values.pop("engine")
    return DeploymentState(**values, engine=EngineRecord(**engine) if engine is not None else None)

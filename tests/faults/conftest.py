"""A portal for each test, copied in the middle of the story: everything is ready for the pilot, nothing is deployed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from celery_worker import faults
from tests.journeys.portals import RunningPortal, copy_of, half_way_snapshot, until

MakeCopy = Callable[..., RunningPortal]


@pytest.fixture(autouse=True)
def quick_passwords() -> None:
    """No Django here: these tests look at processes from outside."""


@pytest.fixture(autouse=True)
def private_cache() -> None:
    """No Django cache here either."""


@pytest.fixture(scope="session")
def half_way(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The snapshot after the fourth step, shared by all parallel workers."""
    return half_way_snapshot(tmp_path_factory, worker_id)


def fault_file(folder: Path) -> Path:
    """Where a copy's processes look for the point at which to die."""
    return folder.with_name(f"{folder.name}.fault")


@pytest.fixture
def copy(half_way: Path, tmp_path: Path) -> Iterator[MakeCopy]:
    """copy(without=("seal",), environment={...}) -> a running portal of this test's own."""
    with contextlib.ExitStack() as stack:

        def make(*, without: tuple[str, ...] = ("seal",), environment: dict[str, str] | None = None) -> RunningPortal:
            folder = tmp_path / "p"
            variables = {faults.VARIABLE: str(fault_file(folder)), **(environment or {})}
            return stack.enter_context(copy_of(half_way, folder, without=without, environment=variables))

        yield make


@dataclass
class Fault:
    """Kill whoever comes to a named point of this portal next."""

    portal: RunningPortal

    @property
    def path(self) -> Path:
        """The file that names the point."""
        return fault_file(self.portal.stack.data.root)

    def arm(self, point: str, about: str = "") -> None:
        """The next process at `point` (about this very thing) dies."""
        assert point in faults.POINTS
        draft = self.path.with_suffix(".new")
        draft.write_text(f"{point} {about}".strip())
        draft.replace(self.path)

    @property
    def struck(self) -> bool:
        """Has a process died there?"""
        return not self.path.exists()

    def wait(self) -> None:
        """Until it has struck."""
        until("a process to die at its point", lambda: self.struck)

    def strike(self, point: str, about: str = "") -> None:
        """Arm, and wait until it has struck."""
        self.arm(point, about)
        self.wait()


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[None]]]:
    """in_background(function, *arguments): does it while the test kills; `result()` raises what it raised."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit

"""A portal for each test, copied in the middle of the story: everything is ready for the pilot, nothing is deployed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from celery_worker import faults
from tests.journeys.portals import RunningPortal, copy_of, half_way_snapshot

from .points import fault_file

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


@pytest.fixture
def copy(half_way: Path, tmp_path: Path) -> Iterator[MakeCopy]:
    """copy(without=("seal",), environment={...}) -> a running portal of this test's own."""
    with contextlib.ExitStack() as stack:

        def make(*, without: tuple[str, ...] = ("seal",), environment: dict[str, str] | None = None) -> RunningPortal:
            folder = tmp_path / "p"
            variables = {faults.VARIABLE: str(fault_file(folder)), **(environment or {})}
            return stack.enter_context(copy_of(half_way, folder, without=without, environment=variables))

        yield make


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[None]]]:
    """in_background(function, *arguments): does it while the test kills; `result()` raises what it raised."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit

"""One portal that has told the whole sample story, for every test of this folder; it stays up until the last of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.counting import write_told
from tests.journeys.portals import HALF_WAY, UNDISTURBED, RunningPortal, copy_of, half_way_snapshot, made_once
from tests.journeys.visits import another, chromium, in_pilot, visit  # noqa: F401 - fixtures of the browser tests

STEPS = 9
# They count what the story left; browser tests go on from there and add to it.
FIRST = ("test_rest_journey.py", "test_planes.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of this folder's tests, those in FIRST come first."""
    places = [place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    ordered = sorted((items[place] for place in places), key=lambda item: item.path.name not in FIRST)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.fixture(autouse=True)
def quick_passwords() -> None:
    """No Django here: the portal is seen from outside."""


@pytest.fixture(autouse=True)
def private_cache() -> None:
    """No Django cache here either."""


@pytest.fixture(scope="session")
def half_way(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The snapshot after the fourth step, shared by all parallel workers."""
    return half_way_snapshot(tmp_path_factory, worker_id)


@pytest.fixture(scope="session")
def portal(half_way: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[RunningPortal]:
    """`base_url`, `accounts`, `ctx` of a running portal after all nine steps.

    One for each parallel worker that asks: mark tests that use it `xdist_group("stack")`, and one worker has them all.
    """
    with copy_of(half_way, tmp_path_factory.mktemp("journey") / "p") as running:

        def tell(folder: Path) -> None:
            running.tell(*range(HALF_WAY + 1, STEPS + 1))
            write_told(running, folder)

        made_once(tmp_path_factory, worker_id, UNDISTURBED, tell)
        if STEPS not in running.said:
            running.tell(*range(HALF_WAY + 1, STEPS + 1))
        yield running

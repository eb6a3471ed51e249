"""The story goes on after each kill, through load test, production, canary, drift, rollback and export, and leaves nothing else behind.

What it leaves is compared with a run in which nothing was killed: every act in the trail, every order, every start of an engine.
"""

import json
from pathlib import Path

import pytest

from demo.journey import STEPS
from tests.journeys.portals import HALF_WAY, UNDISTURBED, copy_of, made_once

from .conftest import MakeCopy
from .counting import assert_each_counted_once, told, write_told
from .kills import KILLS, InBackground

AFTER_THE_KILL = range(HALF_WAY + 2, len(STEPS) + 1)


@pytest.fixture(scope="session")
def undisturbed(half_way: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, dict[str, int]]:
    """What the whole story leaves behind when nothing is killed."""

    def tell(folder: Path) -> None:
        with copy_of(half_way, folder / "p") as portal:
            portal.tell(*range(HALF_WAY + 1, len(STEPS) + 1))
            write_told(portal, folder)

    # Where the tests of the whole journey run too, theirs is the undisturbed one.
    return json.loads((made_once(tmp_path_factory, worker_id, UNDISTURBED, tell) / "told.json").read_text())


@pytest.mark.faults
@pytest.mark.long
@pytest.mark.stack
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(f"to the end: {name}")) for name in KILLS])
def test_the_journey_completes_after_the_kill_with_everything_counted_once(
    name: str, copy: MakeCopy, in_background: InBackground, undisturbed: dict[str, dict[str, int]]
) -> None:
    kill = KILLS[name]
    portal = copy(without=(), environment=kill.environment)
    kill.tell(portal, in_background)
    portal.tell(*AFTER_THE_KILL)
    assert set(portal.said) == set(range(1, len(STEPS) + 1))
    assert_each_counted_once(portal)
    assert told(portal) == undisturbed

"""A small portal (PostgreSQL and Valkey alone) that tests may start, kill and copy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gatehouse_cli import orphans
from gatehouse_cli.paths import DataDir
from gatehouse_cli.stack import Stack


@pytest.fixture
def private_cache() -> None:
    """No Django cache here: these tests run without the portal."""


@pytest.fixture
def quick_passwords() -> None:
    """No Django passwords here either."""


@pytest.fixture(autouse=True)
def nothing_external(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's own services are not those of the portals these tests start."""
    for name in ("DATABASE_URL", "REDIS_URL", "GATEHOUSE_MLFLOW_URL", "GATEHOUSE_BASE_URL", "GATEHOUSE_GATEWAY_URL", "GATEHOUSE_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Not yet started; whatever it starts is gone after the test."""
    made = Stack(tmp_path / "portal", durable=False)
    yield made
    made.stop()
    assert orphans.find(DataDir(tmp_path / "portal")) == []

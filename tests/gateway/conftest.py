"""A portal door, an engine and a gateway for each test module; tests that break things make their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.world import control, elena, endpoints, engineer, order_key_file, usecase  # noqa: F401
from tests.gateway.phased import phased  # noqa: F401
from tests.gateway.support import Engine, GatewayProcess, Portal, start_engine


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    portal = Portal(tmp_path_factory.mktemp("portal"))
    portal.start()
    yield portal
    portal.stop()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = start_engine()
    yield engine
    engine.kill()


@pytest.fixture(scope="module")
def second_engine() -> Iterator[Engine]:
    engine = start_engine(bias=1000.0, model="m-2")
    yield engine
    engine.kill()


@pytest.fixture
def own_portal(tmp_path: Path) -> Iterator[Portal]:
    portal = Portal(tmp_path)
    portal.start()
    yield portal
    portal.stop()


@pytest.fixture
def own_gateway(own_portal: Portal, tmp_path: Path) -> Iterator[GatewayProcess]:
    """Not started, so that a test can prepare its state folder or its settings."""
    gateway = GatewayProcess(own_portal, tmp_path)
    yield gateway
    gateway.end()


@pytest.fixture(scope="module")
def gateway(portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(portal, tmp_path_factory.mktemp("gateway"))
    portal.publish()
    gateway.start()
    yield gateway
    gateway.end()

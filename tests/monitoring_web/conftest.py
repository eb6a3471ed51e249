"""The world of deployments with captured traffic, and browsers that are signed in."""

import pytest

from tests.deployments_web.conftest import (  # noqa: F401
    agent,
    browser,
    control,
    decide,
    elena,
    endpoints,
    engineer,
    order_key_file,
    page_of,
    rate_card,
    stage,
    trail_begins,
    usecase,
    versions,
)
from tests.monitoring.traffic import Traffic


@pytest.fixture
def folder(settings, tmp_path):
    settings.CAPTURE_DIR = tmp_path
    return tmp_path


@pytest.fixture
def live(stage, folder):  # noqa: F811
    """Version 1, answering on the pilot endpoint."""
    return stage.live(1)


@pytest.fixture
def traffic(folder, live):
    return Traffic(folder, live.endpoint)

"""The world of deployments, and browsers that are signed in."""

import pytest

from tests.dashboard.conftest import page_of  # noqa: F401
from tests.deployments.world import (  # noqa: F401
    agent,
    control,
    decide,
    elena,
    endpoints,
    engineer,
    order_key_file,
    rate_card,
    stage,
    trail_begins,
    usecase,
    versions,
)


@pytest.fixture
def linked(elena, usecase, versions):  # noqa: F811
    """The model of the versions is linked to the use case, so that pages offer its versions."""
    from apps.usecases import services

    versions(1)
    services.link_model(actor=elena, usecase_id=usecase.id, model_name="care-outreach")


@pytest.fixture
def browser(page_of, engineer):  # noqa: F811
    """Elena's browser."""
    return page_of(engineer)


def words(answer):
    """A page's text with its white space evened out."""
    return " ".join(answer.content.decode().split())

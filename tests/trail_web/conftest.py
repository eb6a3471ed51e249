"""People, a use case, and browsers that are signed in."""

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
    stage,
    trail_begins,
    usecase,
    versions,
)

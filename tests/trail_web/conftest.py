"""People, a use case, and browsers that are signed in."""

from tests.deployments_web.conftest import (  # noqa: F401
    browser,
    elena,
    engineer,
    page_of,
    trail_begins,
    usecase,
)

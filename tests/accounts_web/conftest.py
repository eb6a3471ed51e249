"""Browsers that are signed in."""

from tests.dashboard.conftest import page_of  # noqa: F401

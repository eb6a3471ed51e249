"""The world of deployments."""

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

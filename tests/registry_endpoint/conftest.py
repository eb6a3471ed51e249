"""The endpoint as clients meet it. The fixtures are those of the registry's own tests."""

from tests.registry.conftest import (
    behind_the_back,
    decide,
    endpoint,
    events,
    mlflow_database,
    mlflow_is_up,
    name,
    ready,
    register,
)

__all__ = ["behind_the_back", "decide", "endpoint", "events", "mlflow_database", "mlflow_is_up", "name", "ready", "register"]

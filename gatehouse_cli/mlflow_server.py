"""MLflow's server in one process.

    python -m gatehouse_cli.mlflow_server PORT

`mlflow server` loads all of MLflow and then starts uvicorn, which loads it again: three seconds of a processor and 280 MB
more, and a child that outlives the command when that is killed. What that command hands to its child is handed on here.
"""

import os
import sys

from gatehouse_cli.services import LOOPBACK


def configure() -> None:
    """Pass on the store and the artifacts' folder (`mlflow_environment`), and make the store's tables if need be."""
    from mlflow.server import constants
    from mlflow.server.handlers import initialize_backend_stores
    from mlflow.store.tracking import DEFAULT_ARTIFACTS_URI

    store = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: store,
        constants.REGISTRY_STORE_URI_ENV_VAR: store,
        constants.ARTIFACT_ROOT_ENV_VAR: DEFAULT_ARTIFACTS_URI,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: os.environ["MLFLOW_ARTIFACTS_DESTINATION"],
    }
    initialize_backend_stores(store, store, DEFAULT_ARTIFACTS_URI)


def main(port: int) -> None:
    """Serve until told to end."""
    # First: MLflow refuses foreign Host headers only where it finds a server loaded.
    import uvicorn

    configure()
    uvicorn.run("mlflow.server.fastapi_app:app", host=LOOPBACK, port=port, loop="uvloop", timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main(int(sys.argv[1]))

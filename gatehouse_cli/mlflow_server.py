"""MLflow's server in one process.

    python -m gatehouse_cli.mlflow_server PORT [ADDRESS]

`mlflow server` loads all of MLflow and then starts uvicorn, which loads it again: three seconds of a processor and 280 MB
more, and a child that outlives the command when that is killed. What that command hands to its child is handed on here.

MLflow itself asks nobody who they are. With GATEHOUSE_MLFLOW_TOKEN set, only who shows it (the portal) is answered: other
people of the same machine reach the port, and would pass by permissions, decisions and the trail.
"""

import hmac
import os
import sys
from typing import Any

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


class Guarded:
    """An ASGI app that answers who shows the token as a bearer token, and everybody asking whether it is well."""

    def __init__(self, app: Any, token: str) -> None:
        self.app, self.expected = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One connection of ASGI: passed on, or answered 401."""
        if scope["type"] == "lifespan" or scope.get("path") == "/health" or self._shown(scope):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        said = b'{"error_code": "UNAUTHENTICATED", "message": "Use the portal\'s address with /mlflow, and a token of the portal."}'
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 401, "headers": [*headers, (b"content-length", b"%d" % len(said))]})
        await send({"type": "http.response.body", "body": said})

    def _shown(self, scope: Any) -> bool:
        shown = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(shown) == 1 and hmac.compare_digest(shown[0], self.expected)


def app() -> Any:
    """MLflow's app, guarded where there is a token."""
    from mlflow.server.fastapi_app import app as mlflow

    token = os.environ.get("GATEHOUSE_MLFLOW_TOKEN", "")
    return Guarded(mlflow, token) if token else mlflow


def main(port: int, address: str = LOOPBACK) -> None:
    """Serve until told to end. Beyond this machine only with a token."""
    if address != LOOPBACK and not os.environ.get("GATEHOUSE_MLFLOW_TOKEN"):
        sys.exit("GATEHOUSE_MLFLOW_TOKEN is not set: without it MLflow would answer everybody. Set it here and for the portal's processes.")
    # First: MLflow refuses foreign Host headers only where it finds a server loaded.
    import uvicorn

    configure()
    uvicorn.run("gatehouse_cli.mlflow_server:app", factory=True, host=address, port=port, loop="uvloop", timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:3])

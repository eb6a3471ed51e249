"""Prints every route of the installed MLflow server as JSON: [[kind, method, path], ...]. Run in a process of its own: importing
the server makes stores and threads."""

import json
import os
import sys
import tempfile

STORE = f"sqlite:///{tempfile.mkdtemp()}/x.db"
os.environ.update({"MLFLOW_BACKEND_STORE_URI": STORE, "_MLFLOW_SERVER_FILE_STORE": STORE, "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true"})


def native(routes, prefix=""):
    """(method, path) of ASGI routes, however deep routers are put into one another; a mount of a WSGI application has none of its own."""
    for route in routes:
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from native(inner.routes, prefix + route.include_context.prefix)
        elif getattr(route, "methods", None):
            yield from ((method, prefix + route.path) for method in route.methods)
        elif getattr(route, "routes", None):
            yield from native(route.routes, prefix + route.path)
        elif getattr(route, "path", None) != "":
            raise SystemExit(f"a kind of route this test does not know: {route!r}")


def main():
    from mlflow.server import app as flask
    from mlflow.server.fastapi_app import app

    found = [("flask", method, str(rule.rule)) for rule in flask.url_map.iter_rules() for method in rule.methods]
    found += [("asgi", method, path) for method, path in native(app.routes)]
    json.dump(sorted(set(found)), sys.stdout)


if __name__ == "__main__":
    main()

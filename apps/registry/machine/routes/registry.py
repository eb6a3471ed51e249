"""Registered models (prompts too), their versions, aliases and tags; the server itself; MLflow's own pages."""

from apps.registry.machine.routes.table import Route

T, T3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
R, V = f"{T}/registered-models", f"{T}/model-versions"
MODEL, VERSION = ("name",), ("name", "version")
ALIAS = ("name", "alias", "version")

MODELS = (
    Route("GET", f"{R}/get", "read", "model", MODEL),
    Route("GET", f"{R}/search", "read", "model", policy="page"),
    Route("GET", f"{R}/get-latest-versions", "read", "model", MODEL),
    Route("POST", f"{R}/get-latest-versions", "read", "model", MODEL),
    Route("POST", f"{R}/create", "register", "none", MODEL, special="model", trail="registeredmodel"),
    Route("PATCH", f"{R}/update", "edit", "model", MODEL),
    Route("POST", f"{R}/rename", "edit", "model", MODEL, special="rename"),
    Route("DELETE", f"{R}/delete", "delete", "model", MODEL),
    Route("POST", f"{R}/set-tag", "edit", "model", MODEL),
    Route("DELETE", f"{R}/delete-tag", "edit", "model", MODEL),
    Route("GET", f"{R}/alias", "read", "model", MODEL),
    Route("POST", f"{R}/alias", "alias", "version", ALIAS, special="set_alias"),
    Route("DELETE", f"{R}/alias", "alias", "model", ("name", "alias"), special="delete_alias"),
)
VERSIONS = (
    Route("GET", f"{V}/get", "read", "version", VERSION),
    Route("GET", f"{V}/search", "read", "version", policy="page"),
    Route("GET", f"{V}/get-download-uri", "read", "version", VERSION),
    Route("POST", f"{V}/create", "register", "model", ("name", "source", "run_id", "model_id"), special="version", trail="modelversion"),
    Route("PATCH", f"{V}/update", "edit", "version", VERSION),
    Route("POST", f"{V}/transition-stage", "alias", "version", VERSION),
    Route("DELETE", f"{V}/delete", "delete", "version", VERSION),
    Route("POST", f"{V}/set-tag", "edit", "version", VERSION),
    Route("DELETE", f"{V}/delete-tag", "edit", "version", VERSION),
)
SERVER = (
    Route("GET", "/health", served="plain"),
    Route("GET", "/version", served="plain"),
    Route("GET", f"{T3}/server-info", special="abilities"),
    Route("GET", f"{T}/users/current", policy="ours", special="whoami"),
    Route("GET", f"{T3}/ui-telemetry", policy="ours", special="telemetry", served="ajax"),
    Route("POST", "/graphql", policy="ours", special="graphql", served="plain"),
    Route("GET", "/", policy="ours", special="page", served="plain"),
    Route("GET", "/static-files/{path}", policy="ours", special="static", served="plain"),
)
ROUTES = MODELS + VERSIONS + SERVER

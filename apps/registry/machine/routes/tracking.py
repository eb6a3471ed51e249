"""Experiments, runs, metrics, artifacts, logged models, evaluation datasets."""

from apps.registry.machine.routes.table import Route

T, T3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
STORE = "/api/2.0/mlflow-artifacts/artifacts"
LOGGED, DATA = f"{T}/logged-models", f"{T3}/datasets"
EXPERIMENT, RUN = ("experiment_id",), ("run_id",)
LOGGED_MODEL, DATASET, PATH = ("model_id",), ("dataset_id",), ("path",)

EXPERIMENTS = (
    Route("GET", f"{T}/experiments/get", "read", "experiment", EXPERIMENT),
    Route("GET", f"{T}/experiments/get-by-name", "read", "experiment", ("experiment_name",), "answer"),
    Route("GET", f"{T}/experiments/search", "read", "experiment", policy="page"),
    Route("POST", f"{T}/experiments/search", "read", "experiment", policy="page"),
    Route("POST", f"{T}/experiments/search-datasets", "read", "experiment", policy="narrow", served="ajax"),
    Route("POST", f"{T}/experiments/create", "log", "none", ("name=experiment_name",), special="experiment", trail="experiment"),
    Route("POST", f"{T}/experiments/update", "edit", "experiment", EXPERIMENT),
    Route("POST", f"{T}/experiments/delete", "delete", "experiment", EXPERIMENT),
    Route("POST", f"{T}/experiments/restore", "delete", "experiment", EXPERIMENT),
    Route("POST", f"{T}/experiments/set-experiment-tag", "log", "experiment", EXPERIMENT),
    Route("POST", f"{T}/experiments/delete-experiment-tag", "log", "experiment", EXPERIMENT),
)
RUNS = (
    Route("GET", f"{T}/runs/get", "read", "run", RUN, "answer"),
    Route("POST", f"{T}/runs/search", "read", "experiment", policy="narrow"),
    Route("POST", f"{T}/runs/create", "log", "experiment", EXPERIMENT, special="run"),
    Route("POST", f"{T}/runs/update", "log", "run", RUN),
    Route("POST", f"{T}/runs/delete", "delete", "run", RUN),
    Route("POST", f"{T}/runs/restore", "delete", "run", RUN),
    Route("POST", f"{T}/runs/log-metric", "log", "run", RUN),
    Route("POST", f"{T}/runs/log-parameter", "log", "run", RUN),
    Route("POST", f"{T}/runs/log-batch", "log", "run", RUN),
    Route("POST", f"{T}/runs/log-inputs", "log", "run", RUN),
    Route("POST", f"{T}/runs/log-model", "log", "run", RUN),
    Route("POST", f"{T}/runs/outputs", "log", "run", RUN),
    Route("POST", f"{T}/runs/set-tag", "log", "run", RUN),
    Route("POST", f"{T}/runs/delete-tag", "log", "run", RUN),
    Route("GET", f"{T}/metrics/get-history", "read", "run", RUN),
    Route("GET", f"{T}/metrics/get-history-bulk", "read", "run", ("run_id",), "each", served="ajax"),
    Route("GET", f"{T}/metrics/get-history-bulk-interval", "read", "run", ("run_ids",), "each"),
)
ARTIFACTS = (
    Route("GET", f"{T}/artifacts/list", "read", "run", RUN),
    Route("GET", STORE, "read", "artifact", PATH),
    Route("GET", f"{STORE}/{{path}}", "read", "artifact", PATH),
    Route("PUT", f"{STORE}/{{path}}", "log", "artifact", PATH, special="artifact"),
    Route("DELETE", f"{STORE}/{{path}}", "delete", "artifact", PATH),
    Route("GET", "/get-artifact", "read", "run", RUN, served="plain"),
    Route("GET", "/model-versions/get-artifact", "read", "version", ("name", "version"), served="plain"),
)
LOGGED_MODELS = (
    Route("POST", LOGGED, "log", "experiment", EXPERIMENT, special="run"),
    Route("POST", f"{LOGGED}/search", "read", "experiment", policy="narrow"),
    Route("GET", f"{LOGGED}/{{model_id}}", "read", "loggedmodel", LOGGED_MODEL, "answer"),
    Route("PATCH", f"{LOGGED}/{{model_id}}", "log", "loggedmodel", LOGGED_MODEL),
    Route("DELETE", f"{LOGGED}/{{model_id}}", "delete", "loggedmodel", LOGGED_MODEL),
    Route("PATCH", f"{LOGGED}/{{model_id}}/tags", "log", "loggedmodel", LOGGED_MODEL),
    Route("DELETE", f"{LOGGED}/{{model_id}}/tags/{{tag_key}}", "log", "loggedmodel", LOGGED_MODEL),
    Route("POST", f"{LOGGED}/{{model_id}}/params", "log", "loggedmodel", LOGGED_MODEL),
    Route("GET", f"{LOGGED}/{{model_id}}/artifacts/directories", "read", "loggedmodel", LOGGED_MODEL),
    Route("GET", f"{LOGGED}/{{model_id}}/artifacts/files", "read", "loggedmodel", LOGGED_MODEL, served="ajax"),
)
DATASETS = (
    Route("POST", f"{DATA}/create", "log", "experiment", ("experiment_ids",), "each"),
    Route("GET", f"{DATA}/search", "read", "dataset", policy="page"),
    Route("POST", f"{DATA}/search", "read", "dataset", policy="page"),
    Route("GET", f"{DATA}/{{dataset_id}}", "read", "dataset", DATASET),
    Route("DELETE", f"{DATA}/{{dataset_id}}", "delete", "dataset", DATASET),
    Route("GET", f"{DATA}/{{dataset_id}}/experiment-ids", "read", "dataset", DATASET, special="experiment-ids"),
    Route("GET", f"{DATA}/{{dataset_id}}/records", "read", "dataset", DATASET),
    Route("POST", f"{DATA}/{{dataset_id}}/records", "log", "dataset", DATASET),
    Route("DELETE", f"{DATA}/{{dataset_id}}/records", "delete", "dataset", DATASET),
    Route("POST", f"{DATA}/{{dataset_id}}/add-experiments", "log", "dataset", DATASET, special="dataset-experiments"),
    Route("POST", f"{DATA}/{{dataset_id}}/remove-experiments", "log", "dataset", DATASET, special="dataset-experiments"),
    Route("PATCH", f"{DATA}/{{dataset_id}}/tags", "log", "dataset", DATASET),
    Route("DELETE", f"{DATA}/{{dataset_id}}/tags/{{tag_key}}", "log", "dataset", DATASET),
)
ROUTES = EXPERIMENTS + RUNS + ARTIFACTS + LOGGED_MODELS + DATASETS

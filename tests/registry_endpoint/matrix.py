"""Every admitted route with a request for it, and what the contract asks for: written down here, not read from the code it tests.

A row says: method, address, query or body, the right it needs, what an object out of sight comes to, and what a decision does to it.
`{model}`, `{run}`, `{experiment}`, `{logged}`, `{trace}`, `{dataset}`, `{schema}`, `{queue}`, `{issue}` stand for the object at hand.
"""

from dataclasses import dataclass
from typing import Any

A, A3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
X, X3 = "/ajax-api/2.0/mlflow", "/ajax-api/3.0/mlflow"
R, V, E, L, D, T2, T3 = (
    f"{A}/registered-models", f"{A}/model-versions", f"{A}/experiments", f"{A}/logged-models", f"{A3}/datasets", f"{A}/traces", f"{A3}/traces",
)  # fmt: skip
S, LS, Q, I = f"{A3}/scorers", f"{A3}/label-schemas", f"{A3}/review-queues", f"{A3}/issues"  # noqa: E741
SCHEMA, QUEUE = {"schema_id": "{schema}"}, {"queue_id": "{queue}"}
FILES = "/api/2.0/mlflow-artifacts/artifacts"
NOTE, WEIGHTS = f"{FILES}/{{experiment}}/{{run}}/artifacts/notes.txt", f"{FILES}/{{experiment}}/{{run}}/artifacts/model/MLmodel"
M, MV, RUN, EXP = {"name": "{model}"}, {"name": "{model}", "version": "1"}, {"run_id": "{run}"}, {"experiment_id": "{experiment}"}
PLACE = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{experiment}"}}
TAG, METRIC = {"key": "team", "value": "care"}, {"key": "recall", "value": 0.5, "timestamp": 1}
PROMPT = {"name": "{model}", "version": "1"}
QUERY = "query Q($data: MlflowGetExperimentInput!) { mlflowGetExperiment(input: $data) { experiment { name } } }"

# An object out of sight: there is none (404, MLflow not asked); 404 after MLflow's answer has said where it belongs; nothing found and
# MLflow not asked; left out of what is found.
HIDDEN, TOLD, EMPTY, LEFT_OUT = "hidden", "told", "empty", "left out"
# No object at all: nothing to hide; or the portal answers without MLflow.
NOTHING, OURS = "nothing", "ours"
# Refused to everybody, administrators too: once a decision names it; without a live decision; always.
ONCE_DECIDED, UNDECIDED, ALWAYS = "once decided", "undecided", "always"


@dataclass(frozen=True)
class Row:
    method: str
    path: str
    said: Any
    needs: str
    out_of_sight: str = HIDDEN
    frozen: str = ""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path} {self.said or ''}"


def rows(method: str, needs: str, *several: tuple[Any, ...]) -> list[Row]:
    return [Row(method, path, said, needs, *more) for path, said, *more in several]


ROWS = [
    *rows(
        "GET", "read",
        (f"{R}/get", M), (f"{R}/search", {}, LEFT_OUT), (f"{R}/get-latest-versions", M), (f"{R}/alias", M | {"alias": "first"}),
        (f"{V}/get", MV), (f"{V}/search", {}, LEFT_OUT), (f"{V}/get-download-uri", MV),
        ("/model-versions/get-artifact", MV | {"path": "MLmodel"}),
        ("/health", {}, NOTHING), ("/version", {}, NOTHING), (f"{A3}/server-info", {}, NOTHING), ("/", {}, NOTHING),
        ("/static-files/main.js", {}, NOTHING), (f"{A}/users/current", {}, OURS), (f"{X3}/ui-telemetry", {}, OURS),
        (f"{E}/get", EXP), (f"{E}/get-by-name", {"experiment_name": "any"}, TOLD), (f"{E}/search", {"max_results": "9"}, LEFT_OUT),
        (f"{A}/runs/get", RUN, TOLD), (f"{A}/metrics/get-history", RUN | {"metric_key": "recall"}),
        (f"{X}/metrics/get-history-bulk", RUN | {"metric_key": "recall"}),
        (f"{A}/metrics/get-history-bulk-interval", {"run_ids": "{run}", "metric_key": "recall"}),
        (f"{A}/artifacts/list", RUN), (FILES, {"path": "{experiment}/{run}/artifacts"}), (WEIGHTS, {}),
        ("/get-artifact", RUN | {"path": "notes.txt"}),
        (f"{L}/{{logged}}", {}, TOLD), (f"{L}/{{logged}}/artifacts/directories", {}),
        (f"{X}/logged-models/{{logged}}/artifacts/files", {"artifact_file_path": "MLmodel"}),
        (f"{D}/search", {}, LEFT_OUT), (f"{D}/{{dataset}}", {}), (f"{D}/{{dataset}}/experiment-ids", {}), (f"{D}/{{dataset}}/records", {}),
        (T2, {"experiment_ids": "{experiment}"}, EMPTY), (f"{T2}/{{trace}}/info", {}, TOLD), (f"{T3}/{{trace}}", {}, TOLD),
        (f"{T3}/get", {"trace_id": "{trace}"}, TOLD), (f"{T3}/batchGet", {"trace_ids": "{trace}"}),
        (f"{T3}/{{trace}}/assessments/a-1", {}), (f"{X}/get-trace-artifact", {"request_id": "{trace}"}),
        (f"{X3}/get-trace-artifact", {"request_id": "{trace}"}),
        (f"{S}/list", EXP), (f"{S}/list", {"experiment_ids": "{experiment}"}, EMPTY), (f"{S}/versions", EXP | {"name": "polite"}),
        (f"{S}/online-configs", {"scorer_ids": "any"}, OURS),
        (f"{S}/get", EXP | {"name": "polite"}), (f"{LS}/get", SCHEMA, TOLD), (f"{LS}/get-by-name", EXP | {"name": "tone"}), (f"{LS}/list", EXP),
        (f"{Q}/get", QUEUE, TOLD), (f"{Q}/get-by-name", EXP | {"name": "mine"}), (f"{Q}/list", EXP), (f"{Q}/items/list", QUEUE),
        (f"{I}/{{issue}}", {}, TOLD),
    ),
    *rows(
        "POST", "read",
        (f"{R}/get-latest-versions", M), (f"{E}/search", {"max_results": 9}, LEFT_OUT),
        (f"{X}/experiments/search-datasets", {"experiment_ids": ["{experiment}"]}, EMPTY),
        (f"{A}/runs/search", {"experiment_ids": ["{experiment}"]}, EMPTY), (f"{L}/search", {"experiment_ids": ["{experiment}"]}, EMPTY),
        (f"{D}/search", {}, LEFT_OUT), (f"{T3}/batchGetInfos", {"trace_ids": ["{trace}"]}), (f"{T3}/search", {"locations": [PLACE]}, EMPTY),
        (f"{T3}/metrics", {"experiment_ids": ["{experiment}"]}, EMPTY),
        (f"{T3}/calculate-filter-correlation", {"experiment_ids": ["{experiment}"]}, EMPTY),
        (f"{I}/search", EXP),
        ("/graphql", {"query": QUERY, "variables": {"data": {"experimentId": "{experiment}"}}}),
    ),
    # Anything that is added, by an engineer who sees where.
    *rows(
        "POST", "log",
        (f"{E}/create", {"name": "brand-new"}, NOTHING), (f"{E}/set-experiment-tag", EXP | TAG), (f"{E}/delete-experiment-tag", EXP | {"key": "team"}),
        (f"{A}/runs/create", EXP), (f"{A}/runs/update", RUN | {"status": "FINISHED", "end_time": 2}),
        (f"{A}/runs/update", RUN | {"run_name": "renamed"}, HIDDEN, ONCE_DECIDED), (f"{A}/runs/log-metric", RUN | METRIC, HIDDEN, ONCE_DECIDED),
        (f"{A}/runs/log-parameter", RUN | {"key": "depth", "value": "4"}, HIDDEN, ONCE_DECIDED),
        (f"{A}/runs/log-batch", RUN | {"metrics": [METRIC]}, HIDDEN, ONCE_DECIDED), (f"{A}/runs/log-inputs", RUN | {"datasets": []}, HIDDEN, ONCE_DECIDED),
        (f"{A}/runs/log-model", RUN | {"model_json": "{}"}, HIDDEN, ONCE_DECIDED), (f"{A}/runs/outputs", RUN | {"models": []}, HIDDEN, ONCE_DECIDED),
        (f"{A}/runs/set-tag", RUN | TAG, HIDDEN, ONCE_DECIDED), (f"{A}/runs/set-tag", RUN | {"key": "gatehouse.decision", "value": "x"}, HIDDEN, ALWAYS),
        (f"{A}/runs/delete-tag", RUN | {"key": "team"}, HIDDEN, ONCE_DECIDED),
        (L, EXP | {"name": "logged"}), (f"{L}/{{logged}}/params", {"params": []}, HIDDEN, ONCE_DECIDED),
        (f"{D}/create", {"name": "d", "experiment_ids": ["{experiment}"]}), (f"{D}/{{dataset}}/records", {"records": "[]"}),
        (f"{D}/{{dataset}}/add-experiments", {"experiment_ids": ["{experiment}"]}),
        (f"{D}/{{dataset}}/remove-experiments", {"experiment_ids": ["{experiment}"]}),
        (T2, EXP | {"timestamp_ms": 1}), (f"{T2}/link-to-run", RUN | {"trace_ids": ["{trace}"]}, HIDDEN, ONCE_DECIDED),
        (f"{T2}/link-prompts", {"trace_id": "{trace}", "prompt_versions": [PROMPT]}),
        (T3, {"trace": {"trace_info": {"trace_id": "tr-new", "trace_location": PLACE}}}), (f"{T3}/{{trace}}/assessments", {"assessment": {}}),
        ("/v1/traces", "spans"),
        (f"{S}/register", EXP | {"name": "polite", "serialized_scorer": "{}"}), (f"{LS}/create", EXP | {"name": "tone"}),
        (f"{Q}/create", EXP | {"name": "mine"}), (f"{Q}/get-or-create-user", EXP | {"user": "someone"}), (f"{Q}/update", QUEUE | {"name": "ours"}),
        (f"{Q}/items/add", QUEUE | {"item_ids": ["{trace}"]}), (f"{Q}/items/remove", QUEUE | {"item_ids": ["{trace}"]}),
        (f"{Q}/items/set-status", QUEUE | {"item_id": "{trace}", "status": "COMPLETE"}), (I, EXP | {"name": "rude", "description": "words"}),
    ),
    *rows(
        "PATCH", "log",
        (f"{L}/{{logged}}", {"status": "LOGGED_MODEL_READY"}, HIDDEN, ONCE_DECIDED), (f"{L}/{{logged}}/tags", {"tags": [TAG]}, HIDDEN, ONCE_DECIDED),
        (f"{D}/{{dataset}}/tags", {"tags": "{}"}), (f"{T2}/{{trace}}", {"timestamp_ms": 2}), (f"{T2}/{{trace}}/tags", TAG),
        (f"{T3}/{{trace}}/tags", TAG), (f"{T3}/{{trace}}/assessments/a-1", {"assessment": {}}), (f"{LS}/update", SCHEMA | {"name": "manner"}),
        (f"{I}/{{issue}}", {"name": "ruder"}),
    ),
    *rows(
        "DELETE", "log",
        (f"{L}/{{logged}}/tags/team", {}, HIDDEN, ONCE_DECIDED), (f"{D}/{{dataset}}/tags/team", {}), (f"{T2}/{{trace}}/tags", {"key": "team"}),
        (f"{T3}/{{trace}}/tags", {"key": "team"}), (f"{T3}/{{trace}}/assessments/a-1", {}),
    ),
    *rows("PUT", "log", (NOTE, "file", HIDDEN, ONCE_DECIDED), (WEIGHTS, "file", HIDDEN, ALWAYS)),
    *rows(
        "POST", "register",
        (f"{R}/create", {"name": "brand-new"}, NOTHING), (f"{V}/create", {"name": "{model}", "source": "runs:/{run}/model", "run_id": "{run}"}),
    ),
    # What is there already is changed by its owner.
    *rows("PATCH", "edit", (f"{R}/update", M | {"description": "words"}), (f"{V}/update", MV | {"description": "words"})),
    *rows(
        "POST", "edit",
        (f"{R}/rename", M | {"new_name": "another-name"}, HIDDEN, ONCE_DECIDED), (f"{R}/set-tag", M | TAG), (f"{V}/set-tag", MV | TAG, HIDDEN, ONCE_DECIDED),
        (f"{V}/set-tag", MV | {"key": "gatehouse.decision", "value": "x"}, HIDDEN, UNDECIDED), (f"{E}/update", EXP | {"new_name": "another-name"}),
        (f"{R}/alias", MV | {"alias": "challenger"}), (f"{R}/alias", MV | {"alias": "champion"}, HIDDEN, UNDECIDED),
        (f"{R}/alias", MV | {"alias": "Champion"}, HIDDEN, UNDECIDED), (f"{V}/transition-stage", MV | {"stage": "Production"}, HIDDEN, UNDECIDED),
        (f"{V}/transition-stage", MV | {"stage": "Archived"}, HIDDEN, ONCE_DECIDED),
    ),
    *rows(
        "DELETE", "edit",
        (f"{R}/delete-tag", M | {"key": "team"}), (f"{V}/delete-tag", MV | {"key": "team"}, HIDDEN, ONCE_DECIDED), (f"{R}/alias", M | {"alias": "first"}),
        (f"{R}/alias", M | {"alias": "champion"}, HIDDEN, ONCE_DECIDED),
    ),
    # Owning or having made it is not enough to delete it.
    *rows(
        "DELETE", "delete",
        (f"{R}/delete", M, HIDDEN, ONCE_DECIDED), (f"{V}/delete", MV, HIDDEN, ONCE_DECIDED), (NOTE, {}, HIDDEN, ONCE_DECIDED), (WEIGHTS, {}, HIDDEN, ALWAYS),
        (f"{L}/{{logged}}", {}, HIDDEN, ONCE_DECIDED), (f"{D}/{{dataset}}", {}), (f"{D}/{{dataset}}/records", {"dataset_record_ids": ["r"]}),
        (f"{S}/delete", EXP | {"name": "polite"}), (f"{LS}/delete", SCHEMA),
    ),
    *rows(
        "POST", "delete",
        (f"{Q}/delete", QUEUE),
        (f"{E}/delete", EXP, HIDDEN, ONCE_DECIDED), (f"{E}/restore", EXP, HIDDEN, ONCE_DECIDED), (f"{A}/runs/delete", RUN, HIDDEN, ONCE_DECIDED),
        (f"{A}/runs/restore", RUN, HIDDEN, ONCE_DECIDED), (f"{T2}/delete-traces", EXP | {"request_ids": ["{trace}"]}, HIDDEN, ONCE_DECIDED),
        (f"{T3}/delete-traces", EXP | {"request_ids": ["{trace}"]}, HIDDEN, ONCE_DECIDED),
    ),
]  # fmt: skip

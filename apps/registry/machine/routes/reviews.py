"""How people and programs judge traces: scorers, label schemas, review queues, issues. All of them are notes of one experiment.

What MLflow would run by itself on its server (`online-config`, `scorer/invoke`, `issues/invoke`) is refused, see refused.py.
"""

from apps.registry.machine.routes.table import Route

T3 = "/api/3.0/mlflow"
S, L, Q, I = f"{T3}/scorers", f"{T3}/label-schemas", f"{T3}/review-queues", f"{T3}/issues"  # noqa: E741
EXPERIMENT, SCHEMA, QUEUE, ISSUE = ("experiment_id",), ("schema_id",), ("queue_id",), ("issue_id",)

SCORERS = (
    Route("POST", f"{S}/register", "log", "scorer", EXPERIMENT),
    Route("GET", f"{S}/list", "read", "experiment", policy="narrow", special="one-or-many"),
    Route("GET", f"{S}/versions", "read", "scorer", EXPERIMENT),
    Route("GET", f"{S}/get", "read", "scorer", EXPERIMENT),
    # None can be set, so there are none; the client asks with every list.
    Route("GET", f"{S}/online-configs", policy="ours", special="online"),
    Route("DELETE", f"{S}/delete", "delete", "scorer", EXPERIMENT),
)
SCHEMAS = (
    Route("POST", f"{L}/create", "log", "labelschema", EXPERIMENT),
    Route("GET", f"{L}/get", "read", "labelschema", SCHEMA, "answer"),
    Route("GET", f"{L}/get-by-name", "read", "labelschema", EXPERIMENT),
    Route("GET", f"{L}/list", "read", "labelschema", EXPERIMENT),
    Route("PATCH", f"{L}/update", "log", "labelschema", SCHEMA),
    Route("DELETE", f"{L}/delete", "delete", "labelschema", SCHEMA),
)
QUEUES = (
    Route("POST", f"{Q}/create", "log", "reviewqueue", EXPERIMENT),
    Route("POST", f"{Q}/get-or-create-user", "log", "reviewqueue", EXPERIMENT),
    Route("GET", f"{Q}/get", "read", "reviewqueue", QUEUE, "answer"),
    Route("GET", f"{Q}/get-by-name", "read", "reviewqueue", EXPERIMENT),
    Route("GET", f"{Q}/list", "read", "reviewqueue", EXPERIMENT),
    Route("POST", f"{Q}/update", "log", "reviewqueue", QUEUE),
    Route("POST", f"{Q}/delete", "delete", "reviewqueue", QUEUE),
    Route("POST", f"{Q}/items/add", "log", "reviewqueue", QUEUE),
    Route("POST", f"{Q}/items/remove", "log", "reviewqueue", QUEUE),
    Route("GET", f"{Q}/items/list", "read", "reviewqueue", QUEUE),
    Route("POST", f"{Q}/items/set-status", "log", "reviewqueue", QUEUE, special="signed-completed_by"),
)
ISSUES = (
    Route("POST", I, "log", "issue", EXPERIMENT, special="signed-created_by"),
    Route("POST", f"{I}/search", "read", "issue", EXPERIMENT),
    Route("GET", f"{I}/{{issue_id}}", "read", "issue", ISSUE, "answer"),
    Route("PATCH", f"{I}/{{issue_id}}", "log", "issue", ISSUE),
)
ROUTES = SCORERS + SCHEMAS + QUEUES + ISSUES

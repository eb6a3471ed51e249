"""Traces in both versions, their assessments, and spans as OpenTelemetry sends them."""

from apps.registry.machine.routes.table import Route

V2, V3 = "/api/2.0/mlflow/traces", "/api/3.0/mlflow/traces"
TRACE, EXPERIMENT = ("trace_id",), ("experiment_id",)
ONE = f"{V3}/{{trace_id}}"

ROUTES = (
    Route("POST", V2, "log", "experiment", EXPERIMENT),
    Route("GET", V2, "read", "experiment", policy="narrow"),
    Route("PATCH", f"{V2}/{{trace_id}}", "log", "trace", TRACE),
    Route("GET", f"{V2}/{{trace_id}}/info", "read", "trace", TRACE, "answer"),
    Route("PATCH", f"{V2}/{{trace_id}}/tags", "log", "trace", TRACE),
    Route("DELETE", f"{V2}/{{trace_id}}/tags", "log", "trace", TRACE),
    Route("POST", f"{V2}/delete-traces", "delete", "trace", EXPERIMENT),
    Route("POST", f"{V3}/delete-traces", "delete", "trace", EXPERIMENT),
    Route("POST", f"{V2}/link-to-run", "log", "run", ("run_id",), special="traces"),
    Route("POST", f"{V2}/link-prompts", "log", "trace", TRACE),
    Route("POST", V3, "log", "experiment", EXPERIMENT, special="trace"),
    Route("GET", ONE, "read", "trace", TRACE, "answer"),
    Route("PATCH", f"{ONE}/tags", "log", "trace", TRACE),
    Route("DELETE", f"{ONE}/tags", "log", "trace", TRACE),
    Route("GET", f"{V3}/get", "read", "trace", TRACE, "answer"),
    Route("GET", f"{V3}/batchGet", "read", "trace", ("trace_ids",), "each"),
    Route("POST", f"{V3}/batchGetInfos", "read", "trace", ("trace_ids",), "each"),
    Route("POST", f"{V3}/search", "read", "experiment", policy="narrow", special="locations"),
    Route("POST", f"{V3}/metrics", "read", "experiment", policy="narrow"),
    Route("POST", f"{V3}/calculate-filter-correlation", "read", "experiment", policy="narrow"),
    Route("POST", f"{ONE}/assessments", "log", "trace", TRACE),
    Route("GET", f"{ONE}/assessments/{{assessment_id}}", "read", "trace", TRACE),
    Route("PATCH", f"{ONE}/assessments/{{assessment_id}}", "log", "trace", TRACE),
    Route("DELETE", f"{ONE}/assessments/{{assessment_id}}", "log", "trace", TRACE),
    Route("GET", "/api/2.0/mlflow/get-trace-artifact", "read", "trace", ("request_id=trace_id",), served="ajax"),
    Route("GET", "/api/3.0/mlflow/get-trace-artifact", "read", "trace", ("request_id=trace_id",), served="ajax"),
    Route("POST", "/v1/traces", "log", "experiment", EXPERIMENT, special="spans", served="plain"),
)

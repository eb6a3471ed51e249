"""Every address of the installed MLflow server that is not admitted, and why: a status, a sentence, and the addresses."""

import re

# What is between braces stands for any one part of a path; at the end of a line for the rest of it.
NAMED: dict[str, tuple[int, str, str]] = {
    "assistant": (
        403,
        "MLflow's assistant can run tools on the server and is not open through Gatehouse.",
        """
        GET,PUT /api/3.0/mlflow/assistant/config
        POST /api/3.0/mlflow/assistant/message
        GET /api/3.0/mlflow/assistant/providers
        GET /api/3.0/mlflow/assistant/providers/{}/health
        GET /api/3.0/mlflow/assistant/providers/{}/models
        PATCH /api/3.0/mlflow/assistant/sessions/{}
        POST /api/3.0/mlflow/assistant/sessions/{}/permission
        GET /api/3.0/mlflow/assistant/sessions/{}/stream
        POST /api/3.0/mlflow/assistant/sessions/{}/tool-result
        POST /api/3.0/mlflow/assistant/skills/install
        """,
    ),
    "gateway": (
        403,
        "MLflow's own model gateway and its secrets are not open through Gatehouse. Deploy the model to an endpoint of the portal.",
        """
        GET,POST /api/2.0/mlflow/gateway-proxy
        POST /api/2.0/mlflow/runs/create-promptlab-run
        POST /api/3.0/mlflow/gateway/budgets/create
        DELETE /api/3.0/mlflow/gateway/budgets/delete
        GET /api/3.0/mlflow/gateway/budgets/get
        GET /api/3.0/mlflow/gateway/budgets/list
        POST /api/3.0/mlflow/gateway/budgets/update
        GET /api/3.0/mlflow/gateway/budgets/windows
        POST /api/3.0/mlflow/gateway/endpoints/bindings/create
        DELETE /api/3.0/mlflow/gateway/endpoints/bindings/delete
        GET /api/3.0/mlflow/gateway/endpoints/bindings/list
        POST /api/3.0/mlflow/gateway/endpoints/create
        DELETE /api/3.0/mlflow/gateway/endpoints/delete
        DELETE /api/3.0/mlflow/gateway/endpoints/delete-tag
        GET /api/3.0/mlflow/gateway/endpoints/get
        GET /api/3.0/mlflow/gateway/endpoints/list
        POST /api/3.0/mlflow/gateway/endpoints/models/attach
        POST /api/3.0/mlflow/gateway/endpoints/models/detach
        POST /api/3.0/mlflow/gateway/endpoints/set-tag
        POST /api/3.0/mlflow/gateway/endpoints/update
        POST /api/3.0/mlflow/gateway/guardrails/add-to-endpoint
        POST /api/3.0/mlflow/gateway/guardrails/create
        DELETE /api/3.0/mlflow/gateway/guardrails/delete
        GET /api/3.0/mlflow/gateway/guardrails/get
        GET /api/3.0/mlflow/gateway/guardrails/list
        GET /api/3.0/mlflow/gateway/guardrails/list-for-endpoint
        DELETE /api/3.0/mlflow/gateway/guardrails/remove-from-endpoint
        PATCH /api/3.0/mlflow/gateway/guardrails/update-config
        POST /api/3.0/mlflow/gateway/model-definitions/create
        DELETE /api/3.0/mlflow/gateway/model-definitions/delete
        GET /api/3.0/mlflow/gateway/model-definitions/get
        GET /api/3.0/mlflow/gateway/model-definitions/list
        POST /api/3.0/mlflow/gateway/model-definitions/update
        GET /api/3.0/mlflow/gateway/provider-config
        GET /api/3.0/mlflow/gateway/secrets/config
        POST /api/3.0/mlflow/gateway/secrets/create
        DELETE /api/3.0/mlflow/gateway/secrets/delete
        GET /api/3.0/mlflow/gateway/secrets/get
        GET /api/3.0/mlflow/gateway/secrets/list
        POST /api/3.0/mlflow/gateway/secrets/update
        GET /api/3.0/mlflow/gateway/supported-models
        GET /api/3.0/mlflow/gateway/supported-providers
        POST /gateway/anthropic/v1/messages
        POST /gateway/gemini/v1beta/models/{}:generateContent
        POST /gateway/gemini/v1beta/models/{}:streamGenerateContent
        POST /gateway/mlflow/v1/chat/completions
        GET /gateway/mlflow/v1/models
        POST /gateway/openai/v1/chat/completions
        POST /gateway/openai/v1/embeddings
        POST /gateway/openai/v1/responses
        POST /gateway/openai/v1/responses/compact
        POST /gateway/proxy/{}/{}
        POST /gateway/typesafe/v1/systemone
        POST /gateway/{}/mlflow/invocations
        """,
    ),
    "jobs": (
        403,
        "Work that MLflow would run on its server (jobs, scoring, evaluation, prompt optimisation) is not open through Gatehouse. Run it in your own process and log the result.",
        """
        POST /api/3.0/jobs/
        PATCH /api/3.0/jobs/cancel/{}
        POST /api/3.0/jobs/search
        GET /api/3.0/jobs/{}
        POST /api/3.0/mlflow/genai/evaluate/invoke
        POST /api/3.0/mlflow/issues/invoke
        PATCH /api/3.0/mlflow/jobs/cancel/{}
        GET /api/3.0/mlflow/jobs/{}
        POST /api/3.0/mlflow/prompt-optimization/jobs
        GET,POST /api/3.0/mlflow/prompt-optimization/jobs/search
        DELETE,GET /api/3.0/mlflow/prompt-optimization/jobs/{}
        POST /api/3.0/mlflow/prompt-optimization/jobs/{}/cancel
        POST /api/3.0/mlflow/scorer/invoke
        """,
    ),
    "webhooks": (
        403,
        "Webhooks of MLflow are not open through Gatehouse: they would tell others what those may not see. The portal has signed webhooks of its own.",
        """
        GET,POST /api/2.0/mlflow/webhooks
        DELETE,GET,PATCH /api/2.0/mlflow/webhooks/{}
        POST /api/2.0/mlflow/webhooks/{}/test
        """,
    ),
    "workspaces": (
        403,
        "Workspaces are not in use here: use cases and grants decide who sees what. Leave the workspace out.",
        """
        GET,POST /api/3.0/mlflow/workspaces
        DELETE,GET,PATCH /api/3.0/mlflow/workspaces/{}
        """,
    ),
    "mcp": (
        403,
        "The registry of MCP servers is not open through Gatehouse. Models, versions, prompts, runs and traces are.",
        """
        GET,POST /api/3.0/mlflow/mcp-servers
        GET /api/3.0/mlflow/mcp-servers/endpoints
        DELETE,GET,PATCH /api/3.0/mlflow/mcp-servers/{}
        POST /api/3.0/mlflow/mcp-servers/{}/aliases
        DELETE,GET /api/3.0/mlflow/mcp-servers/{}/aliases/{}
        GET,POST /api/3.0/mlflow/mcp-servers/{}/endpoints
        DELETE,GET,PATCH /api/3.0/mlflow/mcp-servers/{}/endpoints/{}
        POST /api/3.0/mlflow/mcp-servers/{}/tags
        DELETE /api/3.0/mlflow/mcp-servers/{}/tags/{}
        GET,POST /api/3.0/mlflow/mcp-servers/{}/versions
        DELETE,GET,PATCH /api/3.0/mlflow/mcp-servers/{}/versions/{}
        POST /api/3.0/mlflow/mcp-servers/{}/versions/{}/tags
        DELETE /api/3.0/mlflow/mcp-servers/{}/versions/{}/tags/{}
        """,
    ),
    "online": (
        403,
        "Scoring that MLflow would run on its server by itself is not open through Gatehouse. Run the scorer in your own process.",
        """
        PUT /api/3.0/mlflow/scorers/online-config
        """,
    ),
    "demo": (
        403,
        "MLflow's demonstration data is not for a governed registry.",
        """
        POST /api/3.0/mlflow/demo/delete
        POST /api/3.0/mlflow/demo/generate
        """,
    ),
    "presigned": (
        501,
        "There are no presigned addresses here: files go through the portal, where they are governed. Upload and download them as usual.",
        """
        GET /api/2.0/mlflow-artifacts/presigned/{}
        POST /api/2.0/mlflow/artifacts/presigned-download-url
        POST /api/2.0/mlflow/artifacts/presigned-upload-url
        """,
    ),
    "multipart": (
        501,
        # The client goes on with a plain upload when the sentence begins with MLflow's own words.
        "Multipart upload is not supported for the current artifact repository. Send the file in one request, which may be of any size.",
        """
        POST /api/2.0/mlflow-artifacts/mpu/abort/{}
        POST /api/2.0/mlflow-artifacts/mpu/complete/{}
        POST /api/2.0/mlflow-artifacts/mpu/create/{}
        """,
    ),
    "upload": (
        403,
        "Files are uploaded through the artifact store's own address. Log the artifact with mlflow's client.",
        """
        POST /api/2.0/mlflow/upload-artifact
        """,
    ),
    "telemetry": (
        403,
        "Nothing about the use of MLflow's pages is collected here.",
        """
        POST /api/3.0/mlflow/ui-telemetry
        """,
    ),
    "gone": (
        404,
        "MLflow serves nothing at this address.",
        """
        GET /api/2.0/mlflow/get-online-trace-details
        GET /api/2.0/mlflow/unified-traces
        POST /api/2.0mlflow/experiments/search-datasets
        GET /build/{}
        """,
    ),
    "graphql": (
        403,
        "GraphQL is not open through Gatehouse. The REST addresses of MLflow are.",
        """
        GET /graphql
        """,
    ),
}
DEFAULT = (403, "This address of MLflow is not open through Gatehouse. Tracking, the model registry and artifacts are.")
METHODS = (405, "Only GET, POST, PUT, PATCH and DELETE are understood here, each where MLflow's client uses it.")


def lines(name: str) -> list[tuple[str, str]]:
    """(method, path) of every address under this name."""
    rows = (line.split(None, 1) for line in NAMED[name][2].split("\n") if line.strip())
    return [(method, path.strip()) for methods, path in rows for method in methods.split(",")]


def _pattern(path: str) -> re.Pattern[str]:
    inner, whole = (re.escape(p) for p in ("{}", path))
    ends = whole.endswith(inner)
    return re.compile((whole[: -len(inner)] if ends else whole).replace(inner, "[^/]+") + (".+" if ends else ""), re.DOTALL)


# Names of MCP servers may hold slashes, so that their addresses have any number of parts.
BELOW = {"/api/3.0/mlflow/mcp-servers/": "mcp"}
EXACT = {(method, path): name for name in NAMED for method, path in lines(name) if "{}" not in path}
_PATTERNS = [(method, _pattern(path), name) for name in NAMED for method, path in lines(name) if "{}" in path]


def name_of(method: str, path: str) -> str:
    """The name under which a path (written with `/api`) is refused, or "" when it is not on the list."""
    if found := EXACT.get((method, path)):
        return found
    found = next((name for m, pattern, name in _PATTERNS if m == method and pattern.fullmatch(path)), "")
    return found or next((name for start, name in BELOW.items() if path.startswith(start)), "")


def why(method: str, path: str) -> tuple[int, str]:
    """Status and sentence for a path that is not admitted."""
    if method not in {"GET", "POST", "PUT", "PATCH", "DELETE"}:
        return METHODS
    if name := name_of(method, path):
        return NAMED[name][:2]
    return DEFAULT

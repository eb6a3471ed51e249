"""What mlflow's client offers and the scripts beside this file do not call, with the reason."""

WEBHOOKS = "Webhooks of MLflow are not open through Gatehouse"
WORKSPACES = "Workspaces"
MCP = "The registry of MCP servers is not open through Gatehouse"
# MlflowClient: refused by name; the client's exception holds these words.
REFUSED = {
    **dict.fromkeys(("create_webhook", "get_webhook", "list_webhooks", "update_webhook", "delete_webhook", "test_webhook"), WEBHOOKS),
    **dict.fromkeys(("create_workspace", "get_workspace", "list_workspaces", "update_workspace", "delete_workspace"), WORKSPACES),
    **dict.fromkeys(
        (
            "create_mcp_server", "get_mcp_server", "search_mcp_servers", "update_mcp_server", "delete_mcp_server", "set_mcp_server_tag",
            "delete_mcp_server_tag", "set_mcp_server_alias", "delete_mcp_server_alias", "create_mcp_server_version", "get_mcp_server_version",
            "get_mcp_server_version_by_alias", "get_latest_mcp_server_version", "search_mcp_server_versions", "update_mcp_server_version",
            "delete_mcp_server_version", "set_mcp_server_version_tag", "delete_mcp_server_version_tag", "refresh_mcp_server_version_tools",
            "create_mcp_access_endpoint", "get_mcp_access_endpoint", "search_mcp_access_endpoints", "update_mcp_access_endpoint",
            "delete_mcp_access_endpoint",
        ),
        MCP,
    ),
}  # fmt: skip
# MlflowClient: nothing that any server of ours could answer.
ELSEWHERE = {
    "search_prompt_versions": "only Databricks has it; the open-source client refuses by itself",
    "unlink_traces_from_run": "only Databricks has it; the open-source client refuses by itself",
    "detach_prompt_from_run": "two of the calls above: load_prompt and a tag of the version",
}
LOCAL = "asks no server"
CLIENTS = "loops over methods of MlflowClient that are tested"
# mlflow.x, where MlflowClient has no method of that name.
FLUENT = {
    **dict.fromkeys(
        (
            "active_run", "autolog", "clear_active_model", "disable_system_metrics_logging", "doctor", "enable_system_metrics_logging",
            "flush_artifact_async_logging", "flush_async_logging", "get_active_model_id", "get_active_trace_id", "get_artifact_uri",
            "get_current_active_span", "get_last_active_trace_id", "get_registry_uri", "get_tracking_uri", "is_tracking_uri_set",
            "last_active_run", "login", "maybe_hint_tracing_skill", "set_active_model", "set_registry_uri", "set_system_metrics_node_id",
            "set_system_metrics_samples_before_logging", "set_system_metrics_sampling_interval", "set_telemetry_client", "set_tracking_uri",
            "update_current_trace", "validate_evaluation_results",
        ),
        LOCAL,
    ),
    **dict.fromkeys(("context", "test"), "a module's namespace or a decorator that asks no server"),
    **dict.fromkeys(("set_workspace", "get_workspace"), "a header that the endpoint does not pass on; workspaces are refused"),
    **dict.fromkeys(
        ("add_trace", "log_trace", "start_span_no_context", "trace", "end_run", "run", "import_checkpoints", "search_sessions"), CLIENTS
    ),
}  # fmt: skip
# mlflow.genai.x
GENAI = {
    **dict.fromkeys(
        (
            "Agent", "ConversationSimulator", "EvaluationDatasetVersion", "LabelingSession", "ReviewApp", "Scorer", "ScorerScheduleConfig",
            "datasets", "disable_git_model_versioning", "enable_git_model_versioning", "judges", "make_judge", "make_scorer_ensemble", "scorer", "scorers",
            "test_agent", "to_predict_fn",
        ),
        LOCAL,
    ),
    **dict.fromkeys(
        ("create_labeling_session", "delete_labeling_session", "get_labeling_session", "get_labeling_sessions", "get_review_app"),
        "only Databricks has it",
    ),
    **dict.fromkeys(("register_mcp_server", "register_mcp_server_from_url"), MCP),
    **dict.fromkeys(
        (
            "delete_prompt_model_config", "set_prompt_model_config", "get_prompt_tags", "evaluate",
        ),
        CLIENTS,
    ),
    **dict.fromkeys(("optimize_prompt", "optimize_prompts"), "runs here and registers prompts by tested methods; jobs on the server are refused"),
}  # fmt: skip

"""Calls everything of mlflow's client that the endpoint refuses by name; prints {method: what the client says} as JSON."""

import json

import mlflow
from mlflow import MlflowClient

client = MlflowClient()
SERVER_JSON = {"name": "io.example/tool", "version": "1.0.0", "description": "words"}
CALLS = {
    "create_webhook": lambda: client.create_webhook("w", "https://example.org/", ["registered_model.created"]),
    "get_webhook": lambda: client.get_webhook("w"),
    "list_webhooks": lambda: client.list_webhooks(),
    "update_webhook": lambda: client.update_webhook("w", name="v"),
    "delete_webhook": lambda: client.delete_webhook("w"),
    "test_webhook": lambda: client.test_webhook("w"),
    "create_workspace": lambda: client.create_workspace("team"),
    "get_workspace": lambda: client.get_workspace("team"),
    "list_workspaces": lambda: client.list_workspaces(),
    "update_workspace": lambda: client.update_workspace("team", description="words"),
    "delete_workspace": lambda: client.delete_workspace("team"),
    "create_mcp_server": lambda: client.create_mcp_server("io.example/tool"),
    "get_mcp_server": lambda: client.get_mcp_server("io.example/tool"),
    "search_mcp_servers": lambda: client.search_mcp_servers(),
    "update_mcp_server": lambda: client.update_mcp_server("io.example/tool", description="words"),
    "delete_mcp_server": lambda: client.delete_mcp_server("io.example/tool"),
    "set_mcp_server_tag": lambda: client.set_mcp_server_tag("io.example/tool", "k", "v"),
    "delete_mcp_server_tag": lambda: client.delete_mcp_server_tag("io.example/tool", "k"),
    "set_mcp_server_alias": lambda: client.set_mcp_server_alias("io.example/tool", "live", "1.0.0"),
    "delete_mcp_server_alias": lambda: client.delete_mcp_server_alias("io.example/tool", "live"),
    "create_mcp_server_version": lambda: client.create_mcp_server_version(SERVER_JSON),
    "get_mcp_server_version": lambda: client.get_mcp_server_version("io.example/tool", "1.0.0"),
    "get_mcp_server_version_by_alias": lambda: client.get_mcp_server_version_by_alias("io.example/tool", "live"),
    "get_latest_mcp_server_version": lambda: client.get_latest_mcp_server_version("io.example/tool"),
    "search_mcp_server_versions": lambda: client.search_mcp_server_versions("io.example/tool"),
    "update_mcp_server_version": lambda: client.update_mcp_server_version("io.example/tool", "1.0.0", status="deprecated"),
    "delete_mcp_server_version": lambda: client.delete_mcp_server_version("io.example/tool", "1.0.0"),
    "set_mcp_server_version_tag": lambda: client.set_mcp_server_version_tag("io.example/tool", "1.0.0", "k", "v"),
    "delete_mcp_server_version_tag": lambda: client.delete_mcp_server_version_tag("io.example/tool", "1.0.0", "k"),
    "refresh_mcp_server_version_tools": lambda: client.refresh_mcp_server_version_tools("io.example/tool", "1.0.0"),
    "create_mcp_access_endpoint": lambda: client.create_mcp_access_endpoint(
        "io.example/tool", "https://example.org/", server_version="1.0.0"
    ),
    "get_mcp_access_endpoint": lambda: client.get_mcp_access_endpoint("io.example/tool", 1),
    "search_mcp_access_endpoints": lambda: client.search_mcp_access_endpoints("io.example/tool"),
    "update_mcp_access_endpoint": lambda: client.update_mcp_access_endpoint("io.example/tool", 1, url="https://example.org/"),
    "delete_mcp_access_endpoint": lambda: client.delete_mcp_access_endpoint("io.example/tool", 1),
}


def said(call):
    """What the client's exception says, or what came back."""
    try:
        return f"answered: {call()!r}"
    except mlflow.MlflowException as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    print(json.dumps({name: said(call) for name, call in CALLS.items()}))

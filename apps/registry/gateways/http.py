"""The one HTTP client towards MLflow. Plain REST: MLflow's own client is heavy and would talk to more than we allow."""

import os
from typing import Any

import httpx
from django.conf import settings

from apps.core.errors import NotFound, UpstreamFailed

CONNECT_S, READ_S = 5.0, 120.0
# Below the server's own keep-alive (5 s), so that a request never meets a connection that is just being closed.
KEEP_S = 2.0

_clients: dict[tuple[int, str], httpx.Client] = {}


def client() -> httpx.Client:
    """The process's client; it never follows redirects and takes no proxy from the environment."""
    key = (os.getpid(), settings.MLFLOW_URL)
    if key not in _clients:
        _clients[key] = httpx.Client(
            base_url=settings.MLFLOW_URL,
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S, pool=30),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=KEEP_S),
            headers={"Accept-Encoding": "identity", "User-Agent": "gatehouse"},
            follow_redirects=False,
            trust_env=False,
        )
    return _clients[key]


def ourselves() -> dict[str, str]:
    """What a call of our own shows: MLflow takes callers without the first for local ones and offers them more."""
    shown = {"Authorization": f"Bearer {settings.MLFLOW_TOKEN}"} if settings.MLFLOW_TOKEN else {}
    return {"X-Forwarded-For": "127.0.0.1"} | shown


def call(method: str, path: str, *, params: Any = None, json: Any = None) -> dict[str, Any]:
    """One JSON call of our own. NotFound when MLflow knows no such thing; UpstreamFailed otherwise, in words."""
    response = _asked(method, path, params=params, json=json)
    body: Any = None
    try:
        body = response.json()
    except ValueError:
        body = {}
    if response.status_code == 404:
        raise NotFound(f"MLflow has no such thing: {str(body.get('message', ''))[:300]}")
    if response.status_code != 200 or not isinstance(body, dict):
        said = str(body.get("message", ""))[:300] if isinstance(body, dict) else ""
        raise UpstreamFailed(f"MLflow answered {response.status_code}: {said or 'without a message'}.")
    return body


def text(path: str) -> str:
    """What MLflow says in plain text at an address, "" where it has no such address; UpstreamFailed when it does not answer."""
    response = _asked("GET", path)
    return response.text.strip() if response.status_code == 200 else ""


def _asked(method: str, path: str, **more: Any) -> httpx.Response:
    try:
        return client().request(method, path, headers=ourselves(), **more)
    except httpx.HTTPError as error:
        raise UpstreamFailed(f"MLflow did not answer ({type(error).__name__}). Start it, or wait until it is back.") from error

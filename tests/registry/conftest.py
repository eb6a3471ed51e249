"""A real MLflow behind the endpoint, reached through the portal as any script would."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from django.conf import settings
from django.test import Client

MLMODEL = """\
flavors:
  python_function:
    loader_module: mlflow.sklearn
  sklearn:
    serialization_format: skops
signature:
  inputs: '[{"type": "double", "name": "age", "required": true}, {"type": "double", "name": "visits", "required": true}]'
  outputs: '[{"type": "long", "required": true}]'
"""
FILES = {
    "MLmodel": MLMODEL.encode(),
    "requirements.txt": b"scikit-learn==1.9.0\nnumpy==2.4.0\n",
    "data/weights.bin": bytes(range(256)) * 40,
}


@pytest.fixture(scope="session")
def mlflow_is_up() -> str:
    """Address of the MLflow server the tests run against."""
    answer = httpx.get(f"{settings.MLFLOW_URL}/health", timeout=10)
    assert answer.status_code == 200, "the tests need the MLflow server that GATEHOUSE_MLFLOW_URL names"
    return str(settings.MLFLOW_URL)


@dataclass
class Endpoint:
    """`/mlflow` as one person with a token uses it."""

    token: str

    def __call__(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **extra: Any) -> Any:
        """One call; the answer of Django's test client."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        kind = extra.pop("content_type", "application/json")
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return Client(headers=headers).generic(method, f"/mlflow{path}", data, content_type=kind, **extra)

    def ok(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One call that has to succeed; its JSON."""
        answer = self(method, f"/api/2.0/mlflow/{path}", body)
        assert answer.status_code == 200, text(answer)
        return json.loads(text(answer))


def text(answer: Any) -> str:
    """The body of an answer, streamed or not."""
    return (b"".join(answer.streaming_content) if answer.streaming else answer.content).decode()


@pytest.fixture
def endpoint(mlflow_is_up: str, make_user: Callable[..., Any], actor_of: Callable[..., Any]) -> Callable[..., Endpoint]:
    """endpoint("ml_engineer") or endpoint(user) -> Endpoint of a person with a token of scope mlflow."""
    from apps.accounts import services

    def make(who: Any = "ml_engineer", scopes: tuple[str, ...] = ("mlflow",)) -> Endpoint:
        user = make_user(who) if isinstance(who, str) else who
        _, secret = services.issue_token(actor=actor_of(user), user=user, name="tests", scopes=list(scopes))
        return Endpoint(secret)

    return make


@pytest.fixture
def name() -> str:
    """A model name nobody has used."""
    return f"model-{uuid.uuid4().hex[:12]}"


@dataclass
class Made:
    """A version registered through the endpoint."""

    name: str
    version: int
    run_id: str
    root: str


@pytest.fixture
def register(name: str) -> Callable[..., Made]:
    """register(endpoint, files=...) -> Made: a run with a dataset, figures and files, registered through the endpoint."""

    def make(caller: Endpoint, files: dict[str, bytes] | None = None, model: str = "") -> Made:
        experiments = caller("GET", f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={model or name}")
        if experiments.status_code == 200:
            experiment = json.loads(text(experiments))["experiment"]["experiment_id"]
        else:
            experiment = caller.ok("POST", "experiments/create", {"name": model or name})["experiment_id"]
        run = caller.ok("POST", "runs/create", {"experiment_id": experiment, "run_name": "first try", "start_time": 1})["run"]
        run_id = run["info"]["run_id"]
        caller.ok(
            "POST", "runs/log-batch",
            {
                "run_id": run_id, "params": [{"key": "depth", "value": "3"}], "tags": [{"key": "team", "value": "care"}],
                "metrics": [{"key": k, "value": v, "timestamp": 1, "step": 0} for k, v in (("recall", 0.75), ("odd", "NaN"))],
            },
        )  # fmt: skip
        for context in ("training", "validation"):
            dataset = {
                "name": f"visits-{context}", "digest": f"d{context[:4]}", "source_type": "code", "source": "{}", "schema": "{}",
                "profile": '{"num_rows": 1200}',
            }  # fmt: skip
            tags = [{"key": "mlflow.data.context", "value": context}]
            caller.ok("POST", "runs/log-inputs", {"run_id": run_id, "datasets": [{"dataset": dataset, "tags": tags}]})
        root = f"{experiment}/{run_id}/artifacts/model"
        for path, data in (FILES if files is None else files).items():
            answer = caller("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{root}/{path}", raw=data, content_type="application/octet-stream")
            assert answer.status_code == 200, text(answer)
        created = caller("POST", "/api/2.0/mlflow/registered-models/create", {"name": model or name})
        assert created.status_code == 200 or "RESOURCE_ALREADY_EXISTS" in text(created), text(created)
        source = f"mlflow-artifacts:/{root}"
        made = caller.ok("POST", "model-versions/create", {"name": model or name, "source": source, "run_id": run_id})["model_version"]
        return Made(made["name"], int(made["version"]), run_id, root)

    return make


@pytest.fixture
def ready(endpoint: Callable[..., Endpoint], register: Callable[..., Made]) -> Callable[..., Any]:
    """ready() -> ModelVersion that was registered through the endpoint and read from MLflow."""
    from apps.registry import services

    def make(caller: Endpoint | None = None, **more: Any) -> Any:
        made = register(caller or endpoint(), **more)
        return services.sync_version(name=made.name, version=made.version)

    return make


@pytest.fixture
def behind_the_back(mlflow_is_up: str) -> Iterator[httpx.Client]:
    """MLflow itself, as somebody on its host reaches it: round the portal."""
    with httpx.Client(base_url=mlflow_is_up, headers={"X-Forwarded-For": "127.0.0.1"}) as direct:
        yield direct


@pytest.fixture
def mlflow_database(mlflow_is_up: str) -> Iterator[Any]:
    """execute(sql, values) in MLflow's own PostgreSQL database, as somebody with its password could; returns the number of rows."""
    base = os.environ.get("GATEHOUSE_SUPERUSER_DATABASE_URL")
    if not base:
        pytest.skip("GATEHOUSE_SUPERUSER_DATABASE_URL is not set; ./gatehouse test sets it")
    with psycopg.connect(urlsplit(base)._replace(path="/mlflow").geturl(), autocommit=True) as connection:
        yield lambda sql, *values: connection.execute(sql, values).rowcount


@pytest.fixture
def artifact_folder(mlflow_is_up: str) -> Path:
    """Where MLflow keeps its artifacts on this host."""
    folder = settings.DATA_DIR / "mlflow-artifacts"
    if not folder.is_dir():
        pytest.skip("MLflow's artifacts are not on this host")
    return folder


@pytest.fixture
def decide(system: Any) -> Callable[..., Any]:
    """decide(version, environment="production") -> a live decision that names the version's files."""
    from apps.decisions import services

    def make(row: Any, environment: str = "production") -> Any:
        return services.issue(
            actor=system, usecase_id=uuid.uuid4(), kind="deploy", stage_to="", environment=environment, model_version_id=row.id,
            model_version_label=row.label, artifact_digest=row.artifact_digest, gate_id=uuid.uuid4(), evidence_digest="sha256:" + "0" * 64,
            valid_days=30,
        )  # fmt: skip

    return make


@pytest.fixture
def events() -> Callable[..., list[Any]]:
    """events("registry.version.changed", obj="...") -> matching events, oldest first."""
    from apps.audit.models import Event

    def find(action: str, obj: str = "") -> list[Any]:
        rows = Event.objects.filter(action=action).order_by("id")
        return [e for e in rows if not obj or obj in {e.object_id, e.object_label}]

    return find

"""A use case with a decided model version, a registered host whose key the tests hold, and an agent that answers orders."""

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from celery_worker import orders

DIGESTS = {1: "sha256:" + "1" * 64, 2: "sha256:" + "2" * 64, 3: "sha256:" + "3" * 64}
NAMES = ("age", "visits")


@pytest.fixture(scope="session")
def order_key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "order.pem"
    orders.generate_private_key(path)
    return path


@pytest.fixture
def control(settings: Any, order_key_file: Path) -> Any:
    """Settings of the control process: it holds the order key."""
    settings.ORDER_KEY = str(order_key_file)
    settings.ORDER_VALIDITY_S = 300
    settings.HOST_STALE_AFTER_S = 20
    settings.SHADOW_KEEP_S = 3600
    return settings


@dataclass
class Agent:
    """A serving host as control sees it: it holds its key, and says what a test wants it to say."""

    name: str
    key: Ed25519PrivateKey
    seq: int = 0
    starts: dict[str, str] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)

    def envelope(self, kind: str, body: dict[str, Any], **changed: Any) -> dict[str, Any]:
        from apps.core.clock import now

        self.seq += 1
        payload = {
            "v": 1, "report_id": str(uuid.uuid4()), "host": self.name, "seq": self.seq, "reported_at": orders.time_to_text(now()),
            "kind": kind, "body": body,
        } | changed  # fmt: skip
        return orders.sign(payload, private_key=self.key)

    def send(self, kind: str, body: dict[str, Any], **changed: Any) -> Any:
        from apps.deployments import services

        return services.receive_report(envelope=self.envelope(kind, body, **changed))

    def heartbeat(self, **changed: Any) -> Any:
        running = [{"deployment_id": d, **s} for d, s in self.states.items()]
        body = {
            "cpu_count": 4, "memory_bytes": 8 * 2**30, "memory_available_bytes": 2**30, "load_1m": 0.5, "gpus": [], "agent_version": "1",
            "engines": ["kserve"], "deployments": running,
        }  # fmt: skip
        return self.send("heartbeat", body, **changed)

    def body(self, deployment: Any, state: str, **changed: Any) -> dict[str, Any]:
        """A report on a deployment's newest start or stop order."""
        from apps.core.clock import now
        from apps.deployments.models import WorkOrder

        order = WorkOrder.objects.filter(deployment=deployment, kind__in=["start", "stop"]).order_by("-generation").first()
        key = f"{deployment.id}/{order.generation if order else 0}"
        start = self.starts.setdefault(key, str(uuid.uuid4())) if state in {"starting", "ready"} else None
        moment = orders.time_to_text(now())
        return {
            "order_id": str(order.id) if order else None, "deployment_id": str(deployment.id),
            "generation": order.generation if order else 1, "state": state, "detail": "", "url": "http://127.0.0.1:9001" if start else None,
            "pid": 4242 if start else None, "port": 9001 if start else None, "engine_start_id": start,
            "started_at": moment if start else None, "ready_at": moment if state == "ready" else None, "timings_ms": {"start": 1.0},
        } | changed  # fmt: skip

    def report(self, deployment: Any, state: str, **changed: Any) -> Any:
        body = self.body(deployment, state, **changed)
        self.states[str(deployment.id)] = {"generation": body["generation"], "state": state, "pid": body["pid"], "port": body["port"]}
        return self.send("deployment", body)


@pytest.fixture
def engineer(make_user: Any) -> Any:
    return make_user("ml_engineer", name="Elena Engineer")


@pytest.fixture
def elena(engineer: Any, actor_of: Any) -> Any:
    return actor_of(engineer)


@pytest.fixture
def usecase(engineer: Any, elena: Any) -> Any:
    from apps.usecases import services

    made = services.create_usecase(
        actor=elena, name="Care outreach", problem="Calls reach the wrong members.", risk_tier="high", decision_supported="Whom to call.",
        output_users="Nurses", sponsor=engineer, currency="USD",
        requirements={"latency_p99_ms": 100.0, "availability_pct": 99.5, "freshness_hours": 24.0, "concurrent_users": 40, "projected_rps": 10.0},
    )  # fmt: skip
    return made


@pytest.fixture
def versions(db: Any) -> Any:
    """versions(1) -> a ready model version with digest DIGESTS[1]; `files` is its manifest."""
    from apps.registry.models import ModelVersion, RegisteredModel

    model, _ = RegisteredModel.objects.get_or_create(name="care-outreach")

    def make(number: int, files: dict[str, str] | None = None) -> Any:
        return ModelVersion.objects.get_or_create(
            model=model, version=number,
            defaults={
                "status": "ready", "artifact_digest": DIGESTS[number], "artifact_root": f"1/models/m-{number}/artifacts",
                "signature": {"inputs": [{"name": n, "type": "double"} for n in NAMES], "outputs": []},
                "artifact_manifest": {"files": files or {}},
            },
        )[0]  # fmt: skip

    return make


@pytest.fixture
def decide(system: Any, usecase: Any, versions: Any) -> Any:
    """decide(1, "pilot") -> a live decision that admits version 1 into pilot."""
    from apps.decisions import services

    def make(number: int, environment: str, valid_days: int = 30) -> Any:
        version = versions(number)
        return services.issue(
            actor=system, usecase_id=usecase.id, kind="deploy", stage_to="", environment=environment, model_version_id=version.id,
            model_version_label=version.label, artifact_digest=version.artifact_digest, gate_id=uuid.uuid4(),
            evidence_digest="sha256:" + "e" * 64, valid_days=valid_days,
        )  # fmt: skip

    return make


@pytest.fixture
def agent(system: Any, control: Any) -> Agent:
    """A registered host that has just reported."""
    from apps.deployments import services

    key = Ed25519PrivateKey.generate()
    services.register_host(actor=system, name="local", public_key=orders.public_to_text(key.public_key()))
    made = Agent("local", key)
    made.heartbeat()
    return made


@pytest.fixture
def endpoints(elena: Any, usecase: Any) -> Any:
    """endpoints("pilot") -> the use case's endpoint there."""
    from apps.deployments import services
    from apps.deployments.models import Endpoint

    def make(environment: str = "pilot") -> Any:
        found = Endpoint.objects.filter(usecase=usecase, environment=environment).first()
        return found or services.create_endpoint(actor=elena, usecase_id=usecase.id, environment=environment)

    return make


@dataclass
class Stage:
    """What the tests do again and again: deploy a version and bring it to where it answers."""

    actor: Any
    agent: Agent
    endpoints: Any
    versions: Any
    decide: Any
    system: Any

    def request(self, number: int = 1, environment: str = "pilot", **options: Any) -> Any:
        from apps.deployments import services

        if not self._decided(number, environment):
            self.decide(number, environment)
        return services.request_deployment(
            actor=self.actor, endpoint_id=self.endpoints(environment).id, model_version_id=self.versions(number).id, **options
        )

    def _decided(self, number: int, environment: str) -> bool:
        from apps.decisions import selectors

        return selectors.live_decision(artifact_digest=DIGESTS[number], environment=environment) is not None

    def reconcile(self, deployment: Any) -> Any:
        from apps.deployments import services

        step = services.reconcile(actor=self.system, deployment_id=deployment.id)
        deployment.refresh_from_db()
        return step

    def advance(self, endpoint: Any) -> Any:
        from apps.deployments import services

        return services.advance(actor=self.system, endpoint_id=endpoint.id)

    def make_ready(self, deployment: Any, port: int = 9001) -> Any:
        self.reconcile(deployment)
        self.agent.report(deployment, "starting", url=f"http://127.0.0.1:{port}")
        self.agent.report(deployment, "ready", url=f"http://127.0.0.1:{port}")
        deployment.refresh_from_db()
        return deployment

    def live(self, number: int = 1, environment: str = "pilot", **options: Any) -> Any:
        """Deploy a version and finish its rollout (all at once unless told otherwise); returns the deployment."""
        rollout = self.request(number, environment, **options)
        self.make_ready(rollout.to_deployment, port=9000 + number)
        self.advance(rollout.endpoint)
        rollout.to_deployment.refresh_from_db()
        return rollout.to_deployment

    def publish(self) -> Any:
        from apps.deployments import services

        return services.publish_routing(actor=self.system)

    def gateway_takes_up(self) -> Any:
        """Publish, and let the one gateway confirm."""
        from apps.core.actor import Actor
        from apps.deployments import services

        newest = self.publish()
        services.confirm_routing(actor=Actor.system("gateway"), version=newest.version)
        return newest


@pytest.fixture
def stage(elena: Any, agent: Agent, endpoints: Any, versions: Any, decide: Any, system: Any) -> Stage:
    return Stage(elena, agent, endpoints, versions, decide, system)


@pytest.fixture
def rate_card(system: Any) -> Any:
    from apps.kpis import services

    return services.set_rate_card(actor=system, cpu_hour=Decimal("0.048"), gpu_hour=Decimal("2.50"), memory_gib_hour=Decimal("0.006"), currency="USD")


_before: list[Any] = []


@pytest.fixture(autouse=True)
def trail_begins(request: pytest.FixtureRequest) -> None:
    """Each test reads the trail from its own beginning: what earlier tests committed cannot be taken out of it."""
    _before.clear()
    if "db" in request.fixturenames or request.node.get_closest_marker("django_db"):
        request.getfixturevalue("transactional_db" if _transactional(request) else "db")
        from apps.audit.models import Event

        _before.extend(Event.objects.order_by("-id").values_list("id", flat=True)[:1])


def _transactional(request: pytest.FixtureRequest) -> bool:
    marker = request.node.get_closest_marker("django_db")
    return bool(marker and marker.kwargs.get("transaction"))


def _events() -> Any:
    from apps.audit.models import Event

    rows = Event.objects.order_by("id")
    return rows.filter(id__gt=_before[0]) if _before else rows


def actions() -> list[str]:
    """Every action of this test so far, oldest first."""
    return list(_events().values_list("action", flat=True))


def events(action: str) -> list[dict[str, Any]]:
    """Payloads of one action in this test, oldest first."""
    return [json.loads(p) for p in _events().filter(action=action).values_list("payload", flat=True)]


def messages(topic: str) -> list[dict[str, Any]]:
    """Bodies of waiting messages of one topic."""
    from apps.outbox.models import Message

    return list(Message.objects.filter(topic=topic, sent_at=None).order_by("id").values_list("body", flat=True))


def later(seconds: float) -> datetime:
    from apps.core.clock import now

    return now() + timedelta(seconds=seconds)

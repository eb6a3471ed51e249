"""Every process of a portal: its command, the variables it gets and no others, and the order in which it stops."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatehouse_cli import keyring, postgres, services
from gatehouse_cli.paths import DataDir, venv_bin
from gatehouse_cli.roles import database_url

# Started in this order.
ORDER = ("postgres", "valkey", "mlflow", "web", "seal", "control", "relay", "schedule", "agent", "gateway")
# Stopped layer by layer: first what brings new work, then what does it, then what they write to. The sealer outlives those
# whose last events it seals.
STOP_LAYERS = (("gateway", "agent", "schedule", "relay"), ("control", "web"), ("seal", "mlflow"), ("valkey",), ("postgres",))
PORTS = ("postgres", "valkey", "mlflow", "web", "gateway")
HOST_NAME = "local"


@dataclass(frozen=True)
class External:
    """Services that somebody else runs. None: Gatehouse runs a private one."""

    database_url: str | None = None
    owner_database_url: str | None = None
    control_database_url: str | None = None
    seal_database_url: str | None = None
    redis_url: str | None = None
    mlflow_url: str | None = None
    mlflow_token: str = ""

    @classmethod
    def from_environment(cls) -> "External":
        """What DATABASE_URL, REDIS_URL, GATEHOUSE_MLFLOW_URL and their relatives name."""
        get = os.environ.get
        return cls(
            database_url=get("DATABASE_URL") or None,
            owner_database_url=get("GATEHOUSE_OWNER_DATABASE_URL") or None,
            control_database_url=get("GATEHOUSE_CONTROL_DATABASE_URL") or None,
            seal_database_url=get("GATEHOUSE_SEAL_DATABASE_URL") or None,
            redis_url=get("REDIS_URL") or None,
            mlflow_url=get("GATEHOUSE_MLFLOW_URL") or None,
            mlflow_token=get("GATEHOUSE_MLFLOW_TOKEN") or "",
        )


@dataclass(frozen=True)
class Program:
    """One supervised process."""

    name: str
    command: list[str]
    environment: dict[str, str]
    stop_signal: str = "TERM"
    stop_wait_s: int = 10


@dataclass
class Layout:
    """Everything the commands and variables are computed from."""

    data: DataDir
    env: dict[str, Any]
    external: External = field(default_factory=External)
    demo: bool = False
    durable: bool = True
    extra_environment: dict[str, str] = field(default_factory=dict)
    # GATEHOUSE_BASE_URL, GATEHOUSE_GATEWAY_URL, GATEHOUSE_ALLOWED_HOSTS of a portal that stands behind a proxy.
    addresses: dict[str, str] = field(default_factory=dict)

    def port(self, name: str) -> int:
        """Port of a private service."""
        return int(self.env["ports"][name])

    @property
    def base_url(self) -> str:
        """The portal's address for people and other processes."""
        return self.addresses.get("GATEHOUSE_BASE_URL") or f"http://{services.LOOPBACK}:{self.port('web')}"

    @property
    def gateway_url(self) -> str:
        """The inference gateway's address."""
        return self.addresses.get("GATEHOUSE_GATEWAY_URL") or f"http://{services.LOOPBACK}:{self.port('gateway')}"

    @property
    def redis_url(self) -> str:
        """Broker, cache and limits."""
        return self.external.redis_url or f"redis://:{self.env['valkey_password']}@{services.LOOPBACK}:{self.port('valkey')}/0"

    @property
    def mlflow_url(self) -> str:
        """MLflow's own address, for the portal only."""
        return self.external.mlflow_url or f"http://{services.LOOPBACK}:{self.port('mlflow')}"

    @property
    def mlflow_token(self) -> str:
        """What the portal shows MLflow, without which a private one answers nobody. Empty: nothing is shown."""
        if self.external.mlflow_url:
            return self.external.mlflow_token
        return self.extra_environment.get("GATEHOUSE_MLFLOW_TOKEN", self.env["mlflow_token"])

    def database(self, role: str, database: str = "gatehouse") -> str:
        """URL of a database as one of the roles (`postgres`, `gatehouse_owner`, `gatehouse_web`, ...)."""
        external = self.external
        if external.database_url:
            named = {
                "gatehouse_owner": external.owner_database_url,
                "gatehouse_control": external.control_database_url,
                "gatehouse_seal": external.seal_database_url,
            }
            return named.get(role) or external.database_url
        return database_url(role, self.env["passwords"][role], services.LOOPBACK, self.port("postgres"), database)


def portal_environment(layout: Layout, process: str, role: str) -> dict[str, str]:
    """Variables of a Django process. The order key goes to control alone, the sealing key to seal alone."""
    data = layout.data
    variables = {
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "DATABASE_URL": layout.database(role),
        "REDIS_URL": layout.redis_url,
        "GATEHOUSE_MLFLOW_URL": layout.mlflow_url,
        "GATEHOUSE_MLFLOW_TOKEN": layout.mlflow_token,
        "GATEHOUSE_BASE_URL": layout.base_url,
        "GATEHOUSE_GATEWAY_URL": layout.gateway_url,
        "GATEHOUSE_DATA": str(data.root),
        "GATEHOUSE_SECRET_KEY": layout.env["secret_key"],
        "GATEHOUSE_ALLOWED_HOSTS": layout.addresses.get("GATEHOUSE_ALLOWED_HOSTS") or "127.0.0.1,localhost",
        "GATEHOUSE_DEBUG": "0",
        "GATEHOUSE_DEMO": "1" if layout.demo else "0",
        "GATEHOUSE_PROCESS": process,
        "GATEHOUSE_ORDER_PUBLIC_KEYS": str(keyring.public_keys_path(data, "order")),
        "GATEHOUSE_SEAL_PUBLIC_KEY": str(keyring.public_keys_path(data, "seal")),
        "GATEHOUSE_WITNESS_DIR": str(data.root / "witness"),
        "GATEHOUSE_CAPTURE_DIR": str(data.root / "captures"),
        **tuning(),
        **layout.extra_environment,
    }
    if process in {"control", "relay", "schedule", "manage"}:
        variables["GATEHOUSE_ORDER_KEY"] = str(keyring.private_key_path(data, "order"))
    if process == "control":
        variables |= {key: value for key, value in os.environ.items() if key.startswith(("GATEHOUSE_EMAIL_", "GATEHOUSE_WEBHOOKS_"))}
    if process == "seal":
        variables["GATEHOUSE_SEAL_KEY"] = str(keyring.private_key_path(data, "seal"))
    return variables


def tuning() -> dict[str, str]:
    """Durations and log levels the person set (GATEHOUSE_ROLLOUT_BAKE_S, ...): passed on, being no secrets."""
    return {
        key: value
        for key, value in os.environ.items()
        if key.startswith("GATEHOUSE_") and (key.endswith(("_S", "_SECONDS")) or key == "GATEHOUSE_LOG_LEVEL")
    }


def agent_environment(layout: Layout) -> dict[str, str]:
    """What a serving host knows: the broker, the portal's address, whom to believe. No database, no portal secret."""
    data = layout.data
    return {
        "REDIS_URL": layout.redis_url,
        "GATEHOUSE_BASE_URL": layout.base_url,
        "GATEHOUSE_AGENT_NAME": HOST_NAME,
        "GATEHOUSE_AGENT_STATE": str(data.root / "agents" / HOST_NAME),
        "GATEHOUSE_AGENT_KEY": str(keyring.private_key_path(data, "agent")),
        "GATEHOUSE_ORDER_PUBLIC_KEYS": str(keyring.public_keys_path(data, "order")),
        "GATEHOUSE_ENGINE_PYTHON_KSERVE": str(venv_bin(".venv-kserve", "python")),
        "GATEHOUSE_PROCESS": "agent",
        **tuning(),
        **layout.extra_environment,
    }


def gateway_environment(layout: Layout, token: str) -> dict[str, str]:
    """What the data plane knows: the broker for limits, where routes come from and whose signature they bear."""
    data = layout.data
    return {
        "REDIS_URL": layout.redis_url,
        "GATEHOUSE_BASE_URL": layout.base_url,
        "GATEHOUSE_GATEWAY_URL": layout.gateway_url,
        "GATEHOUSE_GATEWAY_BIND": f"{services.LOOPBACK}:{layout.port('gateway')}",
        "GATEHOUSE_GATEWAY_TOKEN": token,
        "GATEHOUSE_GATEWAY_STATE": str(data.root / "gateway"),
        "GATEHOUSE_ORDER_PUBLIC_KEYS": str(keyring.public_keys_path(data, "order")),
        "GATEHOUSE_CAPTURE_DIR": str(data.root / "captures"),
        "GATEHOUSE_PROCESS": "gateway",
        **tuning(),
        **layout.extra_environment,
    }


def programs(layout: Layout, *, gateway_token: str = "") -> list[Program]:
    """The processes to supervise, in starting order. External services have none."""
    data, python = layout.data, str(venv_bin(".venv", "python"))
    celery = str(venv_bin(".venv", "celery"))
    made: list[Program] = []
    if not layout.external.database_url:
        cluster, bin_dir = Path(layout.env["postgres_cluster"]), Path(layout.env["postgres_bin"])
        command = postgres.command(cluster, bin_dir, layout.port("postgres"), durable=layout.durable)
        # INT is PostgreSQL's fast shutdown: ends sessions, writes a checkpoint.
        made.append(Program("postgres", command, {}, stop_signal="INT", stop_wait_s=30))
    if not layout.external.redis_url:
        program = Path(layout.env["valkey_program"])
        command = services.valkey_command(data, layout.port("valkey"), layout.env["valkey_password"], program)
        made.append(Program("valkey", command, {}))
    if not layout.external.mlflow_url:
        port = layout.port("mlflow")
        variables = services.mlflow_environment(data, layout.database("gatehouse_mlflow", "mlflow"), port, layout.mlflow_token)
        command = [python, "-m", "gatehouse_cli.mlflow_server", str(port)]
        made.append(Program("mlflow", command, variables))

    def portal(name: str, role: str, *command: str, wait_s: int = 10) -> None:
        made.append(Program(name, list(command), portal_environment(layout, name, role), stop_wait_s=wait_s))

    quiet_celery = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    portal(
        *("web", "gatehouse_web", str(venv_bin(".venv", "gunicorn")), "portal.wsgi:application", "-k", "gthread"),
        *("--workers", "2", "--threads", "16", "--preload", "--bind", f"{services.LOOPBACK}:{layout.port('web')}"),
        # mlflow's client names a hundred runs in one address: 4,094 bytes are too few, and more than this gunicorn does not bound.
        *("--limit-request-line", "8190", "--logger-class", "portal.gunicorn_logs.JsonLogger"),
        *("--graceful-timeout", "5", "--timeout", "120", "--worker-tmp-dir", "/dev/shm", "--no-control-socket"),  # noqa: S108
    )
    portal("seal", "gatehouse_seal", python, "manage.py", "seal_trail")
    portal(
        *("control", "gatehouse_control", celery, "-A", "celery_worker.control.app", "--quiet", "worker", "-Q", "control"),
        *("-c", "2", "-n", "control@%h", "--loglevel", "INFO", *quiet_celery),
        wait_s=15,
    )
    portal("relay", "gatehouse_control", python, "-m", "celery_worker.control.relay")
    portal(
        *("schedule", "gatehouse_control", celery, "-A", "celery_worker.control.app", "--quiet", "beat", "--pidfile="),
        *("--schedule", str(data.run / "schedule"), "--loglevel", "WARNING"),
    )
    made.append(
        Program(
            "agent",
            [
                *(str(venv_bin(".venv-agent", "celery")), "-A", "celery_worker.agent.app", "--quiet", "worker"),
                *("-Q", f"agent.{HOST_NAME}", "-P", "threads", "-c", "4", "-n", f"agent@{HOST_NAME}"),
                *("--loglevel", "INFO", *quiet_celery),
            ],
            agent_environment(layout),
            stop_wait_s=15,
        )
    )
    made.append(
        Program("gateway", [str(venv_bin(".venv-gateway", "python")), "-m", "gateway"], gateway_environment(layout, gateway_token))
    )
    return made

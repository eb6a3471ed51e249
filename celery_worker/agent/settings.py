"""What the agent is told by its environment; read once, checked at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from celery_worker import orders
from celery_worker.keys import accepted_until

_HOST_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


class SettingsError(Exception):
    """The environment is incomplete or wrong; the message names the variable and the remedy."""


@dataclass(frozen=True)
class AgentSettings:
    """`key_path`: the private key that signs its reports. `engine_pythons` maps an engine kind to the interpreter of its own environment."""

    host: str
    state_dir: Path
    key_path: Path
    order_keys: Mapping[str, Ed25519PublicKey] = field(repr=False)
    engine_pythons: Mapping[str, Path]
    ready_timeout_s: float = 180.0
    allow_http: bool = False
    max_artifact_bytes: int = 20 * 1024**3
    order_keys_until: Mapping[str, datetime] = field(default_factory=dict)


def from_environment(environment: Mapping[str, str] | None = None) -> AgentSettings:
    """Read `GATEHOUSE_AGENT_*`, `GATEHOUSE_ORDER_PUBLIC_KEYS`, `GATEHOUSE_ENGINE_PYTHON_*`. Raises SettingsError."""
    values = os.environ if environment is None else environment

    def need(name: str) -> str:
        value = values.get(name, "")
        if not value:
            raise SettingsError(f"{name} is not set; the agent cannot start without it.")
        return value

    host = need("GATEHOUSE_AGENT_NAME")
    if not _HOST_NAME.fullmatch(host):
        raise SettingsError("GATEHOUSE_AGENT_NAME may hold a-z, 0-9, '.', '-' and '_', at most 63 of them.")
    try:
        key_path = Path(need("GATEHOUSE_AGENT_KEY")).absolute()
        orders.load_private_key(key_path)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"GATEHOUSE_AGENT_KEY: the agent's private key cannot be read ({error}).") from error
    try:
        order_keys = orders.load_public_keys(need("GATEHOUSE_ORDER_PUBLIC_KEYS"), purpose="order")
        order_keys_until = accepted_until(need("GATEHOUSE_ORDER_PUBLIC_KEYS"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"GATEHOUSE_ORDER_PUBLIC_KEYS cannot be read ({error}).") from error
    if not order_keys:
        raise SettingsError("GATEHOUSE_ORDER_PUBLIC_KEYS holds no key of purpose 'order'; no order could be verified.")
    prefix = "GATEHOUSE_ENGINE_PYTHON_"
    pythons = {name.removeprefix(prefix).lower(): Path(value) for name, value in values.items() if name.startswith(prefix) and value}
    return AgentSettings(
        host=host,
        state_dir=Path(need("GATEHOUSE_AGENT_STATE")).absolute(),
        key_path=key_path,
        order_keys=order_keys,
        order_keys_until=order_keys_until,
        engine_pythons=pythons,
        ready_timeout_s=float(values.get("GATEHOUSE_ENGINE_READY_TIMEOUT_S") or 180.0),
        allow_http=values.get("GATEHOUSE_AGENT_ALLOW_HTTP") == "1",
        max_artifact_bytes=int(values.get("GATEHOUSE_AGENT_MAX_ARTIFACT_BYTES") or 20 * 1024**3),
    )

"""What the gateway is told by its environment, checked once at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


class ConfigurationError(Exception):
    """A variable is missing or wrong; the text names it and says what to set."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The gateway's settings. Times are seconds, sizes are bytes."""

    bind_host: str
    bind_port: int
    base_url: str
    token: str = field(repr=False)
    public_keys_path: Path
    state_dir: Path
    capture_dir: Path
    redis_url: str | None = field(default=None, repr=False)
    max_body_bytes: int = 2 * 1024 * 1024
    max_rows: int = 10_000
    max_in_flight: int = 256
    head_timeout_s: float = 10.0
    body_timeout_s: float = 10.0
    engine_timeout_s: float = 10.0
    engine_connect_timeout_s: float = 1.0
    spool_max_rows: int = 5_000
    spool_max_age_s: float = 1.5
    snapshot_stale_after_s: float = 120.0
    shutdown_timeout_s: float = 15.0

    @property
    def spool_dir(self) -> Path:
        """Where answered predictions wait, as JSON lines, to become Parquet."""
        return self.state_dir / "spool"

    @property
    def snapshot_path(self) -> Path:
        """The last accepted routing snapshot, still signed."""
        return self.state_dir / "routing.json"

    @property
    def lock_path(self) -> Path:
        """Held while a gateway uses this state folder."""
        return self.state_dir / "lock"


def from_environment(env: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `env` (default: the process's). Raises ConfigurationError."""
    env = os.environ if env is None else env
    host, port = _address(_required(env, "GATEHOUSE_GATEWAY_BIND"))
    base_url = _required(env, "GATEHOUSE_BASE_URL").rstrip("/")
    if urlsplit(base_url).scheme not in {"http", "https"}:
        raise ConfigurationError("GATEHOUSE_BASE_URL must begin with http:// or https://.")
    data = Path(env.get("GATEHOUSE_DATA") or ".gatehouse")
    numbers = {
        name: _number(env, variable, least=1)
        for name, variable in {
            "max_body_bytes": "GATEHOUSE_GATEWAY_MAX_BODY_BYTES",
            "max_rows": "GATEHOUSE_GATEWAY_MAX_ROWS",
            "max_in_flight": "GATEHOUSE_GATEWAY_MAX_IN_FLIGHT",
            "engine_timeout_s": "GATEHOUSE_GATEWAY_ENGINE_TIMEOUT_S",
            "head_timeout_s": "GATEHOUSE_GATEWAY_HEAD_TIMEOUT_S",
            "body_timeout_s": "GATEHOUSE_GATEWAY_BODY_TIMEOUT_S",
        }.items()
        if variable in env
    }
    return Settings(
        bind_host=host,
        bind_port=port,
        base_url=base_url,
        token=_required(env, "GATEHOUSE_GATEWAY_TOKEN"),
        public_keys_path=Path(_required(env, "GATEHOUSE_ORDER_PUBLIC_KEYS")),
        state_dir=Path(env.get("GATEHOUSE_GATEWAY_STATE") or data / "gateway"),
        capture_dir=Path(env.get("GATEHOUSE_CAPTURE_DIR") or data / "captures"),
        redis_url=env.get("REDIS_URL") or None,
        **numbers,
    )


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise ConfigurationError(f"{name} is not set; the gateway cannot start without it.")
    return value


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError(f"GATEHOUSE_GATEWAY_BIND must read HOST:PORT, not {text!r}.")
    return host.strip("[]"), int(port)


def _number(env: Mapping[str, str], name: str, *, least: int) -> int:
    text = env[name].strip()
    if not text.isdigit() or int(text) < least:
        raise ConfigurationError(f"{name} must be a whole number of at least {least}.")
    return int(text)

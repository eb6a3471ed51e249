"""What a portal decides before it starts, and keeps in env.json: which PostgreSQL and Valkey, which ports."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gatehouse_cli import postgres, services
from gatehouse_cli.paths import DataDir
from gatehouse_cli.programs import PORTS, External
from gatehouse_cli.say import Say


class StackError(RuntimeError):
    """The portal cannot be started or does not become ready; the message says which process, why, and what to do."""


def check_external(external: External) -> None:
    """Refuse to begin when a service that somebody else runs does not answer, naming the variable."""
    asked: list[tuple[str, str | None, Callable[[str], bool]]] = [
        ("DATABASE_URL", external.database_url, services.postgres_is_ready),
        ("GATEHOUSE_OWNER_DATABASE_URL", external.owner_database_url, services.postgres_is_ready),
        ("GATEHOUSE_CONTROL_DATABASE_URL", external.control_database_url, services.postgres_is_ready),
        ("GATEHOUSE_SEAL_DATABASE_URL", external.seal_database_url, services.postgres_is_ready),
        ("REDIS_URL", external.redis_url, services.valkey_is_ready),
        ("GATEHOUSE_MLFLOW_URL", external.mlflow_url, lambda url: services.http_is_ready(f"{url}/health")),
    ]
    for variable, url, answers in asked:
        if url and not answers(url):
            raise StackError(f"What {variable} names does not answer, or refuses. Check address, role and password, or unset {variable}.")


def choose_postgres(data: DataDir, env: dict[str, Any], *, system: bool) -> None:
    """Note the programs and the cluster in `env`. A cluster stays with the major version that made it."""
    if system:
        bin_dir = postgres.system_bin()
    elif env.get("postgres_system") and Path(env["postgres_bin"], "postgres").exists():
        bin_dir = Path(env["postgres_bin"])
    else:
        bin_dir = postgres.wheel_bin()
    cluster = data.root / "postgres" / str(postgres.major_version(bin_dir))
    known = env.get("postgres_cluster")
    if known and Path(known).name != cluster.name and (data.root / "postgres" / Path(known).name).exists():
        raise StackError(
            f"The data in {data.root} was made by PostgreSQL {Path(known).name}; {bin_dir} has {cluster.name}. "
            "Start as before (with or without --system-postgres), or use another folder with --data DIR."
        )
    env["postgres_bin"], env["postgres_cluster"] = str(bin_dir), str(cluster)
    env["postgres_system"] = bin_dir != postgres.wheel_bin()


def choose_valkey(env: dict[str, Any], *, system: bool) -> None:
    """Note the server program in `env`."""
    env["valkey_program"] = str(services.system_valkey() if system else services.valkey_wheel())


def choose_ports(known: dict[str, int], *, wished: Mapping[str, int], preferred: Mapping[str, int], say: Say) -> None:
    """Fill `known` (name -> port): wished ports or a refusal, else last time's, else the preferred, else any free one."""
    for name in PORTS:
        if name in wished:
            if not services.port_is_free(wished[name]):
                raise StackError(
                    f"Port {wished[name]} is taken (ss -ltnp shows by what). Choose another with "
                    f"{'--gateway-port' if name == 'gateway' else '--port'}, or end that process."
                )
            known[name] = wished[name]
            continue
        if name in known and services.port_is_free(known[name]):
            continue
        old = known.pop(name, preferred.get(name))
        if old is not None and old not in known.values() and services.port_is_free(old):
            known[name] = old
            continue
        known[name] = services.free_port(avoid=known.values())
        if old is not None:
            say(f"port {old} for {name} is taken by another process: using {known[name]}")

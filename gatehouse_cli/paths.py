"""Where things lie: the repository, its environments, and a data folder. Standard library only."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


def venv_bin(venv: str, program: str) -> Path:
    """Path of a program inside one of the repository's environments, e.g. `venv_bin(".venv", "celery")`."""
    return REPO / venv / "bin" / program


def default_data_dir() -> Path:
    """`$GATEHOUSE_DATA`, or `.gatehouse` beside the launcher."""
    return Path(os.environ.get("GATEHOUSE_DATA") or REPO / ".gatehouse").expanduser().absolute()


def digest_of_files(*patterns: str, more: bytes = b"") -> str:
    """sha256 over names and contents of the repository's files that match."""
    digest = hashlib.sha256(more)
    for pattern in patterns:
        for path in sorted(REPO.glob(pattern)):
            digest.update(f"{path.relative_to(REPO)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


@dataclass(frozen=True)
class DataDir:
    """One data folder and the fixed names inside it. `make()` creates it, closed to other users."""

    root: Path

    SUBFOLDERS = (
        "postgres", "valkey", "mlflow-artifacts", "captures", "witness", "keys", "agents", "gateway", "logs", "run",
    )  # fmt: skip

    def make(self) -> None:
        """Create the folder and its parts with mode 0700; an existing folder is closed to others again."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for name in self.SUBFOLDERS:
            folder = self.root / name
            if not folder.exists():
                folder.mkdir(mode=0o700)

    @property
    def valkey(self) -> Path:
        """Valkey's folder (append-only file and configuration)."""
        return self.root / "valkey"

    @property
    def keys(self) -> Path:
        """Private keys, mode 0600 each."""
        return self.root / "keys"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """What belongs to the running stack: supervisor's configuration, socket, pid."""
        return self.root / "run"

    @property
    def env_file(self) -> Path:
        """Ports and passwords made on first start (0600)."""
        return self.root / "env.json"

    @property
    def supervisor_socket(self) -> Path:
        """Supervisor's control socket. A Unix socket's path may hold 107 bytes, so a deep data folder gets a short one."""
        inside = self.run / "supervisor.sock"
        # supervisord first binds "<path>.<pid>" and then links it, hence the margin.
        if len(str(inside).encode()) <= 90:
            return inside
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"gatehouse-{os.getuid()}-{digest}" / "s.sock"

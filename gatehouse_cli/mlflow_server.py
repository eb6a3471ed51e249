"""Becomes `mlflow server`, after ending what a killed one left on its port.

    python -m gatehouse_cli.mlflow_server PORT

The command starts a uvicorn child that survives when the command itself is killed, and then holds the port.
"""

import itertools
import os
import signal
import sys
import time
from pathlib import Path

from gatehouse_cli.services import mlflow_command


def left_over(port: int) -> list[int]:
    """Pids of uvicorn processes that serve MLflow on this port."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            ours = any(word.startswith(b"mlflow.server") for word in words)
            if ours and any(pair == (b"--port", str(port).encode()) for pair in itertools.pairwise(words)):
                found.append(int(entry.name))
    return found


def main(port: int) -> None:
    """End the left-over server, then become a new one."""
    for attempt in range(50):
        pids = left_over(port)
        if not pids:
            break
        for pid in pids:
            os.kill(pid, signal.SIGTERM if attempt < 30 else signal.SIGKILL)
        time.sleep(0.1)
    command = mlflow_command(port)
    os.execv(command[0], command)  # noqa: S606 - becoming the server is the purpose


if __name__ == "__main__":
    main(int(sys.argv[1]))

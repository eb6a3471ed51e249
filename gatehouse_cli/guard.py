"""The parent of supervisord, apart from the terminal.

    python -m gatehouse_cli.guard DATA PARENT_PID

It holds the data folder's lock as long as a portal runs there, ends what an earlier one left behind, runs supervisord,
keeps demo.json from calling a portal ready that does not answer, and when told to end (or when the launcher or its terminal dies) has supervisord stop everything in order and then ends
what is left, such as engines. PARENT_PID 0: outlives whoever started it (`up --detach`).
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from gatehouse_cli import demo_file, orphans
from gatehouse_cli.paths import REPO, DataDir, venv_bin
from gatehouse_cli.supervision import SupervisionError, Supervisor

_PR_SET_PDEATHSIG = 1
LOCKED = 3


def die_with_parent(parent: int) -> None:
    """Have the kernel send this process SIGTERM when its parent ends; end now if it already has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def lock(data: DataDir) -> int | None:
    """Take the data folder's lock; None when another portal runs there. Keep the descriptor open."""
    descriptor = os.open(data.run / "guard.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def running(data: DataDir) -> int:
    """Pid of the guard that holds the lock, 0 when none does."""
    path = data.run / "guard.lock"
    if not path.exists():
        return 0
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = path.read_text().strip()
        return int(text) if text.isdigit() else -1
    finally:
        os.close(descriptor)
    return 0


def stop(data: DataDir, patience_s: float = 90) -> bool:
    """Tell whoever runs a portal in this folder to end it in order, and wait; then end what is left. False: none ran."""
    pid, ran = running(data), False
    demo_file.withdraw(data)
    if pid > 0:
        ran = True
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        while running(data) and time.monotonic() < deadline:
            time.sleep(0.05)
        if running(data):
            os.kill(pid, signal.SIGKILL)
    return bool(orphans.end(data)) or ran


def main(data: DataDir, parent: int) -> int:
    """Run until told to end. Exit code 3: another portal runs in this data folder."""
    if parent:
        die_with_parent(parent)
    # Whatever the processes write is for their owner alone, logs included.
    os.umask(0o077)
    held = lock(data)
    if held is None:
        return LOCKED
    told: list[int] = []

    def end(number: int, frame: object) -> None:
        told.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    # An earlier run that was killed had no time to say so.
    demo_file.withdraw(data)
    if left := orphans.end(data, patience_s=20):
        print(f"ended {len(left)} processes of an earlier run that was killed", flush=True)
    socket = data.supervisor_socket
    socket.parent.mkdir(mode=0o700, exist_ok=True)
    socket.unlink(missing_ok=True)
    if told:
        return 0
    me = os.getpid()
    command = [str(venv_bin(".venv", "python")), "-m", "supervisor.supervisord", "-c", str(data.run / "supervisord.conf")]
    child = subprocess.Popen(
        command,
        cwd=REPO,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: die_with_parent(me),
        start_new_session=True,
    )
    while child.poll() is None and not told:
        time.sleep(0.1)
    demo_file.withdraw(data)
    if told:
        # In order as long as supervisor answers; its own reaction to SIGTERM is the second line.
        with contextlib.suppress(SupervisionError):
            Supervisor(data.supervisor_socket).stop_everything()
        child.terminate()
        # By itself it looks about once a second; a question wakes it.
        while child.poll() is None and Supervisor(data.supervisor_socket).alive():
            time.sleep(0.02)
    code = child.wait()
    orphans.end(data, patience_s=10)
    return 0 if told else code or 1


if __name__ == "__main__":
    sys.exit(main(DataDir(Path(sys.argv[1])), int(sys.argv[2])))

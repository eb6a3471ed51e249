"""Processes of a portal that nobody supervises any more: what a hard kill leaves behind."""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from gatehouse_cli.paths import REPO, DataDir


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _ancestors() -> set[int]:
    """This process and those above it."""
    found, pid = set(), os.getpid()
    while pid > 0:
        found.add(pid)
        pid = _parent(pid)
    return found


def _inside(text: str, folder: str) -> bool:
    return text == folder or text.startswith(folder + "/")


def _is_launcher(words: list[str]) -> bool:
    """A person's own `./gatehouse doctor` or `manage` on the folder, or the guard that asks: they end by themselves."""
    return words[1:2] == ["-m"] and words[2:3] in (["gatehouse_cli"], ["gatehouse_cli.main"])


def belongs(pid: int, data: DataDir) -> bool:
    """Was this process started for the data folder? One of our programs (an interpreter of the repository's environments,
    a server from their packages or a system server), which has the folder in its variables, its arguments, or as its
    working directory. An editor or a `tail` that merely reads a log there is none of ours."""
    folder, root = Path(f"/proc/{pid}"), str(data.root)
    words = [word.decode(errors="replace") for word in _read(folder / "cmdline").split(b"\0") if word]
    if not words:
        return False
    try:
        working = str((folder / "cwd").readlink())
    except OSError:
        working = ""
    server = Path(words[0].rstrip(":")).name in {"postgres", "valkey-server", "redis-server"}
    ours = words[0].startswith(str(REPO / ".venv")) or any(word.startswith(str(REPO / ".venv")) for word in words[1:2])
    if not (server or ours) or _is_launcher(words):
        return False
    if _inside(working, root) or any(_inside(word.partition("=")[2] or word, root) for word in words[1:]):
        return True
    # A worker that renamed itself ("gunicorn: worker") keeps its variables.
    variables = _read(folder / "environ").split(b"\0")
    return f"GATEHOUSE_DATA={root}".encode() in variables or any(
        entry.partition(b"=")[0].startswith(b"GATEHOUSE_") and _inside(entry.partition(b"=")[2].decode(errors="replace"), root)
        for entry in variables
    )


def find(data: DataDir, *, but_not: Iterable[int] = ()) -> list[int]:
    """Pids that belong to the data folder, without this process, its ancestors and `but_not`."""
    spared = _ancestors() | set(but_not)
    return sorted(
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and int(entry.name) not in spared and belongs(int(entry.name), data)
    )


def end(data: DataDir, *, but_not: Iterable[int] = (), patience_s: float = 10) -> list[int]:
    """End them: ask, wait, then SIGKILL. Returns the pids that were found.

    PostgreSQL is asked for its fast shutdown, and before SIGKILL for its immediate one: it waits for its clients otherwise,
    and killed hard it leaves shared memory behind. It ends its children itself.
    """
    found = find(data, but_not=but_not)
    servers = {pid for pid in found if _is_postgres_server(pid)}
    asked = [pid for pid in found if _parent(pid) not in servers]
    for pid in asked:
        _signal(pid, signal.SIGINT if pid in servers else signal.SIGTERM)
    left = _wait(asked, patience_s)
    for pid in left:
        _signal(pid, signal.SIGQUIT if pid in servers else signal.SIGKILL)
    for pid in _wait(left, 5):
        _signal(pid, signal.SIGKILL)
    # Children that only now lost their parent.
    for pid in find(data, but_not=but_not):
        _signal(pid, signal.SIGKILL)
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _wait(pids: list[int], patience_s: float) -> list[int]:
    """Those that are still alive when all have ended or patience has."""
    deadline = time.monotonic() + patience_s
    while (pids := [pid for pid in pids if _alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return pids


def _is_postgres_server(pid: int) -> bool:
    """The server itself; its children have other titles ("postgres: checkpointer")."""
    words = _read(Path(f"/proc/{pid}/cmdline")).split(b"\0")
    return Path(words[0].decode(errors="replace")).name == "postgres" and b"-D" in words


def _parent(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _alive(pid: int) -> bool:
    """Alive and not a zombie."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return bool(fields) and fields[0] != b"Z"

"""Start, find again, probe and stop KServe model server processes on this host.

An engine runs in its own session with an environment made from an allow-list, so it knows nothing of the portal and
outlives the agent. Its command line carries the id of its start: after a crash the agent finds it again by that.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess  # nosec: the command is a list, its parts are checked
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from uuid import uuid4

import httpx
import psutil

from celery_worker.agent.files import private_folder
from celery_worker.agent.state import EngineRecord

log = logging.getLogger(__name__)

PROGRAM: Final = Path(__file__).resolve().parents[2] / "serving" / "kserve"
INHERITED: Final = ("LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PROBE_TIMEOUT_S: Final = 5.0
TERM_PATIENCE_S: Final = 10.0
LOG_KEPT_BYTES: Final = 4 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class EngineError(Exception):
    """The engine cannot be started as ordered; the message says what to change."""


class KServeEngine:
    """Engines of kind `kserve`; `root` is the agent's state folder, `python` the engine environment's interpreter."""

    kind = "kserve"

    def __init__(self, root: Path, python: Path) -> None:
        self.folder = private_folder(root / "engines")
        self.python = python
        self._guard = threading.Lock()
        self._sockets: dict[str, socket.socket] = {}
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def prepare(self, *, digest: str, options: Mapping[str, Any]) -> EngineRecord:
        """Choose the start's id and hold a free loopback port for it. Raises EngineError for wrong options."""
        checked = check_options(options)
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        record = EngineRecord(
            engine_start_id=str(uuid4()),
            kind=self.kind,
            digest=digest,
            options=checked,
            port=listening.getsockname()[1],
        )
        with self._guard:
            self._sockets[record.engine_start_id] = listening
        return record

    def start(self, record: EngineRecord, *, deployment_id: str, folder: Path) -> EngineRecord:
        """Spawn the engine on `folder` and return the record with its pid. Raises EngineError."""
        with self._guard:
            listening = self._sockets.pop(record.engine_start_id)
        run = private_folder(self.folder / deployment_id)
        home, temporary = private_folder(run / "home"), private_folder(run / "tmp")
        self._end_strays(run / "engine.lock")
        options = record.options
        command = [str(self.python), "-I", str(PROGRAM)]
        command += ["--folder", str(folder), "--name", options["model_name"], "--version", options["version"]]
        command += ["--threads", str(options["threads"]), "--socket", str(listening.fileno())]
        command += ["--lock", str(run / "engine.lock"), "--start-id", record.engine_start_id]
        try:
            with listening, _open_log(run / "engine.log") as output:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=home,
                    env=engine_environment(os.environ, home=home, temporary=temporary, threads=options["threads"]),
                    pass_fds=(listening.fileno(),),
                    start_new_session=True,
                    umask=0o077,
                )
        except OSError as error:
            raise EngineError(f"The engine's interpreter could not be started: {error.strerror}.") from error
        with self._guard:
            self._children[child.pid] = child
        record.pid = child.pid
        record.start_ticks = start_ticks(child.pid)
        return record

    def adopt(self, record: EngineRecord) -> EngineRecord | None:
        """The record with the pid of the live process of this very start, None if there is none."""
        if self.is_alive(record):
            return record
        for pid in psutil.pids():
            ticks = start_ticks(pid) if started_as(pid) == record.engine_start_id else None
            if ticks is not None:
                record.pid, record.start_ticks = pid, ticks
                return record
        return None

    def probe(self, record: EngineRecord) -> Literal["ready", "starting", "gone"]:
        """Ask the protocol's readiness endpoint; `gone` when the process of this start does not exist any more."""
        if not self.is_alive(record):
            return "gone"
        url = f"http://127.0.0.1:{record.port}/v2/models/{record.options['model_name']}/ready"
        try:
            answer = httpx.get(url, timeout=PROBE_TIMEOUT_S, trust_env=False)
            return "ready" if answer.status_code == 200 and answer.json().get("ready") is True else "starting"
        except (httpx.HTTPError, ValueError):
            return "starting"

    def is_alive(self, record: EngineRecord) -> bool:
        """Whether the very process of this start still runs: same pid, same kernel start time, same start id."""
        if record.pid is None or record.start_ticks is None:
            return False
        self._reap(record.pid)
        if start_ticks(record.pid) != record.start_ticks:
            return False
        # After a reboot even pid and ticks may repeat; the id on the command line does not.
        return started_as(record.pid) in (record.engine_start_id, "")

    def stop(self, record: EngineRecord) -> None:
        """SIGTERM to the engine's process group, SIGKILL to what is left after a while. Safe to repeat."""
        with self._guard:
            held = self._sockets.pop(record.engine_start_id, None)
        if held is not None:
            held.close()
        found = self.adopt(record)
        if found is not None and found.pid is not None:
            self._end_group(found.pid)  # it leads its own session and group

    def _end_strays(self, lock: Path) -> None:
        """An engine nobody remembers would keep the deployment's lock for ever; there should be none."""
        for pid in psutil.pids():
            if started_as(pid) and start_ticks(pid) and str(lock) in _command_of(pid):
                log.warning("ending a forgotten engine, pid %d", pid)
                self._end_group(pid)

    def _end_group(self, group: int) -> None:
        _signal_group(group, signal.SIGTERM)
        deadline = time.monotonic() + TERM_PATIENCE_S
        while self._group_lives(group):
            if time.monotonic() >= deadline:
                _signal_group(group, signal.SIGKILL)
                deadline = time.monotonic() + TERM_PATIENCE_S
            time.sleep(0.05)

    def last_words(self, deployment_id: str) -> str:
        """The last line the engine wrote, at most 400 characters, empty if there is none."""
        path = self.folder / deployment_id / "engine.log"
        try:
            with path.open("rb") as stream:
                stream.seek(max(0, path.stat().st_size - 4096))
                lines = stream.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:400]

    def _reap(self, pid: int) -> None:
        with self._guard:
            child = self._children.get(pid)
            if child is not None and child.poll() is not None:
                del self._children[pid]

    def _group_lives(self, group: int) -> bool:
        self._reap(group)
        for process in psutil.process_iter(["pid", "status"]):
            try:
                if process.info["status"] != psutil.STATUS_ZOMBIE and os.getpgid(process.info["pid"]) == group:
                    return True
            except ProcessLookupError:
                continue
        return False


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with defaults filled in: `model_name`, `version`, `threads`. Raises EngineError."""
    unknown = set(options) - {"model_name", "version", "threads"}
    if unknown:
        raise EngineError(f"Unknown engine options: {', '.join(sorted(unknown))[:200]}.")
    name, version, threads = options.get("model_name"), options.get("version", ""), options.get("threads", 1)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise EngineError("engine.options.model_name may hold letters, digits, '.', '-' and '_'.")
    if not isinstance(version, str) or (version and not _NAME.fullmatch(version)):
        raise EngineError("engine.options.version may hold letters, digits, '.', '-' and '_'.")
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= 256:
        raise EngineError("engine.options.threads is a whole number from 1 to 256.")
    return {"model_name": name, "version": version, "threads": threads}


def engine_environment(parent: Mapping[str, str], *, home: Path, temporary: Path, threads: int) -> dict[str, str]:
    """The engine's whole environment: an allow-list, never the parent's with things taken out."""
    environment = {name: parent[name] for name in INHERITED if name in parent}
    environment |= {name: str(threads) for name in THREAD_VARIABLES}
    return environment | {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def start_ticks(pid: int) -> int | None:
    """The kernel's start time of our own process `pid` (clock ticks since boot), None if it is dead or another's."""
    process = Path("/proc") / str(pid)
    try:
        if process.stat().st_uid != os.getuid():
            return None
        fields = (process / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def started_as(pid: int) -> str | None:
    """The start id on the command line of `pid`, "" while an exec is under way, None if it is no engine."""
    command = _command_of(pid)
    if command == [""]:
        return ""
    return command[-2] if command[-3:-2] == ["--start-id"] else None


def _command_of(pid: int) -> list[str]:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _open_log(path: Path) -> Any:
    if path.exists() and path.stat().st_size > LOG_KEPT_BYTES:
        path.replace(path.with_suffix(".old.log"))
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)  # noqa: PTH123

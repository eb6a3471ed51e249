"""Supervisor: its configuration, and a small client of its control socket."""

import os
import signal
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from gatehouse_cli.paths import REPO, DataDir
from gatehouse_cli.programs import ORDER, STOP_LAYERS, Program
from gatehouse_cli.services import write_secret

# Only these reach the processes from the person's environment; everything else is named in programs.py.
# COVERAGE_* lets the suite see which lines of the supervised processes ran.
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE"),
    *("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"),
)
# States in which a process has no pid and none is coming.
STOPPED = {"STOPPED", "EXITED", "FATAL", "UNKNOWN"}


class SupervisionError(RuntimeError):
    """Supervisor does not answer or refuses."""


def base_environment(source: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment supervisord itself runs in, and so the least every process has."""
    given = os.environ if source is None else source
    kept = {name: given[name] for name in INHERITED if name in given}
    kept.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    kept.setdefault("LANG", "C.UTF-8")
    # Timestamps in every log are UTC.
    return kept | {"TZ": "UTC", "PYTHONUNBUFFERED": "1"}


def _escaped(text: str) -> str:
    """A value in supervisor's configuration: % begins an expansion there."""
    return text.replace("%", "%%")


def _representable(value: str) -> str:
    """The value itself; refused when supervisor's configuration has no way to say it (it knows no escapes in quotes, and
    takes ` ;` for a comment even there)."""
    if any(part in value for part in ("\r", "\n", '"', " ;", "\t;")):
        raise SupervisionError(
            "A path or variable for a process holds a line break, a double quote, or a semicolon after a space. Change it "
            "(such as the data folder's name) and start again."
        )
    return value


def _quoted(value: str) -> str:
    """A value of `environment=`."""
    return '"' + _escaped(_representable(value)) + '"'


def _command_word(word: str) -> str:
    """One word of a command line, which supervisor splits with shlex and in which ` ;` begins a comment."""
    plain = all(character.isalnum() or character in "/._-+=:@,%" for character in word)
    _representable(word)
    return _escaped(word if plain and word else "'" + word.replace("'", "'\"'\"'") + "'")


def configuration(data: DataDir, programs: Sequence[Program], *, restart: bool = True) -> str:
    """The text of supervisord.conf. It holds passwords: write it with `write_configuration`."""
    lines = [
        "[supervisord]",
        "nodaemon=true",
        f"directory={_escaped(str(REPO))}",
        f"logfile={_escaped(str(data.logs / 'supervisor.log'))}",
        "logfile_maxbytes=5MB",
        "logfile_backups=2",
        f"pidfile={_escaped(str(data.run / 'supervisord.pid'))}",
        f"childlogdir={_escaped(str(data.logs))}",
        "[unix_http_server]",
        f"file={_escaped(str(data.supervisor_socket))}",
        "chmod=0600",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for program in programs:
        environment = ",".join(f"{name}={_quoted(value)}" for name, value in sorted(program.environment.items()))
        lines += [
            f"[program:{program.name}]",
            "command=" + " ".join(_command_word(word) for word in program.command),
            f"directory={_escaped(str(REPO))}",
            f"priority={10 * (1 + ORDER.index(program.name))}",
            "autostart=false",
            f"autorestart={'true' if restart else 'false'}",
            "startsecs=1",
            # With supervisor's growing pause between attempts this is hours: a database that is away must not end it.
            f"startretries={120 if restart else 0}",
            f"stopsignal={program.stop_signal}",
            f"stopwaitsecs={program.stop_wait_s}",
            "killasgroup=true",
            "redirect_stderr=true",
            # This one is expanded twice.
            f"stdout_logfile={_escaped(_escaped(str(data.logs / program.name)))}.log",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=2",
        ]
        if environment:
            lines.append(f"environment={environment}")
    return "\n".join(lines) + "\n"


def write_configuration(data: DataDir, programs: Sequence[Program], *, restart: bool = True) -> Path:
    """Write run/supervisord.conf (0600) and return its path."""
    path = data.run / "supervisord.conf"
    write_secret(path, configuration(data, programs, restart=restart))
    return path


class Supervisor:
    """Client of one supervisord."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            target: Any = proxy
            for part in method.split("."):
                target = getattr(target, part)
            return target(*arguments)
        except (OSError, xmlrpc.client.ProtocolError) as error:
            raise SupervisionError(f"supervisor does not answer at {self._socket}") from error
        finally:
            transport.close()

    def alive(self) -> bool:
        """Does it answer?"""
        try:
            return bool(self._call("supervisor.getState")["statename"] == "RUNNING")
        except SupervisionError:
            return False

    def processes(self) -> dict[str, dict[str, Any]]:
        """Name -> `{"statename", "pid", "exitstatus", "spawnerr", "start", "now", ...}`."""
        return {row["name"]: row for row in self._call("supervisor.getAllProcessInfo")}

    def start(self, name: str) -> None:
        """Begin to start a process; does not wait. No effect when it runs."""
        try:
            self._call("supervisor.startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise SupervisionError(f"{name} cannot be started: {fault.faultString}") from fault

    def stop(self, name: str, *, wait: bool = True) -> None:
        """Stop a process and wait until it has ended. No effect when it does not run."""
        try:
            self._call("supervisor.stopProcess", name, wait)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString:
                raise SupervisionError(f"{name} cannot be stopped: {fault.faultString}") from fault

    def pid(self, name: str) -> int:
        """Process id, 0 when it does not run."""
        return int(self.processes()[name]["pid"])

    def kill9(self, name: str) -> int:
        """SIGKILL the process itself, not its children, as an out-of-memory killer would; returns the pid it had."""
        pid = self.pid(name)
        if pid:
            os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and self.pid(name) == pid:
                time.sleep(0.02)
        return pid

    def stop_everything(self) -> None:
        """Stop layer by layer, waiting for each, and forget each: supervisord's own ending then takes no time (by
        itself it spends a second on every program, even on those that do not run)."""
        for layer in STOP_LAYERS:
            there = self.processes()
            known = [name for name in layer if name in there]
            for name in known:
                self.stop(name, wait=False)
            while any(state["statename"] not in STOPPED for name, state in self.processes().items() if name in known):
                time.sleep(0.05)
            for name in known:
                self._call("supervisor.removeProcessGroup", name)

    def reload_configuration(self) -> None:
        """Take up programs whose configuration changed; those that run are stopped and must be started again."""
        added, changed, removed = self._call("supervisor.reloadConfig")[0]
        for name in [*changed, *removed]:
            self._call("supervisor.stopProcessGroup", name, True)
            self._call("supervisor.removeProcessGroup", name)
        for name in [*changed, *added]:
            self._call("supervisor.addProcessGroup", name)

"""A whole portal in one data folder: start it, wait for it, kill parts of it, copy it, stop it.

The launcher uses it for `demo` and `up`, the tests for portals of their own:

    with Stack(tmp_path / "portal", durable=False) as stack:
        stack.up()                              # everything, ready
        stack.kill9("control")                  # comes back by itself
        stack.wait_ready("control")

Names of processes: postgres, valkey, mlflow, web, seal, control, relay, schedule, agent, gateway.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gatehouse_cli import choices, guard, keyring, machine, orphans, postgres, roles, services
from gatehouse_cli.choices import StackError
from gatehouse_cli.paths import REPO, DataDir, digest_of_files, venv_bin
from gatehouse_cli.programs import HOST_NAME, ORDER, PORTS, External, Layout, portal_environment, programs
from gatehouse_cli.say import Say, quiet
from gatehouse_cli.supervision import SupervisionError, Supervisor, base_environment, write_configuration

STORES = ("postgres", "valkey")
# They load for seconds, and wait for a store that does not answer yet.
EARLY = ("mlflow", "web", "agent", "gateway")
# Those whose answer can only be their own need not first have run for a second.
PROBED = ("postgres", "valkey", "web", "gateway")
READY_WITHIN_S = {"postgres": 60.0, "valkey": 30.0, "mlflow": 120.0}


__all__ = ["STORES", "AlreadyRunning", "Stack", "StackError"]


class AlreadyRunning(StackError):
    """Another launcher runs a portal in this data folder."""


class Stack:
    """One portal.

    `data_dir`: its folder, made when missing. `ports`: wished ports by name (`web`, `gateway`, `postgres`, `valkey`,
    `mlflow`), refused when taken; `preferred_ports` are used when free; the rest is chosen and kept in env.json for the
    next start. `durable=False` trades safety against a power cut for speed. `restart=False`: what dies stays dead until
    `start` is called. `tied=False`: outlives this process. `environment`: more variables for every Gatehouse process
    (not for PostgreSQL, Valkey and MLflow).
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        ports: dict[str, int] | None = None,
        preferred_ports: dict[str, int] | None = None,
        demo: bool = False,
        durable: bool = True,
        restart: bool = True,
        tied: bool = True,
        external: External | None = None,
        system_postgres: bool = False,
        system_valkey: bool = False,
        environment: dict[str, str] | None = None,
        addresses: dict[str, str] | None = None,
        say: Say = quiet,
    ) -> None:
        self.data = DataDir(data_dir.absolute())
        self.say = say
        self._wished_ports, self._preferred_ports = dict(ports or {}), dict(preferred_ports or {})
        self._system = (system_postgres, system_valkey)
        self._restart, self._tied = restart, tied
        self._layout = Layout(self.data, {}, external or External(), demo, durable, dict(environment or {}), dict(addresses or {}))
        self._guard: subprocess.Popen[bytes] | None = None
        self._supervisor = Supervisor(self.data.supervisor_socket)

    # what it is

    @property
    def layout(self) -> Layout:
        """Ports, passwords and URLs. Complete after `prepare`."""
        return self._layout

    @property
    def base_url(self) -> str:
        """The portal's address."""
        return self._layout.base_url

    @property
    def gateway_url(self) -> str:
        """The inference gateway's address."""
        return self._layout.gateway_url

    def database_url(self, role: str = "gatehouse_web", database: str = "gatehouse") -> str:
        """URL of the portal's database as a role; `postgres` is the superuser of a private server."""
        return self._layout.database(role, database)

    def env(self, process: str = "web", role: str | None = None) -> dict[str, str]:
        """A complete environment in which a command runs as that process (`web`, `control`, `seal`, `manage`) would.
        `role`: another database role than the process's own, such as `gatehouse_owner`."""
        own = {"control": "gatehouse_control", "seal": "gatehouse_seal", "manage": "gatehouse_web"}
        return base_environment() | portal_environment(self._layout, process, role or own.get(process, "gatehouse_web"))

    # preparing

    def prepare(self) -> None:
        """Make the folder, secrets, ports, keys and the database cluster. Safe to repeat; refuses a running folder."""
        if guard.running(self.data):
            raise AlreadyRunning(
                f"Gatehouse already runs in {self.data.root}. Stop it with ./gatehouse down --data {self.data.root}, "
                "or use another folder with --data DIR."
            )
        machine.check_writable(self.data.root, "keeping data")
        self.data.make()
        for name in self.data.SUBFOLDERS:
            machine.check_writable(self.data.root / name, "keeping data")
        orphans.end(self.data, patience_s=20)
        self._layout.env = keyring.load_or_make_env(self.data)
        self._layout.env["demo"] = self._layout.demo
        keyring.ensure_keys(self.data.keys)
        layout = self._layout
        if not layout.external.database_url:
            choices.choose_postgres(self.data, layout.env, system=self._system[0])
        if not layout.external.redis_url:
            choices.choose_valkey(layout.env, system=self._system[1])
        choices.choose_ports(layout.env["ports"], wished=self._wished_ports, preferred=self._preferred_ports, say=self.say)
        keyring.save_env(self.data, self._layout.env)
        if not self._layout.external.database_url:
            made = postgres.make_cluster(
                Path(self._layout.env["postgres_cluster"]),
                Path(self._layout.env["postgres_bin"]),
                superuser_password=self._layout.env["passwords"]["postgres"],
                durable=self._layout.durable,
            )
            if made:
                self.say("made the database cluster")
        self._configure()

    def attach(self) -> None:
        """Use a portal that another launcher runs (for `manage`, `doctor`)."""
        self._layout.env = keyring.load_or_make_env(self.data)
        self._layout.demo = bool(self._layout.env.get("demo"))

    def _gateway_token_path(self) -> Path:
        return self.data.keys / "gateway.token"

    def _configure(self) -> None:
        path = self._gateway_token_path()
        token = path.read_text().strip() if path.exists() else ""
        write_configuration(self.data, programs(self._layout, gateway_token=token), restart=self._restart)

    # running

    def names(self) -> list[str]:
        """Names of the processes this portal has; external services are not among them."""
        return [program.name for program in programs(self._layout)]

    def _begin(self) -> None:
        """Start the guard and supervisor unless they run."""
        if self._supervisor.alive():
            return
        if not self._layout.env:
            self.prepare()
        with (self.data.logs / "guard.log").open("ab") as log:
            self._guard = subprocess.Popen(
                [str(venv_bin(".venv", "python")), "-m", "gatehouse_cli.guard", str(self.data.root), str(os.getpid() if self._tied else 0)],
                cwd=REPO,
                env=base_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 40
        while not self._supervisor.alive():
            code = self._guard.poll()
            if code == guard.LOCKED:
                raise AlreadyRunning(f"Gatehouse already runs in {self.data.root}.")
            if code is not None or time.monotonic() > deadline:
                raise StackError(f"supervisor did not start:\n{self.log_tail('guard')}")
            time.sleep(0.05)

    def start(self, *names: str, wait: bool = True) -> None:
        """Start these processes (all without names) in the right order, and wait until they answer."""
        self._begin()
        wanted = [name for name in self.names() if not names or name in names]
        if unknown := set(names) - set(ORDER):
            raise StackError(f"no process is called {', '.join(sorted(unknown))}; there are {', '.join(ORDER)}")
        # The stores first, answering, as everything else needs them.
        stores = [name for name in wanted if name in STORES]
        for name in stores:
            self._supervisor.start(name)
        if wait and stores:
            self.wait_ready(*stores)
        for name in wanted:
            self._supervisor.start(name)
        if wait:
            self.wait_ready(*wanted)

    def wait_ready(self, *names: str, timeout_s: float | None = None) -> None:
        """Wait until each process answers (a store: a query; a server: HTTP; a worker: it has run for a second)."""
        began, waiting = time.monotonic(), list(names or self.names())
        strange_since: dict[str, float] = {}
        while True:
            states, now = self._supervisor.processes(), time.monotonic()
            for name in list(waiting):
                state = states[name]
                if state["statename"] == "FATAL" or (state["statename"] == "EXITED" and not self._restart):
                    raise StackError(f"{name} does not start. Its last lines:\n{self.log_tail(name)}")
                up = state["statename"] == "RUNNING" or (state["statename"] == "STARTING" and name in PROBED)
                if (up or state["statename"] == "BACKOFF") and self._somebody_else_listens(name, state["pid"]):
                    # Perhaps merely a predecessor that is just ending.
                    if now - strange_since.setdefault(name, now) > 5:
                        port = self._layout.port(name)
                        raise StackError(f"Port {port} for {name} was taken by another program meanwhile. Start again: another one is chosen.")
                elif up and self.answers(name):
                    waiting.remove(name)
                    continue
                if now - began > (timeout_s or READY_WITHIN_S.get(name, 90.0)):
                    raise StackError(f"{name} is {state['statename']} and does not answer. Its last lines:\n{self.log_tail(name)}")
            if not waiting:
                return
            # Asking costs the processor that those who start need.
            time.sleep(0.03 if now - began < 1 else 0.15)

    def _somebody_else_listens(self, name: str, pid: int) -> bool:
        """A port that was free when it was chosen may have gone to another program, which then answers in our name."""
        return name in PORTS and services.listens(pid, self._layout.port(name)) is False

    def answers(self, name: str) -> bool:
        """Does the process answer (a store: a query; a server: HTTP)? True for workers, which cannot be asked."""
        layout = self._layout
        probes: dict[str, Callable[[], bool]] = {
            "postgres": lambda: services.postgres_is_ready(layout.database("postgres", "postgres")),
            "valkey": lambda: services.valkey_is_ready(layout.redis_url),
            "mlflow": lambda: services.http_is_ready(f"{layout.mlflow_url}/health"),
            "web": lambda: services.http_is_ready(f"http://{services.LOOPBACK}:{layout.port('web')}/readyz"),
            "gateway": lambda: services.http_is_ready(f"http://{services.LOOPBACK}:{layout.port('gateway')}/v2/health/live"),
        }
        return probes[name]() if name in probes else True

    def state(self) -> dict[str, dict[str, Any]]:
        """Supervisor's view of each process; empty when nothing runs."""
        try:
            return self._supervisor.processes()
        except SupervisionError:
            return {}

    def pid(self, name: str) -> int:
        """Process id now, 0 when it does not run."""
        return self._supervisor.pid(name)

    def kill9(self, name: str) -> int:
        """SIGKILL one process and nothing else; returns the pid it had. It comes back unless `restart=False`."""
        return self._supervisor.kill9(name)

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The last lines a process wrote."""
        try:
            return "\n".join((self.data.logs / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(it wrote nothing)"

    # bringing up

    def manage(self, *arguments: str, role: str | None = None, stdin: str | None = None) -> str:
        """Run a management command in this portal's environment and return what it printed."""
        return self._python("manage.py", *arguments, role=role, stdin=stdin or "", what=arguments[0])

    def manage_several(self, *commands: Sequence[str], role: str | None = None) -> str:
        """Run management commands one after the other in one process (a start of Django costs seconds). Ends at the first
        that fails. Returns what they printed."""
        script = "import json, sys, manage\nfor words in json.load(sys.stdin):\n    sys.argv[1:] = words\n    manage.main()"
        return self._python("-c", script, role=role, stdin=json.dumps(commands), what=" or ".join(words[0] for words in commands))

    def _python(self, *arguments: str, role: str | None, stdin: str, what: str) -> str:
        command = [str(venv_bin(".venv", "python")), *arguments]
        done = subprocess.run(command, cwd=REPO, env=self.env("manage", role), input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise StackError(f"manage.py {what} failed:\n{tail}")
        return done.stdout.strip()

    def up(self, *, without: Sequence[str] = ()) -> None:
        """Everything: services, roles, migrations, grants, policies, host, gateway token, processes (but those in `without`);
        returns when ready."""
        if not self._layout.env:
            self.prepare()
        choices.check_external(self._layout.external)
        wanted = [name for name in self.names() if name not in without]
        stores = [name for name in STORES if name in wanted]
        self.start(*stores, wait=False) if stores else self._begin()
        # With tables as they should be, those that load for seconds before they need a store may load meanwhile.
        for name in EARLY if self._migrated() else ():
            if name in wanted:
                self._supervisor.start(name)
        if stores:
            self.wait_ready(*stores)
            self.say(f"{' and '.join(stores)} answer")
        if not self._layout.external.database_url:
            roles.ensure_roles(self._layout.database("postgres", "postgres"), self._layout.env["passwords"])
        if "mlflow" in self.names():
            self._supervisor.start("mlflow")
        self.migrate()
        self.start(*[name for name in wanted if name not in (*stores, "mlflow")], wait=False)
        self.wait_ready(*wanted)
        self.say("all processes are ready")

    def migrate(self) -> None:
        """Migrations, grants, policies, the local host and the gateway's token; skipped when the code has not changed."""
        if self._migrated():
            return
        self.say("bringing the database up to date")
        self.manage_several(("migrate", "--no-input", "--verbosity", "0"), ("grant_roles",), role="gatehouse_owner")
        agent_key = str(keyring.public_keys_path(self.data, "agent"))
        said = self.manage_several(
            ("load_policies",),
            ("register_host", "--name", HOST_NAME, "--public-key-file", agent_key),
            ("issue_service_token", "--name", "gateway", "--scope", "routing"),
        )
        token = said.splitlines()[-1].strip()
        services.write_secret(self._gateway_token_path(), token + "\n")
        self._configure()
        self._supervisor.reload_configuration()
        (self.data.run / "migrated").write_text(self._code_digest())

    def _migrated(self) -> bool:
        """Was the database last brought up to date by this very code?"""
        stamp = self.data.run / "migrated"
        return stamp.exists() and stamp.read_text() == self._code_digest() and self._gateway_token_path().exists()

    def _code_digest(self) -> str:
        """Changes when migrations, grants, policies or the commands that apply them change, or the database is another."""
        external = self._layout.database("gatehouse_owner").encode() if self._layout.external.database_url else b""
        return digest_of_files("apps/*/migrations/*.py", "apps/*/grants.py", "apps/*/policies/*", "apps/*/management/commands/*.py", more=external)

    # stopping and copying

    def stop(self, *names: str) -> None:
        """Stop these processes; without names everything, in order, with what they left behind."""
        if names:
            for name in [name for name in reversed(ORDER) if name in names]:
                self._supervisor.stop(name)
            return
        guard.stop(self.data)
        if self._guard is not None:
            self._guard.wait(timeout=30)
            self._guard = None

    def guard_ended(self) -> bool:
        """Has the guard ended, so that nothing is supervised any more?"""
        return self._guard is None or self._guard.poll() is not None

    def snapshot(self, folder: Path) -> None:
        """Copy the stopped portal's data to `folder` (replaced)."""
        if guard.running(self.data):
            raise StackError("Stop the portal before its data is copied.")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        _copy([path for path in self.data.root.iterdir() if path.name not in {"run", "logs"}], folder)
        # The stamp spares a restored portal its migrations.
        if (self.data.run / "migrated").exists():
            (folder / "migrated").write_text((self.data.run / "migrated").read_text())

    def restore(self, folder: Path) -> None:
        """Fill this (absent or stopped) data folder from a snapshot. Ports are chosen anew at the next start."""
        if guard.running(self.data):
            raise StackError("Stop the portal before its data is replaced.")
        shutil.rmtree(self.data.root, ignore_errors=True)
        self.data.make()
        for name in self.data.SUBFOLDERS:
            if (folder / name).exists():
                (self.data.root / name).rmdir()
        _copy([path for path in folder.iterdir() if path.name != "migrated"], self.data.root)
        env = json.loads(self.data.env_file.read_text())
        env["ports"] = {}
        if known := env.get("postgres_cluster"):
            env["postgres_cluster"] = str(self.data.root / "postgres" / Path(known).name)
        keyring.save_env(self.data, env)
        if (folder / "migrated").exists():
            (self.data.run / "migrated").write_text((folder / "migrated").read_text())
        self._layout.env = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _copy(paths: Iterable[Path], folder: Path) -> None:
    """Copy with owners and modes; shares the blocks where the file system can."""
    sources = [str(path) for path in paths]
    if sources:
        subprocess.run(["cp", "-a", "--reflink=auto", "--", *sources, str(folder)], check=True)

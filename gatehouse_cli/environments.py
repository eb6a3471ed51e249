"""Makes the Python environments from their locks. Standard library only: it runs before any of them exists.

An environment is complete when its stamp says so: the stamp is written last and holds the digests of the locks. One
without a stamp was interrupted and is made again; one with other digests is brought in line with `uv pip sync`.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gatehouse_cli import machine
from gatehouse_cli.paths import REPO
from gatehouse_cli.say import Refusal, Say

UV_LOCK = "gatehouse_cli/requirements.txt"
STAMP = ".gatehouse-complete"
# Seen with every lock installed on Python 3.11, in MB; the package cache may lie on the same disk.
SPACE_NEEDED_MB = 4000


@dataclass(frozen=True)
class Environment:
    """A virtual environment in the repository and the locks it holds."""

    name: str
    locks: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return REPO / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def wanted(self) -> dict[str, str]:
        """Lock -> sha256 of its text."""
        return {lock: hashlib.sha256((REPO / lock).read_bytes()).hexdigest() for lock in self.locks}


PORTAL = Environment(".venv", (UV_LOCK, "requirements.txt"))
PORTAL_WITH_TESTS = Environment(".venv", (UV_LOCK, "requirements.txt", "requirements-dev.txt"))
AGENT = Environment(".venv-agent", ("celery_worker/requirements.txt",))
GATEWAY = Environment(".venv-gateway", ("gateway/requirements.txt",))
KSERVE = Environment(".venv-kserve", ("celery_worker/serving/kserve/requirements.txt",))


def environments(*, tests: bool) -> tuple[Environment, ...]:
    """Every environment, the portal's first."""
    return (PORTAL_WITH_TESTS if tests else PORTAL, AGENT, GATEWAY, KSERVE)


def stamp_of(environment: Environment) -> dict[str, str] | None:
    """Lock -> digest as last completed; None for an environment that is absent, half-made or whose Python is gone."""
    try:
        stamp = json.loads((environment.folder / STAMP).read_text())
        locks: dict[str, str] = stamp["locks"]
        # A link to an interpreter that was removed or upgraded to another minor version does not run its packages.
        if stamp["python"] != _version(environment.python):
            return None
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        return None
    return locks


def _version(python: Path) -> str:
    """Minor version of an interpreter, read from its environment's layout (running it would cost 30 ms each start)."""
    if not python.exists():
        raise FileNotFoundError(python)
    for folder in (python.parent.parent / "lib").glob("python3.*"):
        real = python.resolve().name
        if real.startswith("python3.") and real != folder.name:
            raise ValueError(f"{real} under {folder.name}")
        return folder.name
    raise FileNotFoundError(python)


def is_complete(environment: Environment) -> bool:
    """Does the environment hold at least what its locks ask for? A portal environment with the tests' packages in it
    serves the portal too."""
    stamp = stamp_of(environment)
    return stamp is not None and all(stamp.get(lock) == digest for lock, digest in environment.wanted().items())


@contextlib.contextmanager
def _one_at_a_time(say: Say) -> Iterator[None]:
    """Two launchers must not build the same environment: the repository's folder itself is the lock."""
    descriptor = os.open(REPO, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another ./gatehouse is setting up; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def ensure(*, tests: bool, say: Say) -> None:
    """Bring every environment in line with its locks. Raises Refusal with the remedy when that cannot be done."""
    if all(is_complete(environment) for environment in environments(tests=tests)):
        return
    machine.check_python()
    machine.check_writable(REPO, "making the Python environments")
    with _one_at_a_time(say):
        missing = [environment for environment in environments(tests=tests) if not is_complete(environment)]
        if any(stamp_of(environment) is None for environment in missing):
            machine.check_space(REPO, SPACE_NEEDED_MB, "making the Python environments")
        started = time.monotonic()
        _ensure_uv(say)
        with ThreadPoolExecutor(max_workers=2) as pool:
            for done in [pool.submit(_build, environment, say) for environment in missing]:
                done.result()
        say(f"Python environments are ready, set-up took {time.monotonic() - started:.0f} s")


def _ensure_uv(say: Say) -> None:
    """`.venv` with uv in it, by pip and with its hash checked."""
    uv = PORTAL.folder / "bin" / "uv"
    if stamp_of(PORTAL) is not None and uv.exists():
        return
    if stamp_of(PORTAL) is None:
        if PORTAL.folder.exists():
            say(".venv is half-made or its Python is gone: making it again")
            shutil.rmtree(PORTAL.folder)
        say(f"making .venv with {sys.executable} and installing uv")
        _run([sys.executable, "-m", "venv", str(PORTAL.folder)], "python -m venv")
    _run(
        [str(PORTAL.python), "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", "-r", UV_LOCK],
        "pip install uv",
    )


_say_lock = threading.Lock()


def _build(environment: Environment, say: Say) -> None:
    """Make or mend one environment; the stamp comes last."""
    uv = str(PORTAL.folder / "bin" / "uv")
    stamp, folder = stamp_of(environment), environment.folder
    started = time.monotonic()
    if environment.name != PORTAL.name and stamp is None:
        shutil.rmtree(folder, ignore_errors=True)
        base = str(PORTAL.python.resolve())
        _run([uv, "venv", "--quiet", "--no-project", "--python", base, str(folder)], f"uv venv {environment.name}")
    (folder / STAMP).unlink(missing_ok=True)
    with _say_lock:
        say(f"installing {environment.name} from {', '.join(environment.locks)}")
    _run(
        [uv, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode", "--python", str(environment.python)]
        + [str(REPO / lock) for lock in environment.locks],
        f"uv pip sync {environment.name}",
    )
    content = json.dumps({"python": _version(environment.python), "locks": environment.wanted()}, indent=1)
    temporary = folder / (STAMP + ".new")
    temporary.write_text(content)
    temporary.rename(folder / STAMP)
    with _say_lock:
        say(f"{environment.name} is complete ({time.monotonic() - started:.0f} s)")


def _tool_environment() -> dict[str, str]:
    """The caller's variables, with pip's index and certificates passed on to uv. uv looks at the system's certificates
    too, as behind a company's proxy no other will do."""
    env = {key: value for key, value in os.environ.items() if key not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}}
    env.setdefault("UV_PYTHON_DOWNLOADS", "never")
    env.setdefault("UV_HTTP_TIMEOUT", "120")
    env.setdefault("UV_SYSTEM_CERTS", "1")
    if env.get("PIP_CERT"):
        env.setdefault("SSL_CERT_FILE", env["PIP_CERT"])
    index = env.get("PIP_INDEX_URL") or _pip_setting("global.index-url")
    if index:
        env.setdefault("UV_DEFAULT_INDEX", index)
    return env


@functools.cache
def _pip_setting(name: str) -> str:
    """What pip's configuration files say, empty for nothing."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "get", name], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _run(command: list[str], what: str) -> None:
    """Run a set-up step; a failure becomes a refusal with the last lines of its output."""
    try:
        done = subprocess.run(
            command, cwd=REPO, env=_tool_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise Refusal(f"{what} could not be started: {error}. Remove .venv and start again.") from error
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip()
        tail = "\n".join(output.splitlines()[-15:])
        raise Refusal(f"{what} failed. {_remedy(output)}\n{tail}")


def _remedy(output: str) -> str:
    """What to do about a failed installation, from what the tool printed."""
    low = output.lower()
    if "no space left" in low or "os error 28" in low:
        return "The disk is full: free some space and start again; what is half-made is made anew."
    if "ensurepip" in low:
        return f"{sys.executable} lacks ensurepip: apt-get install python3-venv, or name another Python in GATEHOUSE_PYTHON."
    if any(word in low for word in ("connection", "dns", "resolve", "timed out", "certificate", "proxy", "tunnel")):
        return "The package index could not be reached: check the network, HTTPS_PROXY, or PIP_INDEX_URL for a mirror."
    if "hash" in low and "mismatch" in low:
        return "A package differs from the lock: the index or mirror serves another file. Use the public index."
    return "Start again; if it fails in the same way, ./gatehouse doctor says more."

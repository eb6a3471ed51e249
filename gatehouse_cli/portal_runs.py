"""A portal in the foreground: start it, tell the sample story, stay, and stop in order however the end comes."""

import contextlib
import getpass
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from gatehouse_cli import demo_file, keyring
from gatehouse_cli.paths import REPO, venv_bin
from gatehouse_cli.programs import HOST_NAME, portal_environment
from gatehouse_cli.say import Refusal, say
from gatehouse_cli.services import write_secret
from gatehouse_cli.stack import Stack, StackError


class Ended(BaseException):
    """A signal told the launcher to end. Not an Exception, so that nothing swallows it."""


def public_addresses() -> dict[str, str]:
    """Addresses of a portal that stands behind a proxy, from the person's environment."""
    names = ("GATEHOUSE_BASE_URL", "GATEHOUSE_GATEWAY_URL", "GATEHOUSE_ALLOWED_HOSTS")
    return {name: os.environ[name].rstrip("/") for name in names if os.environ.get(name)}


def _end(number: int, frame: object) -> None:
    # Once is enough: stopping in order must not be interrupted by impatience.
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise Ended(number)


def _tell(text: str) -> None:
    """Say it if the terminal is still there."""
    with contextlib.suppress(OSError):
        say(text)


def run(
    stack: Stack,
    work: Callable[[], int],
    *,
    stay: bool,
    leave: bool = False,
    only: Sequence[str] = (),
    prepare: Callable[[], None] | None = None,
) -> int:
    """Bring the portal up (or `only` these services), do the work, perhaps stay, and stop everything in order.

    `prepare`: comes first, where signals are already heeded. `leave`: keep it running when the work succeeded. Returns the
    work's result; after Ctrl-C 0 when it had been reached.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
            signal.signal(number, _end)
    stop = False
    try:
        if prepare:
            prepare()
        stack.prepare()
        stop = True
        if only:
            stack.start(*only)
        else:
            stack.up()
        result = work()
        if leave and result == 0:
            stop = False
            return 0
        if stay and result == 0:
            _stay(stack)
        return result
    except Ended:
        _tell("stopping in order ...")
        if stay:
            return 0
        raise
    finally:
        if stop:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            started = time.monotonic()
            stack.stop()
            _tell(f"stopped ({time.monotonic() - started:.1f} s)")


def _stay(stack: Stack) -> None:
    """Until a signal ends it; says when a process keeps dying."""
    told: set[str] = set()
    while True:
        time.sleep(1)
        if stack.guard_ended():
            raise StackError(f"the processes were stopped from elsewhere, or supervisor was killed (see {stack.data.logs}). Start again.")
        for name, state in stack.state().items():
            trouble = state["statename"] in {"BACKOFF", "FATAL"}
            if trouble and name not in told:
                told.add(name)
                _tell(f"{name} keeps ending and is started again and again; its log: {stack.data.logs / (name + '.log')}")
            elif not trouble and name in told and state["statename"] == "RUNNING" and state["now"] - state["start"] > 10:
                told.discard(name)
                _tell(f"{name} runs again")


def child(command: Sequence[str], env: dict[str, str]) -> int:
    """Run a command in the foreground; when the launcher is told to end, the command is told too."""
    process = subprocess.Popen(list(command), cwd=REPO, env=env)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def services_environment(stack: Stack) -> dict[str, str]:
    """Every variable a test may want: the services, each role's URL, folders and keys. DATABASE_URL is the owner's, which
    may create test databases."""
    data = stack.data
    env = portal_environment(stack.layout, "manage", "gatehouse_owner")
    for name in ("owner", "web", "control", "seal"):
        env[f"GATEHOUSE_{name.upper()}_DATABASE_URL"] = stack.database_url(f"gatehouse_{name}")
    return env | {
        "GATEHOUSE_SUPERUSER_DATABASE_URL": stack.database_url("postgres"),
        "GATEHOUSE_ALLOWED_HOSTS": "127.0.0.1,localhost,testserver",
        "GATEHOUSE_SEAL_KEY": str(keyring.private_key_path(data, "seal")),
        "GATEHOUSE_AGENT_KEY": str(keyring.private_key_path(data, "agent")),
        "GATEHOUSE_AGENT_NAME": HOST_NAME,
        "GATEHOUSE_AGENT_STATE": str(data.root / "agents" / HOST_NAME),
        "GATEHOUSE_GATEWAY_STATE": str(data.root / "gateway"),
        "GATEHOUSE_ENGINE_PYTHON_KSERVE": str(venv_bin(".venv-kserve", "python")),
    }


# The sample story


def connections(stack: Stack) -> dict[str, Any]:
    """The parts of demo.json that the launcher knows. Database and broker URLs are null when somebody else runs them."""
    external = stack.layout.external
    return {
        "base_url": stack.base_url,
        "gateway_url": stack.gateway_url,
        "mlflow_url": f"{stack.base_url}/mlflow",
        "database_app_url": None if external.database_url else stack.database_url("gatehouse_web"),
        "database_superuser_url": None if external.database_url else stack.database_url("postgres"),
        "broker_url": None if external.redis_url else stack.layout.redis_url,
        "audit": {
            "table": "audit_event",
            "payload_column": "payload",
            "verify_command": [
                str(venv_bin(".venv", "python")), str(REPO / "verifier"), "--public-key", str(keyring.public_keys_path(stack.data, "seal")),
            ],
            "witnessed_checkpoint": str(stack.data.root / "witness" / "latest"),
        },
    }


def journey(stack: Stack, *, check: bool) -> int:
    """Run the sample journey against the portal. Its progress lines go to the terminal."""
    write_secret(stack.data.run / "stack.json", json.dumps(connections(stack), indent=1) + "\n")
    command = [str(venv_bin(".venv", "python")), "-m", "demo.journey", "--data", str(stack.data.root)]
    return child([*command, "--check"] if check else command, stack.env("manage") | {"PYTHONUNBUFFERED": "1"})


def tell_story(stack: Stack, *, check: bool) -> int:
    """`demo` once the portal is up: the journey, unless an earlier start has finished it; then what a visitor needs."""
    known = demo_file.read(stack.data)
    if check or not demo_file.told(known):
        code = journey(stack, check=check)
        if code or check:
            return code
        known = demo_file.read(stack.data)
    else:
        write_secret(stack.data.run / "stack.json", json.dumps(connections(stack), indent=1) + "\n")
        known = moved(known, connections(stack))
        _endpoint_answers(known)
        demo_file.write(stack.data, known | {"ready": True, "told": True})
    _introduce(stack, known)
    return 0


def moved(known: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """An earlier demo.json with today's addresses: a port may have been taken since."""
    old_gateway = str(known.get("gateway_url") or "")
    result = known | now
    endpoint = dict(known.get("endpoint") or {})
    url = str(endpoint.get("infer_url") or "")
    if url and "/v2/" in url:
        endpoint["infer_url"] = str(now["gateway_url"]) + url[url.index("/v2/") :] if old_gateway != now["gateway_url"] else url
        result["endpoint"] = endpoint
    return result


def _endpoint_answers(known: dict[str, Any], patience_s: float = 60) -> None:
    """Wait until the sample endpoint predicts again: its engine was stopped with the portal and is ordered anew."""
    endpoint = known.get("endpoint") or {}
    url, key, example = endpoint.get("infer_url"), endpoint.get("api_key"), endpoint.get("example_request")
    if not (url and key and example):
        return
    request = urllib.request.Request(  # noqa: S310 - our own http:// address
        url, json.dumps(example).encode(), {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    )
    deadline, last = time.monotonic() + patience_s, ""
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    say("the sample endpoint answers")
                    return
        except urllib.error.HTTPError as error:
            last = f"HTTP {error.code}"
        except OSError as error:
            last = str(error)
        time.sleep(0.2)
    say(f"the sample endpoint does not answer yet ({last}); its page shows why")


def _introduce(stack: Stack, known: dict[str, Any]) -> None:
    """Address and accounts, for the person at the terminal."""
    say(f"Gatehouse is at {stack.base_url}")
    for account in known.get("accounts") or []:
        role = account.get("role", "") + (f" ({account['function']})" if account.get("function") else "")
        print(f"    {role:24} {account.get('email', ''):36} {account.get('password', '')}")
    print(f"    for scripts: {stack.data.root / 'demo.json'}\n    Ctrl-C stops everything", flush=True)


# An empty portal


def first_administrator(stack: Stack, email: str | None, name: str) -> None:
    """Make the first account of a portal that has none. The password comes from the terminal or standard input."""
    with psycopg.connect(stack.database_url("gatehouse_web")) as connection:
        row = connection.execute("SELECT count(*) FROM accounts_user WHERE email NOT LIKE '%@service.invalid'").fetchone()
    if row and row[0]:
        return
    if not email:
        if not sys.stdin.isatty():
            say("there is no account yet: ./gatehouse manage create_account --email E --name N --role admin")
            return
        email = input("First administrator's email: ").strip()
        name = input(f"Name [{name}]: ").strip() or name
    if sys.stdin.isatty():
        password = getpass.getpass("Password (at least 12 characters): ")
        if getpass.getpass("Again: ") != password:
            raise Refusal("the two passwords differ. Start again.")
    else:
        password = sys.stdin.readline().rstrip("\n")
    say(stack.manage("create_account", "--email", email, "--name", name, "--role", "admin", stdin=password + "\n"))

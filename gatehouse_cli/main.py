"""`./gatehouse demo | up | down | manage | test | bench | doctor`, inside `.venv`."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import psycopg

from gatehouse_cli import doctor, guard, keyring, machine, portal_runs, roles, suite
from gatehouse_cli.asuser import CannotChangeUser
from gatehouse_cli.paths import REPO, DataDir, default_data_dir, venv_bin
from gatehouse_cli.programs import HOST_NAME, External
from gatehouse_cli.say import Refusal, explain, say
from gatehouse_cli.services import ServiceError
from gatehouse_cli.stack import STORES, Stack, StackError
from gatehouse_cli.supervision import SupervisionError

# What a fresh portal with the sample story takes, and what each start wants to find free.
DATA_SPACE_MB = 600
# These change tables, so they run as the owner; everything else runs with what the portal itself may do.
OWNER_COMMANDS = {
    *("migrate", "makemigrations", "sqlmigrate", "showmigrations", "sqlflush", "flush"),
    *("grant_roles", "dbshell", "dumpdata", "loaddata", "inspectdb"),
}


def _data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="data folder; default: $GATEHOUSE_DATA, else .gatehouse beside the launcher")


def data_dir(option: str | None) -> Path:
    """The data folder a person named, relative to where they called from."""
    if option is None:
        return default_data_dir()
    return Path(os.environ.get("GATEHOUSE_CALLED_FROM", "."), Path(option).expanduser()).resolve()


def port_number(text: str) -> int:
    """A TCP port an ordinary process may listen on."""
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 1024 to 65535")
    if int(text) < 1024 and os.getuid() != 0:
        raise argparse.ArgumentTypeError(f"port {text} needs root; choose one from 1024, and put a proxy in front if need be")
    return int(text)


def _portal_options(parser: argparse.ArgumentParser) -> None:
    _data_option(parser)
    parser.add_argument("--port", type=port_number, help="the portal's port on 127.0.0.1; default: 8700, or a free one")
    parser.add_argument("--gateway-port", type=port_number, help="the inference gateway's port; default: 8701, or a free one")
    parser.add_argument("--system-postgres", action="store_true", help="run the PostgreSQL (15 or newer) this system has installed")
    parser.add_argument("--system-valkey", action="store_true", help="run the Valkey, or Redis 7, this system has installed")


def make_stack(options: argparse.Namespace, *, demo: bool, tied: bool = True) -> Stack:
    """The portal the options and the environment describe, not yet prepared."""
    folder = data_dir(options.data)
    machine.check_writable(folder, "keeping data")
    machine.check_space(folder, DATA_SPACE_MB, "keeping data")
    wished = {"web": options.port, "gateway": options.gateway_port}
    return Stack(
        folder,
        ports={name: port for name, port in wished.items() if port},
        preferred_ports={"web": 8700, "gateway": 8701},
        demo=demo,
        tied=tied,
        external=External.from_environment(),
        system_postgres=options.system_postgres,
        system_valkey=options.system_valkey,
        addresses={} if demo else portal_runs.public_addresses(),
        say=say,
    )


def demo(arguments: list[str]) -> int:
    """Start everything, run the journey, stay until told to end (or end, with --check)."""
    parser = argparse.ArgumentParser(prog="./gatehouse demo", description=demo.__doc__)
    _portal_options(parser)
    parser.add_argument("--check", action="store_true", help="run the journey, verify every step from outside, end with its result")
    options = parser.parse_args(arguments)
    if options.check and (pid := guard.running(DataDir(data_dir(options.data)))):
        stack = Stack(data_dir(options.data), demo=True, external=External.from_environment(), say=say)
        stack.attach()
        if not stack.layout.demo:
            raise Refusal(
                f"the portal that runs in {stack.data.root} is not the sample one: its journey makes accounts and use cases that do "
                "not belong there. Name another folder with --data DIR."
            )
        say(f"a portal already runs in {stack.data.root} (process {pid}): checking that one")
        return portal_runs.journey(stack, check=True)
    stack = make_stack(options, demo=True)
    return portal_runs.run(stack, lambda: portal_runs.tell_story(stack, check=options.check), stay=not options.check)


def up(arguments: list[str]) -> int:
    """Start an empty portal; asks for the first administrator."""
    parser = argparse.ArgumentParser(prog="./gatehouse up", description=up.__doc__)
    _portal_options(parser)
    parser.add_argument("--detach", action="store_true", help="leave it running in the background; ./gatehouse down stops it")
    parser.add_argument("--admin-email", help="first administrator; the password is read from the terminal or standard input")
    parser.add_argument("--admin-name", default="Administrator", help="how the first administrator is called")
    options = parser.parse_args(arguments)
    stack = make_stack(options, demo=False, tied=not options.detach)

    def ready() -> int:
        portal_runs.first_administrator(stack, options.admin_email, options.admin_name)
        say(f"Gatehouse is at {stack.base_url}, inference at {stack.gateway_url}")
        return 0

    return portal_runs.run(stack, ready, stay=not options.detach, leave=options.detach)


def down(arguments: list[str]) -> int:
    """Stop the portal that runs in a data folder, and whatever a killed one left there."""
    parser = argparse.ArgumentParser(prog="./gatehouse down", description=down.__doc__)
    _data_option(parser)
    data = DataDir(data_dir(parser.parse_args(arguments).data))
    say("stopping") if guard.running(data) else None
    if guard.stop(data):
        say(f"nothing of Gatehouse runs in {data.root} any more")
    else:
        say(f"nothing of Gatehouse runs in {data.root}")
    return 0


def manage(arguments: list[str]) -> int:
    """Run a management command of the portal; `--data DIR` may come first. Starts the stores for its duration if need be."""
    folder = default_data_dir()
    if arguments[:1] == ["--data"] and len(arguments) > 1:
        folder, arguments = data_dir(arguments[1]), arguments[2:]
    stack = Stack(folder, external=External.from_environment(), addresses=portal_runs.public_addresses(), say=say)
    started = not guard.running(stack.data)
    if started:
        stack.prepare()
    else:
        stack.attach()
    try:
        if started and (stores := [name for name in stack.names() if name in STORES]):
            stack.start(*stores)
            if "postgres" in stores:
                roles.ensure_roles(stack.database_url("postgres", "postgres"), stack.layout.env["passwords"])
        command = arguments[0] if arguments else "help"
        process = "seal" if command == "seal_trail" else "manage"
        env = stack.env(process, "gatehouse_owner" if command in OWNER_COMMANDS else None)
        return subprocess.run([str(venv_bin(".venv", "python")), "manage.py", *arguments], cwd=REPO, env=env, check=False).returncode
    finally:
        if started:
            stack.stop()


def keys(arguments: list[str]) -> int:
    """The signing keys: `list` shows them with their ages, `rotate` has the order key, or this host's agent key, hand over to a new one."""
    parser = argparse.ArgumentParser(prog="./gatehouse keys", description=keys.__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="ids and ages; JSON with --json")
    listing.add_argument("--json", action="store_true", help="print them as JSON")
    rotate = verbs.add_parser("rotate", help="sign with a new key; the others learn it from the old one's signature")
    rotate.add_argument("which", nargs="?", choices=("order", "agent"), default="order", help="order: what control signs (the default); agent: this host's reports")
    rotate.add_argument("--overlap", type=float, default=24.0, metavar="HOURS", help="hours in which the old key still counts (24)")
    for made in (listing, rotate):
        _data_option(made)
    options = parser.parse_args(arguments)
    folder = data_dir(options.data)
    if options.verb == "rotate" and options.which == "agent":
        return _rotate_agent_key(DataDir(folder), options.overlap)
    if options.verb == "rotate":
        return manage(["--data", str(folder), "rotate_order_key", "--overlap", str(options.overlap)])
    rows = [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(age).items()}
        for age in keyring.ages(DataDir(folder).keys)
    ]
    if options.json:
        print(json.dumps(rows, indent=1))
    for row in [] if options.json else rows:
        print(f"{row['purpose']:6} {row['key_id']}  made {row['created_at'] or 'at an unknown time'}", end="")
        print(f", rotated out, accepted until {row['accepted_until']}" if row["accepted_until"] else "")
    return 0


def _rotate_agent_key(data: DataDir, overlap_hours: float) -> int:
    """Rotate it as any serving host does, then show this portal the hand-over; it would come with the next report too."""
    key = keyring.private_key_path(data, "agent")
    command = [str(venv_bin(".venv-agent", "python")), "-m", "celery_worker.agent.own_key", "--key", str(key), "--overlap", str(overlap_hours)]
    if code := subprocess.run(command, cwd=REPO, check=False).returncode:
        return code
    public = str(keyring.public_keys_path(data, "agent"))
    return manage(["--data", str(data.root), "register_host", "--name", HOST_NAME, "--public-key-file", public])


def test(arguments: list[str]) -> int:
    """The suite against real services; arguments go to pytest. What is marked `long` is left out unless asked for."""
    words, shortened = suite.pytest_words(arguments)
    code = suite.with_services([str(venv_bin(".venv", "python")), "-m", "pytest", *words], {})
    if shortened:
        say("tests marked `long` were left out; ./gatehouse test --all runs them too")
    return code


def bench(arguments: list[str]) -> int:
    """Run bench/NAME.py against private services; without a name, list what there is."""
    scripts = {path.stem: path for path in sorted((REPO / "bench").glob("*.py")) if not path.name.startswith("_")}
    if not arguments or arguments[0] not in scripts:
        for name, path in scripts.items():
            first = next((line.strip(' "') for line in path.read_text().splitlines() if line.startswith('"""')), "")
            print(f"{name:24} {first}")
        if arguments:
            raise Refusal(f"there is no bench/{arguments[0]}.py; the list above names what there is.")
        return 0
    command = [str(venv_bin(".venv", "python")), str(scripts[arguments[0]]), *arguments[1:]]
    return suite.with_services(command, {"PYTHONPATH": str(REPO)})


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo, "up": up, "down": down, "manage": manage, "keys": keys, "test": test, "bench": bench, "doctor": doctor.main,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run a command. Exit codes: the command's own; 2 when refused, with the remedy on standard error; 130 after Ctrl-C."""
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except (Refusal, StackError, ServiceError, SupervisionError, CannotChangeUser) as error:
        explain(error)
    except psycopg.OperationalError as error:
        explain(Refusal(f"the database cannot be used: {str(error).strip()}. Check DATABASE_URL, or ./gatehouse doctor."))
    except OSError as error:
        remedy = "Free some space and start again." if error.errno == 28 else "Mend that and start again; ./gatehouse doctor says more."
        explain(Refusal(f"{error}. {remedy}"))
    except portal_runs.Ended:
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

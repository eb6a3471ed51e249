"""`./gatehouse doctor`: what is installed, running, reachable, wrong, and how to mend it.

Only the standard library at import: it must speak when `.venv` is broken.
"""

import argparse
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gatehouse_cli import environments, machine, orphans
from gatehouse_cli.paths import REPO, DataDir, default_data_dir
from gatehouse_cli.say import Refusal

if TYPE_CHECKING:
    from gatehouse_cli.stack import Stack

OK, NOTE, WRONG = "ok", "note", "wrong"
ROTATE_AFTER_DAYS = 365


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `state` is ok, note (works, but know this) or wrong; `remedy` is empty when ok."""

    subject: str
    state: str
    found: str
    remedy: str = ""


def judge(subject: str, fine: bool, found: str, remedy: str, *, otherwise: str = WRONG) -> Finding:
    """A finding with a remedy only when it is not fine."""
    return Finding(subject, OK, found) if fine else Finding(subject, otherwise, found, remedy)


def _refusal(subject: str, check: Callable[[], None], fine: str) -> Finding:
    try:
        check()
    except Refusal as refusal:
        found, _, remedy = str(refusal).partition(". ")
        return Finding(subject, WRONG, found, remedy or "See above.")
    return Finding(subject, OK, fine)


def look_at_machine() -> Iterator[Finding]:
    """Platform, Python, memory."""
    yield _refusal("platform", machine.check_platform, "Linux x86_64, glibc " + (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")[2])
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield _refusal("python", machine.check_python, f"{version} ({sys.executable})")
    total_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    yield judge("memory", total_gb >= 3.5, f"{total_gb:.1f} GB", "The demo takes about 2.5 GB; give it 4 GB.", otherwise=NOTE)


def look_at_environments() -> Iterator[Finding]:
    """Each Python environment against its locks."""
    for environment in environments.environments(tests=False):
        stamp = environments.stamp_of(environment)
        if environments.is_complete(environment):
            yield Finding(environment.name, OK, "complete, as its locks say")
        elif stamp is not None:
            yield Finding(environment.name, WRONG, "its lock has changed since", "./gatehouse doctor --mend, or any start")
        elif environment.folder.exists():
            yield Finding(environment.name, WRONG, "half-made, or its Python is gone", "./gatehouse doctor --mend, or any start")
        else:
            yield Finding(environment.name, WRONG, "not there", "./gatehouse doctor --mend, or any start")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def secret_files(data: DataDir) -> list[Path]:
    """Files only their owner may read."""
    named = [data.env_file, data.root / "demo.json", data.run / "stack.json", data.run / "supervisord.conf", data.valkey / "valkey.conf"]
    return [path for path in [*named, *data.keys.glob("*.pem"), *data.keys.glob("*.token")] if path.is_file()]


def look_at_data(data: DataDir) -> Iterator[Finding]:
    """The data folder: there, ours, closed, with room."""
    found = str(data.root) if data.root.exists() else f"{data.root} is not there yet; the first start makes it"
    yield _refusal("data folder", lambda: machine.check_writable(data.root, "keeping data"), found)
    if not os.access(data.root, os.R_OK | os.X_OK):
        return
    open_files = [path for path in [data.root, *secret_files(data)] if _mode(path) & 0o077]
    if open_files:
        names = ", ".join(str(path) for path in open_files)
        yield Finding("permissions", WRONG, f"others may read {names}", "./gatehouse doctor --mend, or chmod go= " + names)
    else:
        yield Finding("permissions", OK, "secrets are readable by their owner only")
    free_mb = shutil.disk_usage(data.root).free // 1_000_000
    remedy = "Free some space, or move the folder and name it with --data DIR."
    yield judge("disk", free_mb > 1000, f"{free_mb:,} MB free for {data.root}", remedy)


def look_at_keys(data: DataDir) -> Iterator[Finding]:
    """How old the signing keys are, and which old ones are still accepted. (cryptography is there only with the packages.)"""
    from gatehouse_cli import keyring

    moment = datetime.now(UTC)
    for age in keyring.ages(data.keys):
        days = (moment - age.created_at).days if age.created_at else None
        old = f"{days} days old" if days is not None else "of unknown age"
        if age.accepted_until is not None:
            state = "accepted until" if age.accepted_until > moment else "refused since"
            yield Finding(f"{age.purpose} key", OK, f"{age.key_id}, rotated out, {state} {age.accepted_until:%Y-%m-%d %H:%M} UTC")
            continue
        rotates = {"order": "./gatehouse keys rotate", "agent": "./gatehouse keys rotate agent"}
        remedy = rotates.get(age.purpose, "docs/how-to/production.md says how.")
        fine = age.purpose != "order" or days is None or days <= ROTATE_AFTER_DAYS
        yield judge(f"{age.purpose} key", fine, f"{age.key_id}, {old}", remedy, otherwise=NOTE)


def look_at_tools() -> Iterator[Finding]:
    """What is nice to have."""
    chromium = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    remedy = "Browser tests skip without it: apt-get install chromium"
    yield judge("chromium", chromium is not None, chromium or "none", remedy, otherwise=NOTE)


def look_at_processes(data: DataDir) -> Iterator[Finding]:
    """The running portal, process by process; or what a killed one left behind."""
    from gatehouse_cli import guard
    from gatehouse_cli.programs import External
    from gatehouse_cli.stack import Stack

    pid = guard.running(data)
    if not pid:
        left = orphans.find(data) if data.root.exists() else []
        if left:
            remedy = f"./gatehouse down --data {data.root}, or start again"
            yield Finding("processes", WRONG, f"a killed portal left {len(left)} processes: {left}", remedy)
        else:
            yield Finding("processes", NOTE, "nothing runs", "./gatehouse up, or ./gatehouse demo")
        return
    stack = Stack(data.root, external=External.from_environment())
    stack.attach()
    states = stack.state()
    if not states:
        found = f"process {pid} holds the folder, but supervisor does not answer"
        yield Finding("supervisor", WRONG, found, f"./gatehouse down --data {data.root}")
        return
    yield Finding("address", OK, f"{stack.base_url}, inference at {stack.gateway_url}")
    for name, state in states.items():
        log = data.logs / f"{name}.log"
        if state["statename"] != "RUNNING":
            yield Finding(name, WRONG, state["statename"].lower(), f"its log says why: {log}")
        elif not stack.answers(name):
            yield Finding(name, WRONG, f"runs (pid {state['pid']}) but does not answer", f"its log may say why: {log}")
        else:
            yield Finding(name, OK, f"pid {state['pid']}, up {state['now'] - state['start']} s")
    if not stack.layout.external.mlflow_url:
        yield from look_at_mlflow(stack.layout.mlflow_url, stack.layout.mlflow_token)
    yield from _migrations(stack)


def _migrations(stack: "Stack") -> Iterator[Finding]:
    from gatehouse_cli.stack import StackError

    try:
        stack.manage("migrate", "--check", role="gatehouse_owner")
    except StackError as error:
        # It prints what is missing; whatever else kept it from looking ends in the name of an error.
        last = str(error).splitlines()[-1]
        if "Error: " in last:
            yield Finding("migrations", WRONG, f"cannot be looked at: {last}", "Put right what is wrong above, then ask again.")
            return
        yield Finding("migrations", WRONG, "the database is older than the code", "Stop and start again: a start migrates.")
    else:
        yield Finding("migrations", OK, "all applied")
        yield from _history(stack)


def _history(stack: "Stack") -> Iterator[Finding]:
    """Every governed table watched; every change of one told by an event of its transaction."""
    from gatehouse_cli.stack import StackError

    try:
        said = stack.manage("check_history", "--json", role="gatehouse_owner")
    except StackError as error:
        said = str(error)
    lines = said.strip().splitlines()
    answer = next((json.loads(line) for line in lines if line.startswith('{"tables"')), None)
    if answer is None:
        yield Finding("row history", WRONG, f"cannot be looked at: {lines[-1]}", "Try it yourself: ./gatehouse manage check_history")
        return
    wrong = answer["tables"] + [f"no event tells of: {change}" for change in answer["untold"]]
    if wrong:
        found = "; ".join(wrong[:3]) + (f"; {len(wrong) - 3} more" if len(wrong) > 3 else "")
        yield Finding("row history", WRONG, found, "Read them all: ./gatehouse manage check_history. Ask whoever did it for the reason.")
    else:
        yield Finding("row history", OK, f"{answer['watched']} tables are watched; an event tells of every change")


def look_at_external() -> Iterator[Finding]:
    """Services that somebody else runs and the environment names."""
    from gatehouse_cli import services
    from gatehouse_cli.programs import External

    external = External.from_environment()
    silent = "does not answer, or refuses"
    for variable, url in (
        ("DATABASE_URL", external.database_url),
        ("GATEHOUSE_OWNER_DATABASE_URL", external.owner_database_url),
        ("GATEHOUSE_SEAL_DATABASE_URL", external.seal_database_url),
    ):
        if url:
            fine = services.postgres_is_ready(url)
            yield judge(variable, fine, "answers" if fine else silent, "Check host, role and password.")
    if external.database_url and not external.seal_database_url:
        remedy = "Give the sealer a role of its own; see docs/how-to/production.md."
        yield Finding("GATEHOUSE_SEAL_DATABASE_URL", NOTE, "not set: the sealer shares a role", remedy)
    if external.redis_url:
        fine = services.valkey_is_ready(external.redis_url)
        yield judge("REDIS_URL", fine, "answers" if fine else silent, "Check host and password.")
    if external.mlflow_url:
        fine = services.http_is_ready(f"{external.mlflow_url}/health")
        yield judge("GATEHOUSE_MLFLOW_URL", fine, "answers" if fine else silent, "Check the address.")
        yield from look_at_mlflow(external.mlflow_url, external.mlflow_token)


def look_at_mlflow(url: str, token: str = "") -> Iterator[Finding]:
    """Whether the MLflow server that answers is of the version that the portal's locks pin; nothing where it does not say."""
    from importlib.metadata import version

    from gatehouse_cli import services

    pinned, found = version("mlflow"), services.http_text(f"{url}/version", token=token)
    if found:
        remedy = f"The endpoint knows the addresses of {pinned}: run that version, or update the portal."
        yield judge("mlflow version", found == pinned, found if found == pinned else f"{found}, not {pinned}", remedy)


def mend(data: DataDir) -> None:
    """What can be put right without asking: modes of secret files. (Environments were mended before.)"""
    if data.root.exists() and data.root.stat().st_uid == os.getuid():
        data.root.chmod(0o700)
        for path in secret_files(data):
            path.chmod(0o600)


def examine(data: DataDir, *, with_packages: bool) -> list[Finding]:
    """Look at everything. `with_packages=False`: only what needs no installed package."""
    findings = [*look_at_machine(), *look_at_environments(), *look_at_data(data), *look_at_tools()]
    if with_packages:
        findings += [*look_at_keys(data), *look_at_processes(data), *look_at_external()]
    return findings


def report(findings: list[Finding], *, as_json: bool) -> int:
    """Print the findings; 0 when nothing is wrong, 1 otherwise."""
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{finding.state:6} {finding.subject:16} {finding.found}")
            if finding.remedy:
                print(f"{'':23} -> {finding.remedy}")
    return int(any(finding.state == WRONG for finding in findings))


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="./gatehouse doctor", description=__doc__)
    parser.add_argument("--data", metavar="DIR", help="data folder to look at")
    parser.add_argument("--mend", action="store_true", help="put right what can be put right without asking")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    called_from = Path(os.environ.get("GATEHOUSE_CALLED_FROM", "."))
    data = DataDir((called_from / Path(options.data).expanduser()).resolve() if options.data else default_data_dir())
    if options.mend:
        mend(data)
    return report(examine(data, with_packages=environments.is_complete(environments.PORTAL)), as_json=options.json)


def without_environment(arguments: list[str]) -> int:
    """`doctor` and `down` on a checkout where nothing is set up."""
    if arguments[0] == "down":
        folder = arguments[arguments.index("--data") + 1] if "--data" in arguments[:-1] else default_data_dir()
        data = DataDir(Path(os.environ.get("GATEHOUSE_CALLED_FROM", REPO), folder).resolve())
        ended = orphans.end(data)
        print(f"nothing is set up here; ended {len(ended)} left-over processes")
        return 0
    return main(arguments[1:])

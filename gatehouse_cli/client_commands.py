"""The client's commands: the vocabulary read by argparse, each turned into one call."""

import argparse
import getpass
import json
import os
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

from gatehouse_cli.audit_commands import asof
from gatehouse_cli.client import DONE, NOT_FOUND, TOO_LATE, USAGE, Client, read_json, refuse
from gatehouse_cli.client_vocabulary import NOUNS
from gatehouse_cli.vocabulary import Command

__all__ = ["NOUNS", "Command", "parser", "run"]


def parser() -> argparse.ArgumentParser:
    """The whole vocabulary."""
    top = argparse.ArgumentParser(prog="./gatehouse", description="A client of a portal: GATEHOUSE_URL, GATEHOUSE_TOKEN.")
    nouns = top.add_subparsers(dest="noun", required=True, metavar="NOUN")
    for noun, (text, commands) in NOUNS.items():
        verbs = nouns.add_parser(noun, help=text, description=text).add_subparsers(dest="verb", required=True, metavar="VERB")
        for command in commands:
            _add(verbs.add_parser(command.verb, help=command.help, description=command.help), command)
    then = nouns.add_parser("asof", help="what was live at a moment: versions, shares, decisions, signatures")
    then.add_argument("at", help="the moment, such as 2026-11-01T12:00Z")
    then.add_argument("--usecase", metavar="USECASE", help="use case: slug or id")
    then.add_argument("--most", type=int, default=1000, help="at most so many endpoints (1000)")
    nouns.add_parser("whoami", help="whose token this is")
    api = nouns.add_parser("api", help="any call: api GET kpis/?usecase=... (path below /api/v1/)")
    api.add_argument("method", choices=("GET", "POST", "PUT", "PATCH", "DELETE"))
    api.add_argument("path")
    api.add_argument("--json", metavar="FILE", help="body; - for standard input")
    return top


def _add(made: argparse.ArgumentParser, command: Command) -> None:
    for name in command.positionals:
        made.add_argument(name, nargs="?" if name in command.optional else None)
    for option in command.options:
        made.add_argument(
            f"--{option.name}", dest=f"option_{option.sent_as}", type=option.kind, required=option.needed,
            choices=option.choices or None, help=option.help, metavar=None if option.choices else option.name.upper().replace("-", "_"),
        )  # fmt: skip
    if command.many:
        made.add_argument("--most", type=int, default=1000, help="at most so many rows (1000)")
    if command.method != "GET":
        made.add_argument("--json", metavar="FILE", required=command.document and not command.options, help="body; - for standard input")
    if command.method == "POST":
        made.add_argument("--idempotency-key", help="same key, same work: for a pipeline that may run twice")
    if command.watch:
        made.add_argument("--timeout", type=float, default=600, help="seconds to wait (600)")
        if command.verb != "wait":
            made.add_argument("--wait", action="store_true", help="until it has ended well (exit code 0) or badly (1)")
    if command.verb == "export":
        made.add_argument("--output", metavar="FILE", help="where the bundle goes (standard output)")


def run(arguments: list[str]) -> tuple[int, Any]:
    """Parse, call, perhaps wait. Returns the exit code and the answer. Raises ClientError."""
    options = parser().parse_args(arguments)
    client = Client.from_environment()
    if options.noun == "whoami":
        return DONE, client.call("GET", "me/")
    if options.noun == "asof":
        return asof(client, options)
    if options.noun == "api":
        return DONE, client.call(options.method, options.path, read_json(options.json) if options.json else None)
    command = next(c for c in NOUNS[options.noun][1] if c.verb == options.verb)
    if command.run is not None:
        return command.run(client, options)
    path = command.path.format(**{name: urllib.parse.quote(getattr(options, name), safe="") for name in command.positionals})
    values = _values(client, command, options)
    if command.many:
        return DONE, list(client.pages(path, values, options.most))
    if command.method == "GET":
        answer = client.call("GET", path, query=values)
    else:
        answer = client.call(command.method, path, _body(command, options, values), key=getattr(options, "idempotency_key", None))
    if command.watch and (command.verb == "wait" or options.wait):
        return _watch(client, command, answer, options.timeout)
    if isinstance(answer, bytes) and getattr(options, "output", None):
        Path(os.environ.get("GATEHOUSE_CALLED_FROM", "."), options.output).write_bytes(answer)
        return DONE, {"written": options.output, "bytes": len(answer)}
    return DONE, answer


def _values(client: Client, command: Command, options: argparse.Namespace) -> dict[str, Any]:
    """What the options say, by the names the API knows."""
    values: dict[str, Any] = {}
    for option in command.options:
        value = getattr(options, f"option_{option.sent_as}")
        if value is None:
            continue
        values |= option.expand(client, value) if option.expand else {option.sent_as: value}
    return values


def _body(command: Command, options: argparse.Namespace, values: dict[str, Any]) -> dict[str, Any]:
    document = read_json(options.json) if options.json else {}
    if not isinstance(document, dict):
        refuse(USAGE, "--json: give an object.")
    body = document | values | command.fixed
    if command.password:
        # Never an argument: other users could read it in the process list.
        body["password"] = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        # A second line holds the code of a generator, for who has one.
        code = getpass.getpass("Code of your generator (empty without one): ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        if code:
            body["code"] = code
    return body


def _watch(client: Client, command: Command, answer: Any, timeout_s: float) -> tuple[int, Any]:
    """Read the thing again until its state is one that ends the wait."""
    if not isinstance(answer, dict) or "id" not in answer:
        refuse(NOT_FOUND, f"the answer has no id to wait for: {json.dumps(answer)[:200]}")
    deadline, pause_s = time.monotonic() + timeout_s, 0.5
    path = command.watch.format(id=answer["id"])
    while True:
        state = str(answer.get("state") or "")
        if state in command.end_states:
            return command.end_states[state], answer
        if time.monotonic() > deadline:
            print(json.dumps({"title": "gatehouse", "detail": f"still {state or 'undecided'} after {timeout_s:g} s"}), file=sys.stderr)
            return TOO_LATE, answer
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, 5)
        answer = client.call("GET", path)

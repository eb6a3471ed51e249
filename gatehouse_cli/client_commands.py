"""The client's vocabulary: each command as one row, read by argparse and turned into one call."""

import argparse
import getpass
import json
import os
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

from gatehouse_cli.audit_commands import AUDIT, asof
from gatehouse_cli.client import DONE, NOT_FOUND, REFUSED, TOO_LATE, USAGE, Client, read_json, refuse
from gatehouse_cli.vocabulary import Command, Option


def _steps(text: str) -> list[int]:
    """`10,50,100` -> percentages."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: give percentages such as 10,50,100") from error


def _version(text: str) -> tuple[str, int]:
    """`name/3` -> name and number."""
    name, _, number = text.rpartition("/")
    if not name or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME/NUMBER, such as credit-risk/3")
    return name, int(number)


def _named_version(client: Client, value: tuple[str, int]) -> dict[str, Any]:
    return {"model": value[0], "version": value[1]}


_USECASE = Option("usecase", "use case: slug or id")
_REASON = Option("reason", "why, in words", needed=True)
_COVERS = (
    Option("departments", "departments or teams, with commas between them; none: all", kind=lambda text: [d.strip() for d in text.split(",") if d.strip()]),
    Option("percent", "percent of their users, 1 to 100; none: all", kind=int),
)
_ROLLOUT_ENDS = {"completed": DONE, "rolled_back": REFUSED, "failed": REFUSED}
_GATE_ENDS = {"approved": DONE} | dict.fromkeys(("rejected", "withdrawn", "stopped", "rebuilt", "lapsed"), REFUSED)

NOUNS: dict[str, tuple[str, tuple[Command, ...]]] = {
    "usecase": (
        "use cases",
        (
            Command(
                "list", "GET", "usecases/", "those you may see", (Option("stage", "only this stage"), Option("search", "words")), many=True
            ),
            Command("show", "GET", "usecases/{ref}/", "one, with its parts"),
            Command("create", "POST", "usecases/", "write one down (--json)", document=True),
            Command("update", "PATCH", "usecases/{ref}/", "change what --json names", document=True),
            Command("requirements", "PUT", "usecases/{ref}/requirements/", "set the demands (--json)", document=True),
            Command("link-model", "POST", "usecases/{ref}/models/", "use a registered model", (Option("model", "its name", needed=True),)),
            Command(
                "give-access", "POST", "usecases/{ref}/access/", "let somebody see or change it",
                (
                    Option("user", "email", needed=True),
                    Option("level", "how much", needed=True, choices=("view", "change")),
                    Option("part", "their part, in words"),
                ),
            ),
            Command("moves", "GET", "usecases/{ref}/moves/", "its way through the stages", many=True),
            Command("hold", "POST", "usecases/{ref}/hold/", "put it on hold", (_REASON,)),
            Command("resume", "POST", "usecases/{ref}/resume/", "take it up again"),
            Command("fall-back", "POST", "usecases/{ref}/fall-back/", "from production back to pilot", (_REASON,)),
            Command("stop", "POST", "usecases/{ref}/stop/", "end it for good", (Option("lesson", "what we learned", needed=True),)),
            Command("value", "GET", "usecases/{ref}/value/", "value realised against cost"),
        ),
    ),
    "model": (
        "registered models and their versions",
        (
            Command("list", "GET", "models/", "registered models", many=True),
            Command("show", "GET", "models/{name}/", "one model"),
            Command("versions", "GET", "models/{name}/versions/", "its versions", many=True),
            Command("version", "GET", "models/{name}/versions/{number}/", "one version: digest, metrics, card, lineage"),
            Command("sync", "POST", "models/{name}/versions/{number}/sync/", "read it from MLflow again"),
            Command("lineage", "GET", "models/{name}/versions/{number}/lineage/", "dataset, run, version"),
            Command("card", "GET", "models/{name}/versions/{number}/card/", "read the model card"),
            Command("write-card", "PUT", "models/{name}/versions/{number}/card/", "save the model card (--json)", document=True),
        ),
    ),
    "gate": (
        "gates between stages",
        (
            Command(
                "list", "GET", "gates/", "gates you may see",
                (_USECASE, Option("state", "only this state"), Option("waiting-on", "me: those that wait for you", choices=("me",))),
                many=True,
            ),
            Command("show", "GET", "gates/{id}/", "one, with signatures"),
            Command("evidence", "GET", "gates/{id}/evidence/", "what a signature covers"),
            Command(
                "open", "POST", "gates/", "draft one",
                (
                    Option("usecase", "use case: slug or id", needed=True),
                    Option("to-stage", "where it leads", needed=True),
                    Option("version", "model version as NAME/NUMBER or id", key="model_version"),
                    Option("note", "for the approvers"),
                ),
            ),
            Command(
                "attest", "POST", "gates/{id}/attestations/", "answer an item a person has to answer",
                (
                    Option("item", "its name in the policy", needed=True),
                    Option("answer", "the answer", needed=True),
                    Option("note", "why, in words", needed=True),
                ),
            ),
            Command("request", "POST", "gates/{id}/request/", "freeze the evidence and ask", end_states=_GATE_ENDS, watch="gates/{id}/"),
            Command(
                "sign", "POST", "gates/{id}/signatures/", "sign; asks for your password (or reads it from standard input)",
                (
                    Option("function", "in which function you sign", needed=True),
                    Option("meaning", "what you mean", needed=True, choices=("approved", "rejected", "abstain", "stopped", "rebuild")),
                    Option("evidence-digest", "digest of what you read (gate evidence)", needed=True),
                    Option("comment", "why; needed unless you approve"),
                    Option("would-change", "what would change it; needed when you reject"),
                ),
                password=True,
            ),
            Command("wait", "GET", "gates/{id}/", "until it is decided", end_states=_GATE_ENDS, watch="gates/{id}/"),
            Command("withdraw", "POST", "gates/{id}/withdraw/", "take the request back", (Option("reason", "why"),)),
        ),
    ),
    "deploy": (
        "deployments and rollouts",
        (
            Command("list", "GET", "deployments/", "deployments you may see", (Option("endpoint", "only this endpoint"),), many=True),
            Command("show", "GET", "deployments/{id}/", "one: wanted and observed"),
            Command(
                "request", "POST", "deployments/", "put a version behind an endpoint",
                (
                    Option("endpoint", "endpoint: slug or id", needed=True),
                    Option("version", "model version as NAME/NUMBER", kind=_version, needed=True, expand=_named_version),
                    Option("strategy", "how", choices=("all_at_once", "canary")),
                    Option("steps", "canary percentages, such as 10,100", kind=_steps),
                    Option("bake-s", "seconds each step is watched", kind=float),
                    Option("host", "on this host"),
                ),
                end_states=_ROLLOUT_ENDS, watch="rollouts/{id}/",
            ),
            Command("stop", "POST", "deployments/{id}/stop/", "stop one", (Option("reason", "why"),)),
            Command("rollouts", "GET", "rollouts/", "rollouts you may see", (Option("endpoint", "only this endpoint"),), many=True),
            Command(
                "rollout", "GET", "rollouts/{id}/", "one rollout",
                end_states=_ROLLOUT_ENDS, watch="rollouts/{id}/",
            ),
            Command("roll-back", "POST", "rollouts/{id}/roll-back/", "back to the version before", (_REASON,)),
        ),
    ),
    "endpoint": (
        "inference endpoints",
        (
            Command("list", "GET", "endpoints/", "endpoints you may see", (_USECASE,), many=True),
            Command("show", "GET", "endpoints/{ref}/", "one, with its routes"),
            Command(
                "create", "POST", "endpoints/", "make one",
                (
                    Option("usecase", "use case: slug or id", needed=True),
                    Option("environment", "where", needed=True, choices=("pilot", "production")),
                    Option("name", "for people"),
                    Option("slug", "its public model name"),
                    Option("rate-limit-rps", "requests a second it lets through", kind=float),
                    Option("burst", "requests it lets through at once", kind=int),
                ),
            ),
            Command(
                "key", "POST", "endpoints/{ref}/keys/", "issue a key; it is shown once",
                (Option("name", "for whom", needed=True), Option("department", "whose users it calls for"), Option("team", "their team")),
            ),
            Command(
                "assign-key", "PATCH", "endpoints/{ref}/keys/{id}/", "say for whom a key calls: rollout phases go by it",
                (Option("department", "department; empty without one"), Option("team", "team; empty without one")),
            ),
            Command("roll-back", "POST", "endpoints/{ref}/roll-back/", "back to the version before", (_REASON,)),
            Command("rehearse-rollback", "POST", "endpoints/{ref}/rehearse-rollback/", "try the way back, and measure it"),
            Command("labels", "POST", "endpoints/{ref}/labels/", "send what really happened (--json)", document=True),
        ),
    ),
    "phase": (
        "rollout phases in production",
        (
            Command("list", "GET", "usecases/{ref}/phases/", "the plan of a use case, in order", many=True),
            Command("show", "GET", "phases/{id}/", "one, with its decision"),
            Command(
                "plan", "POST", "usecases/{ref}/phases/", "add one at the end (checks: --json)",
                (
                    Option("name", "its name", needed=True),
                    *_COVERS,
                    Option("planned-on", "the day, such as 2026-12-01", needed=True),
                    Option("entry-criteria", "what has to be true before, in words", needed=True),
                    Option("owner", "email"),
                    Option("closes-now", "yes: the first in production; everybody is turned away until one is opened", kind="yes".__eq__),
                ),
            ),
            Command(
                "change", "PATCH", "phases/{id}/", "change what is given",
                (
                    Option("name", "its name"),
                    *_COVERS,
                    Option("planned-on", "the day"),
                    Option("entry-criteria", "what has to be true before, in words"),
                    Option("owner", "email"),
                    Option("position", "its place in the plan", kind=int),
                ),
            ),
            Command("drop", "DELETE", "phases/{id}/", "take one that was never opened out of the plan"),
            Command(
                "open", "POST", "gates/", "draft the gate that opens one",
                (Option("usecase", "slug or id", needed=True), Option("phase", "its id", needed=True), Option("note", "for the approvers")),
            ),
            Command("close", "POST", "phases/{id}/close/", "roll one back; its decision is revoked", (_REASON,)),
        ),
    ),
    "audit": ("the audit trail", AUDIT),
}  # fmt: skip


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
        made.add_argument(name)
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
        return DONE, asof(client, options)
    if options.noun == "api":
        return DONE, client.call(options.method, options.path, read_json(options.json) if options.json else None)
    command = next(c for c in NOUNS[options.noun][1] if c.verb == options.verb)
    if command.run:
        return DONE, command.run(client, options)
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
    body = document | values
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

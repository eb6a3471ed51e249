"""The client's commands, each as one row."""

import argparse
from typing import Any

from gatehouse_cli import client_gates
from gatehouse_cli.audit_commands import AUDIT
from gatehouse_cli.client import DONE, REFUSED, Client
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
            Command(
                "status", "GET", "gates/{id}/", "may it go on? 0 passed, 7 not decided yet, 1 refused or no longer valid",
                (
                    _USECASE,
                    Option("to-stage", "where the gate leads; with --usecase, instead of its id"),
                    Option("version", "only a gate for NAME/NUMBER", key="model_version"),
                    Option("artifact-digest", "and the decision is for exactly these files"),
                ),
                run=client_gates.status, optional=("id",), watch="gates/{id}/",
            ),
            Command(
                "evidence", "GET", "gates/{id}/evidence/", "what a signature covers; 1 while something is missing or has changed",
                run=client_gates.evidence,
            ),
            Command("comments", "GET", "gates/{id}/comments/", "what was said and asked", many=True),
            Command(
                "comment", "POST", "gates/{id}/comments/", "say or ask something",
                (
                    Option("text", "the words", needed=True),
                    Option("kind", "a comment, or a question", choices=("comment", "question")),
                    Option("answers", "id of the comment it answers"),
                ),
            ),
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
                    Option("on-behalf-of", "id of the approver who delegated to you (delegation list)"),
                ),
                password=True,
            ),
            Command("wait", "GET", "gates/{id}/", "until it is decided", end_states=_GATE_ENDS, watch="gates/{id}/"),
            Command("withdraw", "POST", "gates/{id}/withdraw/", "take the request back", (Option("reason", "why"),)),
        ),
    ),
    "waiver": (
        "waivers: what is let pass for a time on a risk owner's signature",
        (
            Command("list", "GET", "gates/{id}/waivers/", "those of a gate", many=True),
            Command(
                "ask", "POST", "gates/{id}/waivers/", "ask for one",
                (
                    Option("subject", "name of the check or the item", needed=True),
                    _REASON,
                    Option("until", "when it ends, such as 2026-12-31T00:00:00Z", needed=True),
                ),
            ),
            Command(
                "grant", "POST", "waivers/{id}/signature/", "sign it as risk owner; asks for your password",
                (Option("comment", "in words"),), password=True, fixed={"grant": True},
            ),
            Command(
                "refuse", "POST", "waivers/{id}/signature/", "refuse it as risk owner; asks for your password",
                (Option("comment", "why", needed=True),), password=True, fixed={"grant": False},
            ),
        ),
    ),
    "delegation": (
        "who signs for whom during an absence",
        (
            Command("list", "GET", "delegations/", "those you gave or took", many=True),
            Command(
                "give", "POST", "delegations/", "let somebody sign for you",
                (
                    Option("delegate", "their email", needed=True),
                    Option("function", "in which function", needed=True),
                    Option("starts-at", "from when, such as 2026-12-01T00:00:00Z", needed=True),
                    Option("ends-at", "until when, at most 90 days", needed=True),
                    _REASON,
                    Option("delegator", "for whom, where an administrator writes it down"),
                ),
            ),
            Command("end", "DELETE", "delegations/{id}/", "end it now"),
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

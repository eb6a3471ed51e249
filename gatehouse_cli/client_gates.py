"""What a pipeline asks of a gate: may I go on? `gate status` and `gate evidence` answer in JSON and with the exit code."""

import argparse
import time
import urllib.parse
from typing import Any

from gatehouse_cli.client import DONE, NOT_FOUND, REFUSED, TOO_LATE, USAGE, Client, refuse

UNDECIDED = ("draft", "open")
EVERY_S = 5.0


def status(client: Client, options: argparse.Namespace) -> tuple[int, Any]:
    """Whether a gate is passed and its decision holds: 0. Not decided yet: 7 (with --wait, after the time out). Anything else, such as refused or revoked: 1."""
    deadline, gate_id = time.monotonic() + (options.timeout if options.wait else 0), _gate_id(client, options)
    while True:
        code, answer = _status(client, gate_id, options.option_artifact_digest)
        if code != TOO_LATE or time.monotonic() >= deadline:
            return code, answer
        time.sleep(min(EVERY_S, max(deadline - time.monotonic(), 0)))


def _status(client: Client, gate_id: str, digest: str | None) -> tuple[int, Any]:
    gate = client.call("GET", f"gates/{urllib.parse.quote(gate_id, safe='')}/")
    decision = client.call("GET", f"decisions/{gate['decision_id']}/") if gate["decision_id"] else None
    why_not = _why_not(gate, decision, digest)
    answer = {
        "passed": not why_not, "why_not": why_not, "gate": gate["id"], "state": gate["state"], "usecase": gate["usecase"]["slug"],
        "from_stage": gate["from_stage"], "to_stage": gate["to_stage"], "environment": gate["environment"],
        "model_version": gate["model_version"]["label"] if gate["model_version"] else None,
        "artifact_digest": decision["artifact_digest"] if decision else None, "decision": decision["id"] if decision else None,
        "expires_at": decision["expires_at"] if decision else None, "evidence_digest": gate["evidence_digest"], "wanted": gate["wanted"],
        "due_at": gate["due_at"], "open_points": gate["open_points"], "changes": gate["changes"],
    }  # fmt: skip
    return (TOO_LATE if gate["state"] in UNDECIDED else REFUSED) if why_not else DONE, answer


def _why_not(gate: dict[str, Any], decision: dict[str, Any] | None, digest: str | None) -> str:
    if decision is None or gate["state"] != "approved":
        waits = ", ".join(f"{n} {function}" for function, n in gate["wanted"].items())
        return f"The gate is {gate['state']}" + (f"; signatures are wanted: {waits}." if gate["state"] == "open" else ".")
    if not decision["live"]:
        return str(decision["why_not_live"])
    if digest and decision["artifact_digest"] != digest:
        return f"The decision is for {decision['artifact_digest'] or 'no artifact'}, not for {digest}."
    return ""


def _gate_id(client: Client, options: argparse.Namespace) -> str:
    """The gate by its id, or the newest one of a use case that leads there with that version."""
    if options.id:
        return str(options.id)
    usecase, to_stage, version = options.option_usecase, options.option_to_stage, options.option_model_version
    if not usecase or not to_stage:
        refuse(USAGE, "name the gate: its id, or --usecase and --to-stage (and --version).")
    for gate in client.pages("gates/", {"usecase": usecase}, 1000):
        label = gate["model_version"]["label"] if gate["model_version"] else ""
        if gate["to_stage"] == to_stage and gate["state"] != "withdrawn" and version in (None, label):
            return str(gate["id"])
    about = f" for {version}" if version else ""
    refuse(NOT_FOUND, f"{usecase} has no gate to {to_stage}{about}. Begin one: ./gatehouse gate open --usecase {usecase} --to-stage {to_stage}")


def evidence(client: Client, options: argparse.Namespace) -> tuple[int, Any]:
    """What a signature covers, or before that what is there so far. 1 while something is missing or has changed since it was frozen."""
    path = f"gates/{urllib.parse.quote(options.id, safe='')}/"
    gate, frozen = client.call("GET", path), client.call("GET", f"{path}evidence/")
    answer = frozen | {"frozen": bool(frozen["document"]), "open_points": gate["open_points"], "changes": gate["changes"]}
    if not frozen["document"]:
        answer["document"] = {"checks": gate["evidence"], "attestations": gate["attestations"]}
    return REFUSED if gate["open_points"] or gate["changes"] else DONE, answer

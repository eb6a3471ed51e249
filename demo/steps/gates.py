"""Going through a gate as people do: begin, answer, request, sign. Every step is read back."""

from __future__ import annotations

from typing import Any

from demo import story
from demo.portal import Portal, check
from demo.steps.context import Context

NOTES = {
    # proposal to proof of concept
    "problem_described": "Read through with the outreach desk and the sponsor.",
    "data_ready": "Plan terms, questionnaire and visits; Membership IT and Claims answer for them.",
    "integrations_mapped": "Member register, claims store, call list and visit feedback, each with its owner.",
    "ten_times": "One request a member: ten times the members are ten times the requests and no more nurses' time for each.",
    "sponsor": "Agreed with the sponsor, who carries the cost of the proof of concept.",
    # proof of concept to pilot
    "value_shown": "On the validation rows both versions cost less per 1,000 decisions than calling nobody.",
    "quality_validated": "The desk went through a sample of suggestions with the engineer, misses and needless calls among them.",
    "data_use": "Purpose and privacy assessment filed under outreach.",
    "data_continuity": "The nightly extracts go on; their owners tell the engineer before a field changes.",
    "users_agree": "Shown to the outreach desk, who agree to the pilot.",
    "feasible": "Answers in a few milliseconds on one core.",
    "buy_in_business": "The desk's lead wants the pilot and has nurses for it.",
    "buy_in_technical": "The engineer who trained it also runs it, on the portal's own agent.",
    "buy_in_legal": "The owner asked legal, who saw purpose and data and do not object. Limited risk asks for no signature of theirs.",
    "buy_in_sponsor": "The sponsor gave the pilot its budget.",
    "human_oversight": "The nurse sees the suggestion before any call and may skip it.",
    # pilot to production
    "buy_in": "Sponsor and desk saw the pilot's figures against the baseline and want to go on.",
    "pipelines": "The sample story's rows come from one script with a fixed split; the extracts behind them run nightly.",
    "shared_features": "The model takes the rows as they are; what it computes from them is inside its own pipeline file.",
    "scalable": "The engine runs in its own environment of exact versions; the agent starts more of it.",
    "hosting": "On the portal's own host. When it is away nobody is called, as before the programme.",
    "ci_cd": "Versions are registered by script and rolled out by canary; each step is checked by the portal.",
    "retraining": "A drift incident starts it; the training script runs unattended and registers a new version.",
    "on_call": "The rota covers the endpoint; the rollback was rehearsed on the pilot.",
    "access": "Roles of the accounts were gone through with security; every change is in the trail.",
    "regulation": "GDPR and the EU AI Act were checked; the result is filed with legal.",
    "people_informed": "Members are told in the yearly letter that a model helps to decide who is called.",
    "capacity": "The desk has nurses for the calls expected at this stage, trained last week.",
    "change_plan": "Agreed with the desk: who calls when, and what is dropped for it.",
    "users_validated": "Nurses compared suggestions with what they knew in the pilot, and mark wrong ones in the call list.",
    # one more version
    "way_back": "The version that runs stays warm as a shadow.",
}
SIGNING_WORDS = {
    "business": "The business accepts the figures and the conditions of this gate.",
    "risk": "Residual risk accepted for this stage.",
    "security": "Artifact digest and access reviewed.",
}


def answerer(ctx: Context, owner: str) -> Portal:
    """Who answers an item: the use case's owner, the engineer, or the approver of a function."""
    part = next((p for p, person in story.PEOPLE.items() if owner in (p, person.function)), "owner")
    return ctx.people[part]


def begin_gate(ctx: Context, to_stage: str, *, version: dict[str, Any] | None = None) -> dict[str, Any]:
    """The gate as a draft; beginning the same one again in a run gives the same."""
    body: dict[str, Any] = {"usecase": ctx["usecase"], "to_stage": to_stage, "note": f"Requested for the {to_stage} stage."}
    if version:
        body["model_version"] = version["id"]
    made: dict[str, Any] = ctx.engineer.post("gates/", body, key=f"{ctx.run}-gate-{to_stage}-{version['number'] if version else 0}")
    return made


def pass_gate(ctx: Context, to_stage: str, *, version: dict[str, Any] | None = None) -> dict[str, Any]:
    """Take the use case (or one more model version) through its gate; returns the gate as approved.

    On the way it is tried that the requester cannot sign and that a wrong password signs nothing.
    """
    gate = begin_gate(ctx, to_stage, version=version)
    path = f"gates/{gate['id']}/"
    for item in ctx.engineer.get(path)["attestations"]:
        note = NOTES.get(item["item"], "Checked.")
        answerer(ctx, item["owner"]).post(path + "attestations/", {"item": item["item"], "answer": "yes", "note": note})
    ctx.engineer.post(path + "request/", key=f"{ctx.run}-request-{gate['id']}")
    page = ctx.auditor.get(path)
    check(
        page["state"] == "open" and page["evidence_digest"].startswith("sha256:"),
        f"the gate is open over frozen evidence: {page['open_points']}",
    )
    check(
        all(row["state"] == "pass" for row in page["evidence"]),
        f"every check passes: {[r for r in page['evidence'] if r['state'] != 'pass']}",
    )
    functions = list(page["quorum"])
    _refusals(ctx, path, page, functions[0])
    for function in functions:
        part = next(p for p, person in story.PEOPLE.items() if person.function == function)
        ctx.people[part].post(
            path + "signatures/",
            {
                "function": function,
                "meaning": "approved",
                "comment": SIGNING_WORDS[function],
                "evidence_digest": page["evidence_digest"],
                "password": ctx.account(part)["password"],
            },
        )
    done = ctx.auditor.get(path)
    check(done["state"] == "approved" and done["decision_id"], "the quorum approved and a decision was issued")
    decision = ctx.auditor.get(f"decisions/{done['decision_id']}/")
    check(decision["live"] and decision["evidence_digest"] == page["evidence_digest"], "the decision is live and names the signed evidence")
    if version:
        check(decision["artifact_digest"] == version["digest"], "the decision names the artifact's digest")
    return dict(done)


def _refusals(ctx: Context, path: str, page: dict[str, Any], function: str) -> None:
    signature = {"function": function, "meaning": "approved", "comment": "", "evidence_digest": page["evidence_digest"]}
    ctx.engineer.post(path + "signatures/", {**signature, "password": ctx.account("engineer")["password"]}, expect=403)
    part = next(p for p, person in story.PEOPLE.items() if person.function == function)
    ctx.people[part].post(path + "signatures/", {**signature, "password": "not the password"}, expect=403)
    check(ctx.auditor.get(path)["wanted"].get(function) == page["quorum"][function], "a refused signature counts for nothing")

"""The page of one gate, and the doors behind its forms."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.web.access import page
from apps.approvals import doors, selectors, services
from apps.approvals.models import Gate
from apps.approvals.web import reads
from apps.core.clock import now
from apps.core.doors import call
from apps.core.errors import CredentialsRefused, DomainError, NotFound
from apps.usecases import phase_selectors


@require_GET
@page
def detail(request: HttpRequest, gate_id: str) -> HttpResponse:
    """One gate: the question, the evidence, who signs, and what this person can do."""
    return gate_page(request, gate_id)


@require_GET
@page
def record(request: HttpRequest, gate_id: str) -> HttpResponse:
    """The gate as a record to print: who signed what, in which role, when and in which meaning, void signatures too (21 CFR 11.50)."""
    actor = request.actor  # type: ignore[attr-defined]
    found = selectors.gate_page(actor, gate_id)
    context = {
        **_shown(found), "outcome": reads.outcome(actor, found.gate), "records": found.gate.signatures.all(), "printed_at": now(),
        "is_theirs": False, **reads.phases(found.gate),
    }  # fmt: skip
    return render(request, "approvals/print.html", context)


@require_GET
@page
def evidence(request: HttpRequest, gate_id: str) -> HttpResponse:
    """The frozen evidence, byte for byte what the digest is of."""
    gate = selectors.gate(request.actor, gate_id)  # type: ignore[attr-defined]
    if not gate.evidence_text:
        raise NotFound("The evidence of this gate is not frozen yet. It is when signatures are asked for.")
    response = HttpResponse(gate.evidence_text.encode(), content_type="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="evidence-{gate.id}.json"'
    return response


@require_POST
@page
def answer(request: HttpRequest, gate_id: str) -> HttpResponse:
    """Answer one item."""
    item = request.POST.get("item", "")
    try:
        call(
            services.attest, actor=request.actor, gate_id=gate_id, item=item,  # type: ignore[attr-defined]
            answer=request.POST.get("answer", ""), note=request.POST.get("note", ""),
        )  # fmt: skip
    except DomainError as error:
        return gate_page(request, gate_id, error, f"item-{item}")
    messages.success(request, "Your answer stands in the evidence, with your name.")
    return redirect("approvals:gate", gate_id=gate_id)


@require_POST
@page
def request_signatures(request: HttpRequest, gate_id: str) -> HttpResponse:
    """Freeze the evidence and ask for signatures; on an open gate, freeze it anew."""
    try:
        gate = call(services.request_gate, actor=request.actor, gate_id=gate_id)  # type: ignore[attr-defined]
    except DomainError as error:
        return gate_page(request, gate_id, error, "request")
    functions = ", ".join(gate.policy.quorum)
    messages.success(request, f"The evidence is frozen. Signatures are asked of: {functions}.")
    return redirect("approvals:gate", gate_id=gate_id)


@sensitive_post_parameters("password", "code")
@require_POST
@page
def sign(request: HttpRequest, gate_id: str) -> HttpResponse:
    """Sign or refuse, with the password again. A wrong password is counted after the refused call has rolled back."""
    actor = request.actor  # type: ignore[attr-defined]
    meaning = request.POST.get("meaning", "")
    try:
        gate = doors.sign(
            actor=actor, gate_id=gate_id, function=request.POST.get("function", ""), meaning=meaning,
            comment=request.POST.get("comment", ""), would_change=request.POST.get("would_change", ""),
            evidence_digest=request.POST.get("evidence_digest", ""),
            password=request.POST.get("password", ""), code=request.POST.get("code", ""),
            on_behalf_of=request.POST.get("on_behalf_of") or None,
        )  # fmt: skip
    except CredentialsRefused as error:
        reads.say_what_was_wrong(error, "signed")
        return gate_page(request, gate_id, error, "sign")
    except DomainError as error:
        return gate_page(request, gate_id, error, "sign")
    messages.success(request, _said(gate, meaning))
    return redirect("approvals:gate", gate_id=gate_id)


def _said(gate: Gate, meaning: str) -> str:
    """What has happened, in words."""
    if meaning == "rejected":
        return "You refused. The gate is closed; a new one can be begun when your reason is met."
    if meaning == "stopped":
        return "You stopped the use case. Its lesson is kept, and nothing it allowed may go on."
    if meaning == "rebuild" and gate.decision:
        return "You had it built anew: a successor stands at proof of concept, linked to this use case."
    if meaning == "abstain":
        return "You abstained. The gate waits for the other signatures."
    if gate.state != Gate.State.APPROVED:
        return "You approved. The gate waits for the other signatures."
    if gate.kind == Gate.Kind.STAGE:
        return f"You approved, and yours was the last signature: the use case is at {gate.to_stage} now."
    if gate.kind == Gate.Kind.PHASE:
        return (
            f"You approved, and yours was the last signature: rollout phase “{gate.phase}” is open; the gateways serve it within seconds."
        )
    return f"You approved, and yours was the last signature: the version may be deployed to {gate.environment} now."


@require_POST
@page
def withdraw(request: HttpRequest, gate_id: str) -> HttpResponse:
    """Take the gate back."""
    try:
        call(services.withdraw, actor=request.actor, gate_id=gate_id, reason=request.POST.get("reason", ""))  # type: ignore[attr-defined]
    except DomainError as error:
        return gate_page(request, gate_id, error, "withdraw")
    messages.success(request, "The gate is taken back. Nobody is asked to sign it any more.")
    return redirect("approvals:gate", gate_id=gate_id)


@require_POST
@page
def revoke(request: HttpRequest, gate_id: str) -> HttpResponse:
    """End the decision of an approved gate."""
    actor = request.actor  # type: ignore[attr-defined]
    gate = selectors.gate(actor, gate_id)
    try:
        call(services.revoke_decision, actor=actor, decision_id=gate.decision_id, reason=request.POST.get("reason", ""))
    except DomainError as error:
        return gate_page(request, gate_id, error, "revoke")
    messages.success(request, "The decision is revoked. What it allowed may no longer be started or shifted.")
    return redirect("approvals:gate", gate_id=gate_id)


def _shown(found: selectors.GatePage) -> dict[str, Any]:
    """What the page and the record say in the same words."""
    return {
        "page": found,
        "gate": found.gate,
        "usecase": found.gate.usecase,
        "seats": sum(seat.needed for seat in found.seats),
        "signed": [s for seat in found.seats for s in seat.signatures],
        "wanted": [seat.function for seat in found.seats for _ in range(seat.wanted)],
        "answered": sum(i["answer"] in ("yes", "not_applicable") for i in found.attestations),
    }


def gate_page(request: HttpRequest, gate_id: Any, refusal: DomainError | None = None, where: str = "") -> HttpResponse:
    """The page, with a refusal at the form it came from and what was typed there; a password is never given back."""
    actor = request.actor  # type: ignore[attr-defined]
    try:
        # A refused form is shown again; it is no new look. A look is one statement, so it needs no transaction around the reading.
        found = services.look(actor=actor, gate_id=gate_id) if refusal is None else selectors.gate_page(actor, gate_id)
    except NotFound:
        if refusal is not None:
            raise refusal from None
        raise
    outcome = reads.outcome(actor, found.gate)
    offered = {"withdraw": found.may_withdraw, "revoke": outcome.may_revoke, "request": found.may_request, "sign": bool(found.my_functions)}
    offered |= {
        "comment": found.may_comment,
        "waiver": bool(found.may_waive),
        **{f"waiver-{w.id}": w.state == "asked" for w in found.waivers},
    }
    if not offered.get(where, where.removeprefix("item-") in found.my_items):
        where = ""  # its form is gone, so the refusal stands at the top
    context = {
        **_shown(found),
        "is_theirs": actor.user_id in {str(found.gate.opened_by_id), str(found.gate.requested_by_id)},
        "cohort": phase_selectors.cohort(found.gate.phase) if found.gate.phase else None,
        "outcome": outcome,
        "steps": reads.steps(found.gate),
        "refusal": refusal,
        "where": where,
        "typed": {
            k: v
            for k, v in request.POST.items()
            if k in ("comment", "would_change", "reason", "note", "answer", "function", "until", "subject", "text")
        },
        "answers": (("yes", "yes"), ("no", "no"), ("not_applicable", "not applicable")),
    }
    response = render(request, "approvals/gate.html", context, status=refusal.status if refusal else 200)
    for name, value in refusal.headers.items() if refusal else ():
        response.headers[name] = value
    return response

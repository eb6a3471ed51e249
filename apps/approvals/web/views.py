"""The inbox, and the page on which a gate is begun."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from apps.accounts.web.access import page
from apps.approvals import services
from apps.approvals.web import reads
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.usecases import selectors as usecases


@require_GET
@page
def inbox(request: HttpRequest) -> HttpResponse:
    """What waits for the person, most urgent first."""
    found = reads.inbox(request.actor)  # type: ignore[attr-defined]
    parts = (
        ("sign", "For you to sign", found.sign),
        ("answer", "For you to answer", found.answer),
        ("mine", "You began these", found.mine),
        ("others", "Under way, waiting for others", found.others),
    )
    return render(request, "approvals/inbox.html", {"inbox": found, "parts": parts})


@require_http_methods(["GET", "POST"])
@page
def open_gate(request: HttpRequest) -> HttpResponse:
    """Choose where to and with which model version; the gate begins as a draft."""
    actor = request.actor  # type: ignore[attr-defined]
    given = request.POST if request.method == "POST" else request.GET
    reference = str(given.get("usecase", ""))
    refusal: DomainError | None = None
    if not reference:
        return render(request, "approvals/open.html", {"choices": reads.changeable(actor)})
    usecase = usecases.usecase(actor, reference)
    if request.method == "POST":
        try:
            gate = call(
                services.open_gate, actor=actor, usecase_id=usecase.id, to_stage=given.get("to", ""),
                model_version_id=given.get("version") if usecases.is_uuid(given.get("version")) else None, note=given.get("note", ""),
            )  # fmt: skip
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, "The gate is begun. Gather what it asks for, then ask for signatures.")
            return redirect("approvals:gate", gate_id=gate.id)
    context = {
        "usecase": usecase,
        "ways": reads.ways(usecase),
        "candidates": reads.candidates(usecase),
        "given": given,
        "may_open": usecases.may_change(actor, usecase.id),
        "refusal": refusal,
    }
    return render(request, "approvals/open.html", context, status=refusal.status if refusal else 200)

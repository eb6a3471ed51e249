"""The inbox, and the page on which a gate is begun."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from apps.accounts.web.access import page
from apps.approvals import rules, services
from apps.approvals.web import reads
from apps.core.doors import call
from apps.core.errors import DomainError, NotAllowed
from apps.core.fields import filled, needed, typed
from apps.usecases import selectors as usecases


@require_GET
@page
def inbox(request: HttpRequest) -> HttpResponse:
    """What waits for the person, most urgent first."""
    found = reads.inbox(request.actor, request.GET.get("after", ""))  # type: ignore[attr-defined]
    parts = (
        ("sign", "For you to sign", found.sign),
        ("answer", "For you to answer", found.answer),
        ("mine", "You began these", found.mine),
        ("others", "Under way, waiting for others", found.others),
    )
    tiers = usecases.tiers_to_sign(request.actor)[: reads.LISTED]  # type: ignore[attr-defined]
    return render(request, "approvals/inbox.html", {"inbox": found, "parts": parts, "tiers": tiers})


@require_http_methods(["GET", "POST"])
@page
def open_gate(request: HttpRequest) -> HttpResponse:
    """Choose the use case, then where to and with which model version; the gate begins as a draft."""
    actor = request.actor  # type: ignore[attr-defined]
    given = request.POST if request.method == "POST" else request.GET
    reference = str(given.get("usecase", ""))
    if not reference:
        choices = reads.changeable(actor)
        if not choices:
            raise NotAllowed(
                "A gate is begun by the owner or sponsor of a use case, or by somebody with change access to it. You may change none that"
                " is under way: ask an owner for change access, or write down a use case."
            )
        return render(request, "approvals/open.html", {"choices": choices})
    usecase = usecases.usecase(actor, reference)
    rules.check_may_open(actor, usecases.may_change(actor, usecase.id))
    ways, candidates = reads.ways(usecase), reads.candidates(usecase)
    fields = reads.opening(usecase, ways, candidates)
    refusal: DomainError | None = None
    if request.method == "POST":
        try:
            needed(given, "to")
            gate = call(
                services.open_gate, actor=actor, usecase_id=usecase.id, to_stage=given.get("to", ""),
                model_version_id=given.get("version") if usecases.is_uuid(given.get("version")) else None, note=given.get("note", ""),
            )  # fmt: skip
        except DomainError as error:
            refusal = reads.as_opened(error, [words for _, words in ways])
        else:
            messages.success(request, "The gate is begun. Gather what it asks for, then ask for signatures.")
            return redirect("approvals:gate", gate_id=gate.id)
    context = {
        "usecase": usecase,
        "ways": ways,
        "fields": filled(fields, typed(fields, given), refusal.errors if refusal else None),
        "candidates": candidates,
        "refusal": refusal,
    }
    return render(request, "approvals/open.html", context, status=refusal.status if refusal else 200)

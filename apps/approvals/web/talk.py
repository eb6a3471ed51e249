"""The doors behind comments and files on a gate's page, and behind delegating a signature."""

from datetime import UTC, datetime, time
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts import selectors as accounts
from apps.accounts.web.access import page
from apps.approvals import doors, selectors, services, talk_rules
from apps.approvals.web.gate import gate_page
from apps.core.actor import Role
from apps.core.doors import call
from apps.core.errors import DomainError, Invalid


@require_POST
@page
def comment(request: HttpRequest, gate_id: Any) -> HttpResponse:
    """Say or ask something."""
    post = request.POST
    try:
        call(
            services.comment, actor=request.actor, gate_id=gate_id, text=post.get("text", ""),  # type: ignore[attr-defined]
            kind=post.get("kind", "comment"),
        )  # fmt: skip
    except DomainError as error:
        return gate_page(request, gate_id, error, "comment")
    return redirect("approvals:gate", gate_id=gate_id)


@require_POST
@page
def attach(request: HttpRequest, gate_id: Any) -> HttpResponse:
    """Put a file beside the answer to an item."""
    item, file = request.POST.get("item", ""), request.FILES.get("file")
    try:
        if file is None:
            raise Invalid("file: choose a file.", errors={"file": ["Choose a file."]})
        content = file.read(talk_rules.MOST_BYTES + 1)
        call(services.attach, actor=request.actor, gate_id=gate_id, item=item, name=file.name or "", content=content)  # type: ignore[attr-defined]
    except DomainError as error:
        return gate_page(request, gate_id, error, f"item-{item}")
    messages.success(request, "The file is attached. Its digest becomes part of the evidence.")
    return redirect("approvals:gate", gate_id=gate_id)


@require_GET
@page
def attachment(request: HttpRequest, gate_id: Any, attachment_id: Any) -> HttpResponse:
    """Download a file; the trail says who did."""
    return doors.file_response(
        call(services.read_attachment, actor=request.actor, gate_id=gate_id, attachment_id=attachment_id)  # type: ignore[attr-defined]
    )


def _day(post: Any, name: str, at: time) -> datetime:
    try:
        found = parse_date(post.get(name, ""))
    except ValueError:
        found = None
    if found is None:
        raise Invalid(f"{name}: choose a day.", errors={name: ["Choose a day."]})
    return datetime.combine(found, at, UTC)


@require_http_methods(["GET", "POST"])
@page
def delegations(request: HttpRequest) -> HttpResponse:
    """Delegations one gave or took, and the form that gives one."""
    actor, post = request.actor, request.POST  # type: ignore[attr-defined]
    refusal: DomainError | None = None
    if request.method == "POST":
        try:
            to = accounts.user_by_email(post.get("delegate", ""))
            if to is None:
                raise Invalid("delegate: nobody has this address.", errors={"delegate": ["Nobody has this address."]})
            call(
                services.delegate, actor=actor, delegate=to, function=post.get("function", ""), reason=post.get("reason", ""),
                starts_at=_day(post, "starts_at", time.min), ends_at=_day(post, "ends_at", time(23, 59, 59)),
            )  # fmt: skip
            messages.success(request, f"{to} signs for you in that time.")
            return redirect("approvals:delegations")
        except DomainError as error:
            refusal = error
    context = {
        "rows": list(selectors.delegations(actor)[:200]), "refusal": refusal, "typed": post, "functions": sorted(actor.functions),
        "may_delegate": actor.has_role(Role.APPROVER), "me": actor.user_id, "is_admin": actor.is_admin,
    }  # fmt: skip
    return render(request, "approvals/delegations.html", context, status=refusal.status if refusal else 200)


@require_POST
@page
def end_delegation(request: HttpRequest, delegation_id: Any) -> HttpResponse:
    """End a delegation now."""
    call(services.end_delegation, actor=request.actor, delegation_id=delegation_id)  # type: ignore[attr-defined]
    messages.success(request, "The delegation is ended.")
    return redirect("approvals:delegations")

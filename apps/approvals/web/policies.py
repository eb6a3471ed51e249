"""Pages of gate policies: what is asked now, one version's text, and the editor that publishes the next one."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from apps.accounts import selectors as accounts
from apps.accounts.web.access import page
from apps.approvals import doors, rules, selectors, services
from apps.approvals.web import reads
from apps.core.actor import Role
from apps.core.errors import CredentialsRefused, DomainError
from apps.usecases.selectors import is_uuid


@require_GET
@page
def listing(request: HttpRequest) -> HttpResponse:
    """Every published version, those in force first."""
    actor = request.actor  # type: ignore[attr-defined]
    context = {"policies": selectors.policies_by_force(), "may_publish": actor.has_role(Role.POLICY_OWNER)}
    return render(request, "approvals/policies.html", context)


@require_GET
@page
def detail(request: HttpRequest, policy_id: Any) -> HttpResponse:
    """One version as it was written."""
    actor = request.actor  # type: ignore[attr-defined]
    context = {"policy": selectors.policy(policy_id), "may_publish": actor.has_role(Role.POLICY_OWNER)}
    return render(request, "approvals/policy.html", context)


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
@page
def edit(request: HttpRequest) -> HttpResponse:
    """Write the next version: try it, then publish it with the password."""
    actor = request.actor  # type: ignore[attr-defined]
    rules.check_may_publish(actor)
    source = request.GET.get("from", "")
    text = selectors.policy(source).text if is_uuid(source) and request.method == "GET" else request.POST.get("text", "")
    refusal: DomainError | None = None
    tried: dict[str, Any] | None = None
    if request.method == "POST":
        text = text.replace("\r\n", "\n")
        try:
            if request.POST.get("do") == "publish":
                password, note = request.POST.get("password", ""), request.POST.get("note", "")
                policy, new = doors.publish(actor=actor, text=text, note=note, password=password, code=request.POST.get("code", ""))
                messages.success(
                    request, f"{policy} is published. Gates begun from now on follow it." if new else f"{policy} was published already."
                )
                return redirect("approvals:policy", policy_id=policy.id)
            tried = services.check_policy(text=text)
        except CredentialsRefused as error:
            reads.say_what_was_wrong(error, "published")
            refusal = error
        except DomainError as error:
            refusal = error
    line = refusal.extra.get("line") if refusal else None
    lines = text.split("\n")
    context = {
        "text": text, "refusal": refusal, "tried": tried, "note": request.POST.get("note", ""),
        "asks_code": accounts.has_second_factor(actor.user_id),
        "excerpt": [(n, lines[n - 1], n == line) for n in range(max(1, line - 2), min(len(lines), line + 2) + 1)] if line else [],
    }  # fmt: skip
    return render(request, "approvals/policy_edit.html", context, status=refusal.status if refusal else 200)

"""Pages of gate policies: what is asked now, one version's text, and the editor that publishes the next one."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts import selectors as accounts
from apps.accounts.web.access import page
from apps.approvals import doors, policy_rules, rules, selectors, services
from apps.approvals.web import reads
from apps.core.actor import Role
from apps.core.errors import CredentialsRefused, DomainError
from apps.core.ids import slugify
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


@require_GET
@page
def as_yaml(request: HttpRequest, policy_id: Any) -> HttpResponse:
    """The text of one version as a file, to be kept, compared, or published elsewhere."""
    policy = selectors.policy(policy_id)
    response = HttpResponse(policy.text, content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{slugify(policy.name)}-{policy.version}.yaml"'
    return response


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
            refusal, tried = error, services.check_policy(text=text)
        except DomainError as error:
            refusal = error
    context = _verdict(text, refusal, tried) | {
        "note": request.POST.get("note", ""),
        "asks_code": accounts.has_second_factor(actor.user_id),
    }
    return render(request, "approvals/policy_edit.html", context, status=refusal.status if refusal else 200)


@require_POST
@page
def check(request: HttpRequest) -> HttpResponse:
    """What the text comes to, while it is typed: the line that is wrong, or what changes. Stores nothing."""
    actor = request.actor  # type: ignore[attr-defined]
    rules.check_may_publish(actor)
    text = request.POST.get("text", "").replace("\r\n", "\n")
    refusal: DomainError | None = None
    tried: dict[str, Any] | None = None
    try:
        tried = services.check_policy(text=text)
    except DomainError as error:
        refusal = error
    context = _verdict(text, refusal, tried) | {"asks_code": accounts.has_second_factor(actor.user_id), "live": True}
    return render(request, "approvals/_policy_verdict.html", context)


def _verdict(text: str, refusal: DomainError | None, tried: dict[str, Any] | None) -> dict[str, Any]:
    """Lines of the editor with the wrong one marked, and for a sound text what it changes."""
    bad = refusal.extra.get("line") if refusal else None
    found: dict[str, Any] = {
        "text": text, "refusal": refusal, "tried": tried, "bad": bad,
        "numbers": [(n, n == bad) for n in range(1, text.count("\n") + 2)],
    }  # fmt: skip
    if tried:
        there, lines = selectors.replaced_by(tried, text)
        found |= {
            "there": there, "lines": lines, "same": there is not None and there.digest == policy_rules.digest(tried),
            "open_gates": selectors.gates_under(tried["gate"], tried["tier"]).count(),
        }  # fmt: skip
    return found

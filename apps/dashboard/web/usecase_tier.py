"""The risk tier of a use case: what it follows from, what it asks for, and the signature that lets it be lower."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import selectors as accounts
from apps.accounts.web.access import page
from apps.approvals import policy_rules
from apps.approvals import selectors as approvals
from apps.core.doors import call
from apps.core.errors import CredentialsRefused, DomainError
from apps.usecases import doors, materiality, selectors, services


@dataclass(frozen=True, slots=True)
class Cell:
    """One product of the table: its tier, and whether it is this use case's."""

    tier: str
    product: int
    here: bool


@require_http_methods(["GET", "POST"])
@page
def tier(request: HttpRequest, slug: str) -> HttpResponse:
    """Read it; a POST asks for a lower tier."""
    actor = request.actor  # type: ignore[attr-defined]
    usecase = selectors.usecase(actor, slug)
    if request.method == "POST":
        given = {"tier": request.POST.get("tier", ""), "reason": request.POST.get("reason", "")}
        try:
            call(services.ask_tier, actor=actor, usecase_id=usecase.id, **given)
        except DomainError as error:
            if not selectors.may_change(actor, usecase.id):
                raise
            return _page(request, slug, error, "ask")
        messages.success(request, "The lower tier is asked for. It holds once a risk owner has signed it.")
        return redirect("usecase-tier", slug=slug)
    return _page(request, slug)


@sensitive_post_parameters("password")
@require_POST
@page
def sign(request: HttpRequest, slug: str, exception_id: Any) -> HttpResponse:
    """Sign or refuse a lower tier as a risk owner, with the password."""
    post, granted = request.POST, request.POST.get("answer") == "grant"
    try:
        doors.sign_tier(
            actor=request.actor, exception_id=exception_id, grant=granted, comment=post.get("comment", ""),  # type: ignore[attr-defined]
            password=post.get("password", ""), code=post.get("code", ""),
        )  # fmt: skip
    except DomainError as error:
        if isinstance(error, CredentialsRefused):
            what = "code" if "code" in error.errors else "password"
            error.detail, error.errors = f"The {what} is not right, so nothing was signed. Try again.", {what: ["Not right."]}
        return _page(request, slug, error, str(exception_id))
    messages.success(request, "You signed. The lower tier holds from now on." if granted else "You refused. The tier stays as it is.")
    return redirect("usecase-tier", slug=slug)


def _page(request: HttpRequest, slug: str, refusal: DomainError | None = None, where: str = "") -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    usecase = selectors.usecase(actor, slug)
    signable = set(selectors.tiers_to_sign(actor).filter(usecase=usecase).values_list("id", flat=True))
    rows = list(selectors.tier_exceptions(usecase.id))
    lower = [t for t in materiality.TIERS if materiality.rank(t) < materiality.rank(usecase.risk_tier)]
    table = [
        (name, level, [_cell(usecase, exposure, name) for exposure in materiality.EXPOSURE]) for name, level in materiality.PURPOSE.items()
    ]
    may_change = selectors.may_change(actor, usecase.id) and usecase.stage not in ("stopped", "retired")
    lower = lower if usecase.computed_tier and not any(r.state == "asked" for r in rows) else []
    in_form = bool(lower and may_change) if where == "ask" else where in {str(found) for found in signable}
    context = {
        "usecase": usecase,
        "materiality": materiality.materiality(usecase.exposure, usecase.purpose),
        "exposures": materiality.EXPOSURE.items(),
        "table": table,
        "policies": [p for gate in policy_rules.GATES if (p := approvals.policy_for(gate, usecase.risk_tier))],
        "rows": [(row, row.id in signable) for row in rows],
        "in_force": next((r for r in rows if r.state == "signed" and r.tier == usecase.risk_tier), None),
        "lower": lower,
        "may_change": may_change,
        "refused_at_top": not in_form,
        "asks_code": bool(signable) and accounts.has_second_factor(actor.user_id),
        "typed": request.POST if refusal else {},
        "refusal": refusal,
        "where": where,
    }
    return render(request, "dashboard/usecase_tier.html", context, status=refusal.status if refusal else 200)


def _cell(usecase: Any, exposure: str, purpose: str) -> Cell:
    here = (usecase.exposure, usecase.purpose) == (exposure, purpose)
    return Cell(materiality.tier_of(exposure, purpose), materiality.materiality(exposure, purpose), here)

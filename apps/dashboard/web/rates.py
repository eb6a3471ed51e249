"""What computing costs: the rate cards, and the form with which an administrator sets one."""

from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from apps.accounts.web.access import page
from apps.core.doors import call
from apps.core.errors import DomainError, Invalid
from apps.core.fields import Field, filled, needed, typed
from apps.kpis import selectors, services

FIELDS = (
    Field("cpu_hour", "A CPU core for an hour", "number", required=True),
    Field("gpu_hour", "A GPU for an hour", "number", required=True),
    Field("memory_gib_hour", "A GiB of memory for an hour", "number"),
    Field("per_1k_requests", "For every 1,000 requests", "number"),
    Field("currency", "Currency", required=True, hint="Three letters."),
)
PRICES = ("cpu_hour", "gpu_hour", "memory_gib_hour", "per_1k_requests")


def _prices(given: dict[str, str]) -> dict[str, Any]:
    """Amounts as set_rate_card takes them; raises Invalid naming the field."""
    needed(given, "cpu_hour", "gpu_hour", "currency")
    prices: dict[str, Any] = {"currency": given["currency"].upper()}
    for name in PRICES:
        try:
            prices[name] = Decimal(given[name] or "0")
        except InvalidOperation as error:
            raise Invalid(f"{name}: write a plain amount such as 0.048.", errors={name: ["Not an amount."]}) from error
    return prices


@require_http_methods(["GET", "POST"])
@page
def rates(request: HttpRequest) -> HttpResponse:
    """Everyone may read prices; a new card holds from now on, older figures keep theirs."""
    actor = request.actor  # type: ignore[attr-defined]
    current = selectors.rate_card()
    values: dict[str, Any] = {f.name: getattr(current, f.name) for f in FIELDS} if current else {"currency": "EUR"}
    refusal: DomainError | None = None
    if request.method == "POST":
        values = dict(typed(FIELDS, request.POST))
        try:
            call(services.set_rate_card, actor=actor, **_prices(values))
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, "The rate card holds from now on.")
            return redirect("rates")
    context = {
        "current": current,
        "cards": list(selectors.rate_cards()[:50]),
        "fields": filled(FIELDS, values, refusal.errors if refusal else None),
        "may_set": actor.is_admin,
        "refusal": refusal,
    }
    return render(request, "dashboard/rates.html", context, status=refusal.status if refusal else 200)

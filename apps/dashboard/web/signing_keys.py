"""The page of the keys that are trusted to sign models."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.web.access import page
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.core.fields import Field, filled, needed, typed
from apps.dashboard.web.models_shared import actor_of
from apps.registry import services
from apps.registry.selectors import signing_keys as reads

FIELDS = (
    Field("name", "Name", required=True, hint="Whose key it is, such as the team."),
    Field("pem", "Public key or certificate", "textarea", "PEM text. EC keys on P-256, P-384 or P-521; a certificate may be a root.", required=True, wide=True),
)  # fmt: skip


@require_http_methods(["GET", "POST"])
@page
def signing_keys(request: HttpRequest) -> HttpResponse:
    """Everyone may read which keys are trusted; a POST trusts another."""
    values: dict[str, str] = {}
    refusal: DomainError | None = None
    if request.method == "POST":
        values = dict(typed(FIELDS, request.POST))
        try:
            needed(values, "name", "pem")
            row = call(services.trust_key, actor=actor_of(request), **values)
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, f"{row.name} is trusted from now on.")
            return redirect("signing-keys")
    return _shown(request, values, refusal)


@require_POST
@page
def retire(request: HttpRequest, key_id: str) -> HttpResponse:
    """Trust one no more."""
    try:
        row = call(services.retire_key, actor=actor_of(request), key_id=key_id, because=request.POST.get("because", ""))
    except DomainError as error:
        return _shown(request, {}, error)
    messages.success(request, f"{row.name} is trusted no more, also in what it has signed already.")
    return redirect("signing-keys")


def _shown(request: HttpRequest, values: dict[str, str], refusal: DomainError | None) -> HttpResponse:
    rows = list(reads.signing_keys(actor_of(request))[:200])
    context: dict[str, Any] = {
        "trusted": [r for r in rows if r.retired_at is None], "retired": [r for r in rows if r.retired_at is not None], "refusal": refusal,
        "fields": filled(FIELDS, values, refusal.errors if refusal else None), "may_set": actor_of(request).is_admin,
    }  # fmt: skip
    return render(request, "registry/signing_keys.html", context, status=refusal.status if refusal else 200)

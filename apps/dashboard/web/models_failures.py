"""Pages of the register of known failure modes and edge cases."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from apps.accounts.web.access import page
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.core.fields import Field, filled, typed, whole
from apps.dashboard.web.models_shared import actor_of, editable, model_of
from apps.registry import services
from apps.registry.rules import failures
from apps.registry.selectors import cards as reads

FIELDS = (
    Field("title", "In a few words", required=True, wide=True),
    Field("condition", "When it happens", "textarea", required=True, rows=2),
    Field("effect", "What happens then", "textarea", required=True, rows=2),
    Field(
        "handling",
        "What handles it",
        "textarea",
        rows=2,
        hint="Code, a person, a threshold, or why it is accepted. Needed once it is no longer open.",
    ),
    Field("kind", "Kind", "select", required=True, choices=tuple((k, k) for k in failures.KINDS)),
    Field("severity", "Severity", "select", required=True, choices=tuple((s, s) for s in failures.SEVERITIES)),
    Field("state", "State", "select", required=True, choices=tuple((s, s) for s in failures.STATES)),
    Field("owner_email", "Owner", "email", hint="Email address of a person with an account."),
    Field("since_version", "Since version", "number", hint="Empty: always."),
    Field("until_version", "Until version", "number", hint="The last that has it. Empty: it still holds."),
)


def _given(request: HttpRequest) -> dict[str, Any]:
    given: dict[str, Any] = typed(FIELDS, request.POST)
    return given | {name: whole(given, name) for name in failures.NUMBERS}


@require_http_methods(["GET", "POST"])
@page
def register(request: HttpRequest, name: str) -> HttpResponse:
    """All entries of a model, open and grave ones first; a POST writes one down."""
    actor, model = actor_of(request), model_of(request, name)
    refusal = None
    if request.method == "POST":
        try:
            call(services.record_failure_mode, actor=actor, model=model.name, **_given(request))
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, "It is in the register.")
            return redirect("registry:failures", name=model.name)
    rows = reads.in_order(reads.failure_modes(model))
    values = request.POST if refusal else {"severity": "medium"}
    context = {
        "model": model, "rows": rows, "open": [r for r in rows if r.state == "open"], "refusal": refusal, "editable": editable(actor, model),
        "fields": filled(FIELDS, values, refusal.errors if refusal else None),
    }  # fmt: skip
    return render(request, "registry/failures.html", context, status=refusal.status if refusal else 200)


@require_http_methods(["GET", "POST"])
@page
def entry(request: HttpRequest, name: str, failure_id: Any) -> HttpResponse:
    """One entry; a POST changes it."""
    actor = actor_of(request)
    found = reads.failure_mode(actor, failure_id)
    refusal = None
    if request.method == "POST":
        try:
            call(
                services.change_failure_mode, actor=actor, failure_id=found.id, revision=whole(request.POST, "revision"), **_given(request)
            )
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, "The entry is saved.")
            return redirect("registry:failures", name=found.model.name)
    stored = {f.name: getattr(found, f.name, "") for f in FIELDS} | {"owner_email": found.owner.email if found.owner else ""}
    context = {
        "model": found.model, "entry": found, "refusal": refusal, "editable": editable(actor, found.model),
        "fields": filled(FIELDS, request.POST if refusal else stored, refusal.errors if refusal else None),
    }  # fmt: skip
    return render(request, "registry/failure.html", context, status=refusal.status if refusal else 200)

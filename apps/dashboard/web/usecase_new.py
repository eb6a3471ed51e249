"""Write down a new use case."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from apps.accounts.web.access import page
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.core.fields import filled
from apps.dashboard.web import usecase_fields as forms
from apps.usecases import rules, services


@require_http_methods(["GET", "POST"])
@page
def new(request: HttpRequest) -> HttpResponse:
    """The form, and the one call that writes the use case with its requirements and integration points."""
    actor = request.actor  # type: ignore[attr-defined]
    rules.check_may_create(actor)
    refusal: DomainError | None = None
    values: dict[str, object] = {"currency": "EUR", "peak_factor": 10}
    if request.method == "POST":
        values = {**request.POST.dict()}
        try:
            usecase = call(
                services.create_usecase, actor=actor, **forms.words(request.POST), requirements=forms.requirements(request.POST),
                integrations=forms.integrations(request.POST),
            )  # fmt: skip
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, f"“{usecase.name}” is written down, at the stage proposal. Define its KPIs next.")
            return redirect("usecase", slug=usecase.slug)
    errors = refusal.errors if refusal else {}
    context = {
        "words": filled(forms.WORDS, values, errors),
        "requirements": filled(forms.REQUIREMENTS, values, errors),
        "integrations": forms.integration_rows(request.POST),
        "people": forms.people(actor),
        "refusal": refusal,
    }
    return render(request, "dashboard/usecase_new.html", context, status=refusal.status if refusal else 200)

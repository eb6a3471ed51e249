"""Pages of models: the registry, one model, one version with its card, digest, requirements, lineage, decisions and where it runs."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from apps.accounts.web.access import page
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.core.fields import whole
from apps.dashboard import selectors_models as reads
from apps.dashboard.web.findings import ungoverned
from apps.dashboard.web.models_shared import editable
from apps.registry import selectors, services
from apps.registry.selectors import cards, scans
from apps.usecases.models import UseCase


def _actor(request: HttpRequest) -> Actor:
    return request.actor  # type: ignore[attr-defined,no-any-return]


@require_GET
@page
def models(request: HttpRequest) -> HttpResponse:
    """The registered models the person may see, with their newest version and what aliases point at."""
    if request.GET.get("governed") == "false":
        return ungoverned(request)
    query = request.GET.get("q", "").strip()
    return render(request, "registry/models.html", {"contact": scans.contact(), "cut": reads.LISTED, "rows": reads.models(_actor(request), search=query), "query": query})


@require_GET
@page
def model(request: HttpRequest, name: str) -> HttpResponse:
    """One registered model: its versions, newest first."""
    found, versions, aliases, usecases = reads.model(_actor(request), name)
    failures = cards.in_order(cards.failure_modes(found))
    context = {"model": found, "versions": versions, "aliases": aliases, "usecases": usecases, "failures": failures, "contact": scans.contact()}
    context["findings"] = list(selectors.findings(_actor(request), open_only=True, model=found.name)[:10])
    return render(request, "registry/model.html", context)


def _begins_at(actor: Actor, found: reads.VersionPage) -> UseCase | None:
    """The use case whose gate for this version the person may begin."""
    mine = UseCase.objects.changeable_by(actor).filter(id__in=[u.id for u in found.usecases]) if found.usecases else ()
    return next(iter(mine), None)


@require_http_methods(["GET", "POST"])
@page
def version(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """One version; a POST saves the card."""
    actor = _actor(request)
    found = reads.version(actor, name, number)
    refusal = None
    if request.method == "POST":
        fields: dict[str, Any] = {field: request.POST.get(field, "").strip() for field, _, _ in reads.CARD}
        try:
            revision = whole(request.POST, "revision")
            call(services.save_card, actor=actor, version_id=found.version.id, revision=revision, **fields)
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, "The card is saved. Gates that are opened from now on read it so.")
            return redirect("registry:version", name=name, number=number)
    errors = refusal.errors if refusal else {}
    typed = [
        (field, title, hint, request.POST.get(field, text) if refusal else text, errors.get(field, ())) for field, title, hint, text in found.card
    ]
    context = {
        "page": found, "version": found.version, "typed": typed, "begins_at": _begins_at(actor, found), "refusal": refusal, "editable": editable(actor, found.version.model),
        "more": reads.more(found.version), "contact": scans.contact(),
        "findings": list(selectors.findings(actor, open_only=True).filter(version=found.version)[:10]),
        "columns": (found.version.signature or {}).get("inputs") or [],
    }  # fmt: skip
    return render(request, "registry/version.html", context, status=refusal.status if refusal else 200)

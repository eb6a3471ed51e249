"""The page of the one search box over the registry."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from apps.accounts.web.access import page
from apps.core.errors import Invalid
from apps.dashboard.web.models_shared import actor_of
from apps.registry.selectors import scans
from apps.registry.selectors.search import Hit
from apps.registry.selectors.search import search as read


@require_GET
@page
def search(request: HttpRequest) -> HttpResponse:
    """Models, versions, tags, cards, failure modes and datasets that hold the words."""
    query, refusal, hits = request.GET.get("q", "").strip(), None, []
    try:
        hits = [(hit, _href(hit)) for hit in read(actor_of(request), query)]
    except Invalid as error:
        refusal = error
    context = {"query": query, "hits": hits, "refusal": refusal, "contact": scans.contact()}
    return render(request, "registry/search.html", context, status=refusal.status if refusal else 200)


def _href(hit: Hit) -> str:
    if hit.dataset_id:
        return reverse("datasets:dataset", args=[hit.dataset_id])
    if hit.failure_id:
        return reverse("registry:failure", args=[hit.model, hit.failure_id])
    if hit.kind == "card":
        return reverse("registry:card", args=[hit.model, hit.version])
    return reverse("registry:version", args=[hit.model, hit.version]) if hit.version else reverse("registry:model", args=[hit.model])

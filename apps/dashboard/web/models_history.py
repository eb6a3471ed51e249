"""The page of what happened to a version and who may do what with it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.accounts.web.access import page
from apps.dashboard import selectors_timeline as reads
from apps.dashboard.web.models_shared import actor_of, version_of


@require_GET
@page
def history(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """Newest first; and people by what they may."""
    actor, version = actor_of(request), version_of(request, name, number)
    moments = reads.timeline(actor, version)
    people, more = reads.who_may(actor, version)
    context = {
        "version": version,
        "moments": moments,
        "people": people,
        "more_people": more,
        "verbs": reads.VERBS,
        "limit": reads.MOST_PEOPLE,
    }
    return render(request, "registry/history.html", context)

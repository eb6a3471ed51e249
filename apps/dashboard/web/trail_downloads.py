"""Taking the trail away: files with their progress, evidence packs, and the report for printing."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from apps.accounts.web.access import page
from apps.audit import downloads
from apps.audit.api.downloads import file_response
from apps.audit.report import make_report
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.dashboard.web.trail import FILTERS, usecase_id
from apps.usecases import selectors as usecases

SHOWN = 50


def _filters(actor: Actor, given: Any) -> dict[str, str]:
    """What a form or an address says, with the use case by its id."""
    found = {name: given.get(name, "").strip() for name in (*FILTERS, "decision")}
    found["usecase"] = usecase_id(actor, found["usecase"])
    return {name: value for name, value in found.items() if value}


@require_http_methods(["GET", "POST"])
@page
def files(request: HttpRequest) -> HttpResponse:
    """What was asked for and how far it is; asking for one more."""
    actor, refusal = request.actor, None  # type: ignore[attr-defined]
    if request.method == "POST":
        try:
            made = call(downloads.request_download, actor=actor, kind=request.POST.get("kind", ""), filters=_filters(actor, request.POST))
            messages.success(request, "It is being put together below." if made.kind == "pack" else "It is ready below.")
            return redirect("audit:downloads")
        except DomainError as error:
            refusal = error
    rows = list(downloads.visible(actor)[:SHOWN])
    names = dict(usecases.usecases(actor).filter(id__in={r.usecase_id for r in rows}).values_list("id", "name"))
    context = {
        "rows": [
            {
                "file": r,
                "usecase": names.get(r.usecase_id) if r.usecase_id else None,
                "filters": {k: v for k, v in r.filters.items() if k not in ("usecase", "decision")},
            }
            for r in rows
        ],
        "working": sum(r.state in ("waiting", "working") for r in rows),
        "ready": sum(r.state == "ready" for r in rows),
        "refusal": refusal,
        "mine": not actor.sees_everything,
    }
    return render(request, "dashboard/downloads.html", context, status=refusal.status if refusal else 200)


@require_GET
@page
def content(request: HttpRequest, download_id: str) -> HttpResponseBase:
    """One of them, streamed."""
    return file_response(request.actor, download_id)  # type: ignore[attr-defined]


@require_GET
@page
def report(request: HttpRequest) -> HttpResponse:
    """Totals, checkpoint and the newest events of a search, made for printing; reading it is an event."""
    actor = request.actor  # type: ignore[attr-defined]
    given = {name: request.GET.get(name, "").strip() for name in FILTERS if request.GET.get(name, "").strip()}
    try:
        made, refusal = call(make_report, actor=actor, filters=_filters(actor, request.GET)), None
    except DomainError as error:
        made, refusal = None, error
    context = {"report": made, "refusal": refusal, "given": given, "back": "?" + urlencode(given) if given else ""}
    return render(request, "dashboard/trail_report.html", context, status=refusal.status if refusal else 200)

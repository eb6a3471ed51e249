"""The page of the scan of a version's files."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from apps.accounts.web.access import page
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.dashboard.web.models_shared import actor_of, editable, version_of
from apps.registry import services
from apps.registry.rules.scan import TOOL_VERSION
from apps.registry.selectors import scans as reads
from apps.registry.selectors import signing_keys


@require_http_methods(["GET", "POST"])
@page
def scan(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """What the newest scan found; a POST asks for another."""
    version = version_of(request, name, number)
    refusal = None
    if request.method == "POST":
        try:
            call(services.request_scan, actor=actor_of(request), version_id=version.id)
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, "A scan is asked for. It is here as soon as control has made it.")
            return redirect("registry:scan", name=name, number=number)
    found = reads.newest(version)
    levels = ("unsafe", "warning", "note")
    findings = sorted(found.findings, key=lambda f: (levels.index(f["level"]), f["path"])) if found else []
    context = {
        "version": version, "scan": found, "findings": findings, "refusal": refusal, "editable": editable(actor_of(request), version.model),
        "unsafe": [f for f in findings if f["level"] == "unsafe"], "risky": [f for f in found.files if not f["safe"]] if found else [],
        "again": found is None or found.verdict == "failed" or found.tool_version != TOOL_VERSION, "judged": signing_keys.judged(found),
    }  # fmt: skip
    return render(request, "registry/scan.html", context, status=refusal.status if refusal else 200)

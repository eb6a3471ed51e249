"""The page of a version's evaluations and bias audits."""

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.web.access import page
from apps.core.doors import call
from apps.core.errors import DomainError, Invalid
from apps.core.fields import Field, filled, typed
from apps.dashboard.web.models_shared import actor_of, editable, version_of
from apps.registry import services
from apps.registry.models import ModelVersion
from apps.registry.rules.evaluations import FOUR_FIFTHS
from apps.registry.selectors import evaluations as reads

MOST_BYTES = 2_000_000
RUN_FIELDS = (
    Field("name", "Name", required=True, hint="A later one of the same name takes its place."),
    Field("prefix", "Metrics that begin with", hint="Such as val_. Empty: all."),
    Field("task", "Task", hint="Such as tabular-classification."),
)


def _shown(request: HttpRequest, version: ModelVersion, refusal: DomainError | None = None, typed_text: str = "") -> HttpResponse:
    rows = list(reads.of_version(version))
    force = [r for r in rows if r.superseded_by_id is None]
    audits = [r for r in force if r.kind == "bias_audit"]
    worst = [r.figures["worst"] | {"audit": r} for r in audits if r.figures.get("worst")]
    context = {
        "version": version, "force": force, "past": [r for r in rows if r.superseded_by_id], "audits": audits, "bound": FOUR_FIFTHS,
        "worst": min(worst, key=lambda w: w["least"]) if worst else None, "refusal": refusal, "typed_text": typed_text,
        "editable": editable(actor_of(request), version.model), "other": reads.in_production(version),
        "run_fields": filled(RUN_FIELDS, request.POST if refusal else {"name": "held-out data"}, refusal.errors if refusal else None),
    }  # fmt: skip
    return render(request, "registry/evaluations.html", context, status=refusal.status if refusal else 200)


def _document(request: HttpRequest) -> Any:
    """The JSON that was chosen as a file or pasted."""
    file = request.FILES.get("file")
    if file is not None and (file.size or 0) > MOST_BYTES:
        raise Invalid(f"file: at most {MOST_BYTES // 1_000_000} MB.", errors={"file": ["Too large."]})
    text = file.read().decode(errors="replace") if file is not None else request.POST.get("document", "")
    try:
        return json.loads(text)
    except ValueError as error:
        raise Invalid(f"document: this is no JSON ({error}).", errors={"document": ["No JSON."]}) from error


@require_http_methods(["GET", "POST"])
@page
def evaluations(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """What is attached, in force and before; a POST attaches a document."""
    version = version_of(request, name, number)
    if request.method != "POST":
        return _shown(request, version)
    try:
        row = call(services.attach_evaluation, actor=actor_of(request), version_id=version.id, document=_document(request))
    except DomainError as error:
        return _shown(request, version, error, request.POST.get("document", ""))
    messages.success(request, f"{row.name} is attached. Gates that are frozen from now on read it.")
    return redirect("registry:evaluations", name=name, number=number)


@require_POST
@page
def from_run(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """Attach what the run itself logged."""
    version = version_of(request, name, number)
    try:
        given: dict[str, Any] = typed(RUN_FIELDS, request.POST)
        row = call(services.attach_from_run, actor=actor_of(request), version_id=version.id, **given)
    except DomainError as error:
        return _shown(request, version, error)
    messages.success(request, f"{row.name} is attached, with {len(row.figures['metrics'])} figures of the run.")
    return redirect("registry:evaluations", name=name, number=number)

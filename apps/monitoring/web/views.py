"""The monitoring page of an endpoint: what the monitors found, incidents, and the doors behind its forms."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.web.access import page
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError, Invalid
from apps.core.exports import download
from apps.core.fields import Field, filled, typed
from apps.monitoring import selectors, services
from apps.monitoring.models import Monitor
from apps.monitoring.rules.settings import SETTINGS, SEVERITIES
from apps.monitoring.web import forms, reads, wording

INCIDENT = (
    Field("title", "What is wrong", required=True, wide=True),
    Field("detail", "What was seen", "textarea", rows=3, required=True),
    Field("severity", "How soon must somebody act", "select", required=True, choices=tuple((s, s) for s in reversed(SEVERITIES))),
    Field(
        "hold",
        "Put the decision of the answering version on hold",
        "checkbox",
        hint="It keeps serving; it may not start again or get more traffic.",
    ),
)
NOUNS = {"drift": ("the inputs", "are"), "cost": ("the cost of decisions", "is"), "latency": ("the answer time", "is")}


@dataclass(slots=True)
class Form:
    """One form at the foot of the page."""

    key: str
    title: str
    hint: str
    button: str
    fields: list[Field]
    refusal: DomainError | None
    url: str
    noun: str = ""
    monitor: Monitor | None = None


@require_GET
@page
def endpoint(request: HttpRequest, slug: str) -> HttpResponse:
    """What the monitors of one endpoint found."""
    return _page(request, slug)


def _page(request: HttpRequest, slug: str, refused: str = "", refusal: DomainError | None = None) -> HttpResponse:
    """The page; after a refusal with that form open and what was typed in it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = reads.page(actor, slug)
    shown = _forms(actor, found, request, refused, refusal) if found.may_change else []
    context = {"page": found, "endpoint": found.endpoint, "forms": shown, "lead": found.answer}
    closing = refused in {f"close-{c.key}" for c in found.open} and found.may_change
    at_form = closing or refused in {f.key for f in shown}
    context |= {"refusal": None if at_form else refusal, "close_refusal": refusal if closing else None, "refused": refused}
    return render(request, "monitoring/endpoint.html", context, status=refusal.status if refusal else 200)


def _forms(actor: Actor, found: reads.Page, request: HttpRequest, refused: str, refusal: DomainError | None) -> list[Form]:
    made = []
    span, others = reads.span(found.endpoint), reads.references(actor, found.endpoint)
    for kind in SETTINGS:
        watch = found.watch(kind)
        before = watch.monitor if watch else None
        fields = forms.fields_of(kind, currency=found.currency, kpis=found.kpis, references=others)
        mine = refusal if refused == kind else None
        values = typed(fields, request.POST) if mine else forms.stored(kind, before, span=span)
        noun, verb = NOUNS[kind]
        made.append(
            Form(
                key=kind, title=f"Change how {noun} {verb} watched" if before else f"Watch {noun}", hint=wording.KINDS[kind][1],
                button="Replace the monitor" if before else "Begin to watch", fields=filled(fields, values, mine.errors if mine else None),
                refusal=mine, url="monitoring:create", noun=noun, monitor=before,
            )
        )  # fmt: skip
    mine = refusal if refused == "incident" else None
    values = typed(INCIDENT, request.POST) if mine else {"severity": "high", "hold": True}
    made.append(
        Form(
            key="incident", title="Open an incident by hand", hint="for what no monitor sees", button="Open the incident",
            fields=filled(INCIDENT, values, mine.errors if mine else None), refusal=mine, url="monitoring:open-incident",
        )
    )  # fmt: skip
    return made


def _after(request: HttpRequest, slug: str, key: str, function: Callable[..., Any], words: str, **kwargs: Any) -> HttpResponse:
    """Make one call; say what has happened, or show the page with the form that was refused."""
    try:
        call(function, actor=request.actor, **kwargs)  # type: ignore[attr-defined]
    except DomainError as error:
        return _page(request, slug, key, forms.named_as_typed(error) if isinstance(error, Invalid) else error)
    messages.success(request, words)
    return redirect("monitoring:endpoint", slug=slug)


@require_POST
@page
def create(request: HttpRequest, slug: str, kind: str) -> HttpResponse:
    """Watch the endpoint with a new monitor of this kind; one that is there is retired."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if kind not in SETTINGS:
        raise Http404
    found = reads.page(actor, slug)
    watch = found.watch(kind)
    fields = forms.fields_of(kind, currency=found.currency, kpis=found.kpis, references=reads.references(actor, found.endpoint))
    try:
        chosen = forms.arguments(kind, fields, request.POST, watch.monitor if watch else None)
    except Invalid as error:
        return _page(request, slug, kind, error)
    name = watch.monitor.name if watch else f"{wording.KINDS[kind][0]} of {found.endpoint.name}"
    words = f"{wording.KINDS[kind][0]}: watched from now on. The first window is judged when enough rows have come."
    return _after(request, slug, kind, services.create_monitor, words, endpoint_id=found.endpoint.id, kind=kind, name=name, **chosen)


def _monitor(request: HttpRequest, slug: str, monitor_id: Any) -> Monitor:
    """The monitor, if it belongs to this endpoint."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return selectors.monitors(actor).filter(endpoint__slug=slug).one("monitor", id=monitor_id)  # type: ignore[attr-defined,no-any-return]


@require_POST
@page
def judge(request: HttpRequest, slug: str, monitor_id: str) -> HttpResponse:
    """Have a monitor look now, and say what it found."""
    monitor = _monitor(request, slug, monitor_id)
    try:
        # The service opens its own transaction once captures have been read.
        found = services.evaluate_monitor(actor=request.actor, monitor_id=monitor.id)  # type: ignore[attr-defined]
    except DomainError as error:
        messages.error(request, f"{error.title}. {error.detail}")
        return redirect("monitoring:endpoint", slug=slug)
    if found.window is None:
        messages.info(request, f"{monitor.name}: nothing to judge yet. {wording.readable(found.detail)}")
    else:
        said = f"{monitor.name}: {wording.STATES[found.window.state]}. {wording.sentence(wording.found(found.window, currency=monitor.endpoint.usecase.currency))}"
        (messages.error if found.incident_id else messages.success)(request, said + (" An incident is open." if found.incident_id else ""))
    return redirect("monitoring:endpoint", slug=slug)


@require_POST
@page
def retire(request: HttpRequest, slug: str, monitor_id: str) -> HttpResponse:
    """Take a monitor out of service."""
    monitor = _monitor(request, slug, monitor_id)
    words = f"“{monitor.name}” watches no longer. Its windows and incidents stay."
    return _after(request, slug, "retire", services.retire_monitor, words, monitor_id=monitor.id)


@require_POST
@page
def open_incident(request: HttpRequest, slug: str) -> HttpResponse:
    """Open an incident about the version that answers."""
    found = reads.page(request.actor, slug)  # type: ignore[attr-defined]
    given = typed(INCIDENT, request.POST)
    held = bool(given.pop("hold"))
    words = "The incident is open" + (", and the decision of the answering version is on hold." if held else ".")
    return _after(request, slug, "incident", services.open_incident, words, endpoint_id=found.endpoint.id, hold=held, **given)


@require_POST
@page
def close_incident(request: HttpRequest, slug: str, incident_id: str) -> HttpResponse:
    """Close an incident with what was done about it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = selectors.incidents(actor).filter(endpoint__slug=slug).one("incident", id=incident_id)  # type: ignore[attr-defined]
    words = "The incident is closed." + (" Its hold on the decision is lifted." if found.hold_id and found.closed_at is None else "")
    return _after(
        request,
        slug,
        f"close-{incident_id}",
        services.close_incident,
        words,
        incident_id=found.id,
        resolution=request.POST.get("resolution", ""),
    )


@require_GET
@page
def windows(request: HttpRequest, slug: str) -> HttpResponse:
    """The windows of the endpoint's monitors as a CSV file, newest first."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = reads.page(actor, slug)
    rows = selectors.windows(actor).filter(monitor__endpoint=found.endpoint)[:10_000]
    header = ("monitor", "kind", "started_at", "ended_at", "rows", "state", "found")
    lines = (
        (w.monitor.name, w.monitor.kind, w.started_at, w.ended_at, w.n, w.state, wording.found(w, currency=found.currency)) for w in rows
    )
    return download(f"{slug}-windows.csv", header, lines)

"""My notices; webhooks and what they were told."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts.web.access import page
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.core.fields import Field, filled, typed
from apps.notices import rules, selectors, services

SHOWN = 100
FIELDS = (
    Field("name", "Name", required=True, hint="Such as: CI waits for gates."),
    Field("url", "Address", required=True, hint="https://..., which gets a POST for each event."),
    Field("events", "Events", hint="Separated by commas; leave empty for all."),
)


@require_GET
@page
def mine(request: HttpRequest) -> HttpResponse:
    """What I was told; looking at it makes it read."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rows = list(selectors.mine(actor)[:SHOWN])
    fresh = sum(r.read_at is None for r in rows)
    if fresh:
        call(services.mark_read, actor=actor)
    context = {"rows": rows, "fresh": fresh, "by_mail": selectors.wants_mail(actor.user_id), "most": SHOWN}
    return render(request, "notices/mine.html", context)


@require_POST
@page
def by_email(request: HttpRequest) -> HttpResponse:
    """Choose whether they come by email too."""
    wanted = request.POST.get("wanted") == "yes"
    call(services.choose_mail, actor=request.actor, wanted=wanted)  # type: ignore[attr-defined]
    messages.success(request, "Notices come by email too." if wanted else "Notices stand on this page only.")
    return redirect("notices:mine")


def _events(text: str) -> list[str]:
    return [word.strip() for word in text.replace("\n", ",").split(",") if word.strip()]


@require_http_methods(["GET", "POST"])
@page
def webhooks(request: HttpRequest) -> HttpResponse:
    """All webhooks, and the form that adds one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rows = list(selectors.webhooks(actor)[:SHOWN])
    values: dict[str, Any] = {}
    refusal: DomainError | None = None
    if request.method == "POST":
        values = dict(typed(FIELDS, request.POST))
        try:
            row, key = call(services.add_webhook, actor=actor, name=values["name"], url=values["url"], events=_events(values["events"]))
        except DomainError as error:
            refusal = error
        else:
            # Shown once, on the page that answers this very request: it is never stored in a session.
            return _webhook(request, row.id, key=key)
    context = {
        "rows": rows, "may_manage": actor.is_admin, "events": rules.EVENTS, "refusal": refusal,
        "fields": filled(FIELDS, values, refusal.errors if refusal else None),
    }  # fmt: skip
    return render(request, "notices/webhooks.html", context, status=refusal.status if refusal else 200)


@require_GET
@page
def webhook(request: HttpRequest, webhook_id: str) -> HttpResponse:
    """One webhook: what it was told and what it answered."""
    return _webhook(request, webhook_id)


def _webhook(
    request: HttpRequest, webhook_id: Any, *, key: str = "", refusal: DomainError | None = None, given: dict[str, Any] | None = None
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    row = selectors.webhook(actor, webhook_id)
    values = given or {"name": row.name, "url": row.url, "events": ", ".join(row.events)}
    context = {
        "row": row, "deliveries": list(selectors.deliveries(actor, row.id)[:SHOWN]), "may_manage": actor.is_admin and not row.ended_at,
        "key": key, "refusal": refusal, "fields": filled(FIELDS, values, refusal.errors if refusal else None), "most": SHOWN,
    }  # fmt: skip
    response = render(request, "notices/webhook.html", context, status=refusal.status if refusal else 200)
    if key:
        response["Cache-Control"] = "no-store"
    return response


@require_POST
@page
def change(request: HttpRequest, webhook_id: str) -> HttpResponse:
    """Change name, address or events."""
    values = dict(typed(FIELDS, request.POST))
    try:
        call(
            services.change_webhook, actor=request.actor, webhook_id=webhook_id,  # type: ignore[attr-defined]
            name=values["name"], url=values["url"], events=_events(values["events"]),
        )  # fmt: skip
    except DomainError as error:
        return _webhook(request, webhook_id, refusal=error, given=values)
    messages.success(request, "Changed. What is told from now on follows it.")
    return redirect("notices:webhook", webhook_id)


@require_POST
@page
def rotate(request: HttpRequest, webhook_id: str) -> HttpResponse:
    """Replace the signing key and show the new one once."""
    _, key = call(services.rotate_key, actor=request.actor, webhook_id=webhook_id)  # type: ignore[attr-defined]
    return _webhook(request, webhook_id, key=key)


@require_POST
@page
def test(request: HttpRequest, webhook_id: str) -> HttpResponse:
    """Send a test."""
    call(services.test_webhook, actor=request.actor, webhook_id=webhook_id)  # type: ignore[attr-defined]
    messages.success(request, "A test is on its way. Reload in a few seconds to see what it answered.")
    return redirect("notices:webhook", webhook_id)


@require_POST
@page
def end(request: HttpRequest, webhook_id: str) -> HttpResponse:
    """End it."""
    call(services.end_webhook, actor=request.actor, webhook_id=webhook_id)  # type: ignore[attr-defined]
    messages.success(request, "It is told nothing any more.")
    return redirect("notices:webhooks")


@require_POST
@page
def redeliver(request: HttpRequest, delivery_id: str) -> HttpResponse:
    """Try a delivery again."""
    row = call(services.redeliver, actor=request.actor, delivery_id=delivery_id)  # type: ignore[attr-defined]
    messages.success(request, "It is tried again. Reload in a few seconds to see what it answered.")
    return redirect("notices:webhook", row.webhook_id)

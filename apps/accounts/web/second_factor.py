"""Pages about codes from a generator: turn them on, confirm, turn them off."""

import segno
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from apps.accounts import doors, selectors, services
from apps.accounts.web.access import page
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.core.fields import Field, filled

CONFIRM = (
    Field("password", "Your password", "password", required=True),
    Field("code", "Code it shows now", required=True, autocomplete="one-time-code"),
)
REASON = Field("reason", "Why", required=True, hint="Such as: phone lost, identity checked by telephone.")


@require_POST
@page
def begin(request: HttpRequest) -> HttpResponse:
    """A new generator: its QR code and seed, shown on this answer only."""
    seed, otpauth = call(services.begin_second_factor, actor=request.actor)  # type: ignore[attr-defined]
    return _show(request, seed=seed, otpauth=otpauth)


def _show(request: HttpRequest, *, seed: str = "", otpauth: str = "", refusal: DomainError | None = None) -> HttpResponse:
    picture = segno.make(otpauth, error="m").svg_inline(scale=4, border=2, dark="#000", light="#fff", omitsize=True) if otpauth else ""
    context = {
        "seed": " ".join(seed[i : i + 4] for i in range(0, len(seed), 4)), "picture": picture, "refusal": refusal,
        "fields": filled(CONFIRM, {}, refusal.errors if refusal else None),
    }  # fmt: skip
    response = render(request, "accounts/codes.html", context, status=refusal.status if refusal else 200)
    response.headers["Cache-Control"] = "no-store"
    return response


@sensitive_post_parameters("password", "code")
@require_POST
@page
def confirm(request: HttpRequest) -> HttpResponse:
    """Codes are asked for from now on; recovery codes are shown on this answer only."""
    try:
        codes = doors.confirm_second_factor(
            actor=request.actor,  # type: ignore[attr-defined]
            password=request.POST.get("password", ""),
            code=request.POST.get("code", ""),
        )
    except DomainError as error:
        return _show(request, refusal=error)
    response = render(request, "accounts/codes.html", {"recovery": codes})
    response.headers["Cache-Control"] = "no-store"
    return response


@sensitive_post_parameters("password", "code")
@require_POST
@page
def remove(request: HttpRequest) -> HttpResponse:
    """Ask me for codes no more."""
    from apps.accounts.web.views import account_page

    actor = request.actor  # type: ignore[attr-defined]
    try:
        doors.remove_second_factor(
            actor=actor, user_id=actor.user_id, password=request.POST.get("password", ""), code=request.POST.get("code", "")
        )
    except DomainError as error:
        return account_page(request, error)
    messages.success(request, "You are asked for codes no more.")
    return redirect("accounts:account")


@require_POST
@page
def remove_anothers(request: HttpRequest, user_id: str) -> HttpResponse:
    """An administrator turns somebody's codes off, with a reason."""
    from apps.accounts.web.people import person_page

    actor = request.actor  # type: ignore[attr-defined]
    selectors.account(actor, user_id)
    try:
        doors.remove_second_factor(actor=actor, user_id=user_id, reason=request.POST.get("reason", ""))
    except DomainError as error:
        return person_page(request, user_id, error)
    messages.success(request, "Codes are asked for no more at this account.")
    return redirect("accounts:person", user_id=user_id)

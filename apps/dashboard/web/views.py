"""Home: each role's own question first."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET

from apps.accounts.web.access import page
from apps.dashboard import selectors


@require_GET
@page
def home(request: HttpRequest) -> HttpResponse:
    """Send a person to the page that answers their question."""
    return redirect(selectors.home_of(request.actor))  # type: ignore[attr-defined]

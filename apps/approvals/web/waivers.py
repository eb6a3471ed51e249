"""The doors behind the waiver forms of a gate's page."""

from datetime import UTC, datetime, time
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.dateparse import parse_date
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from apps.accounts.web.access import page
from apps.approvals import doors, services
from apps.approvals.web import reads
from apps.approvals.web.gate import gate_page
from apps.core.doors import call
from apps.core.errors import CredentialsRefused, DomainError, Invalid


def _end_of(day: str) -> datetime:
    """The last moment of a day that a form names."""
    try:
        found = parse_date(day)
    except ValueError:
        found = None
    if found is None:
        raise Invalid("until: choose the day on which it ends.", errors={"until": ["Choose a day."]})
    return datetime.combine(found, time(23, 59, 59), UTC)


@require_POST
@page
def ask(request: HttpRequest, gate_id: Any) -> HttpResponse:
    """Ask for a waiver of a check or an item."""
    post = request.POST
    try:
        call(
            services.ask_waiver, actor=request.actor, gate_id=gate_id, subject=post.get("subject", ""),  # type: ignore[attr-defined]
            reason=post.get("reason", ""), until=_end_of(post.get("until", "")),
        )  # fmt: skip
    except DomainError as error:
        return gate_page(request, gate_id, error, "waiver")
    messages.success(request, "The waiver is asked for. It counts once a risk owner has signed it.")
    return redirect("approvals:gate", gate_id=gate_id)


@sensitive_post_parameters("password")
@require_POST
@page
def sign(request: HttpRequest, gate_id: Any, waiver_id: Any) -> HttpResponse:
    """Sign or refuse a waiver as risk owner, with the password."""
    post, granted = request.POST, request.POST.get("answer") == "grant"
    try:
        doors.sign_waiver(
            actor=request.actor, waiver_id=waiver_id, grant=granted, comment=post.get("comment", ""),  # type: ignore[attr-defined]
            password=post.get("password", ""), code=post.get("code", ""),
        )  # fmt: skip
    except CredentialsRefused as error:
        reads.say_what_was_wrong(error, "signed")
        return gate_page(request, gate_id, error, f"waiver-{waiver_id}")
    except DomainError as error:
        return gate_page(request, gate_id, error, f"waiver-{waiver_id}")
    messages.success(request, "You signed the waiver. It ends by itself." if granted else "You refused the waiver. It stays to be done.")
    return redirect("approvals:gate", gate_id=gate_id)

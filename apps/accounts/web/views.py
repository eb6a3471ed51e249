"""Pages of accounts: sign in, sign out, my account with tokens."""

from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import rules, selectors, services
from apps.accounts.models import User
from apps.accounts.web.access import page
from apps.core.doors import call
from apps.core.errors import CredentialsRefused, DomainError, TooMany


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in with email and password; a failure is counted and audited."""
    target = request.POST.get("next") or request.GET.get("next") or ""
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        target = resolve_url(settings.LOGIN_REDIRECT_URL)
    refusal: DomainError | None = None
    email = ""
    if request.method == "POST":
        email = request.POST.get("email", "")
        ip = selectors.client_ip(request)
        try:
            user = services.verify_credentials(email=email, password=request.POST.get("password", ""), ip=ip)
        except CredentialsRefused as error:
            call(services.record_failure, email=email, ip=ip, user_agent=request.headers.get("User-Agent", "")[:200])
            refusal = error
        except TooMany as error:
            refusal = error
        else:
            login(request, user, backend="django.contrib.auth.backends.ModelBackend")
            call(services.open_session, actor=selectors.actor_from_user(user, request=request))
            return redirect(target)
    elif request.user.is_authenticated:
        return redirect(target)
    context = {"refusal": refusal.detail if refusal else "", "email": email, "next": target}
    response = render(request, "accounts/sign_in.html", context, status=refusal.status if refusal else 200)
    for name, value in refusal.headers.items() if refusal else ():
        response.headers[name] = value
    return response


@require_POST
@page
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    call(services.close_session, actor=request.actor)  # type: ignore[attr-defined]
    logout(request)
    return redirect("accounts:sign-in")


@require_http_methods(["GET", "POST"])
@page
def account(request: HttpRequest) -> HttpResponse:
    """My roles and API tokens; a new token's secret is shown once, on this answer only."""
    actor = request.actor  # type: ignore[attr-defined]
    secret, refusal = None, None
    if request.method == "POST":
        try:
            _, secret = call(
                services.issue_token, actor=actor, user=cast(User, request.user),
                name=request.POST.get("name", ""), scopes=request.POST.getlist("scopes"),
            )  # fmt: skip
        except DomainError as error:
            refusal = error
    context = {"tokens": selectors.tokens(actor)[:100], "scopes": rules.SCOPES, "secret": secret, "refusal": refusal, "actor": actor}
    response = render(request, "accounts/account.html", context, status=refusal.status if refusal else 200)
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@page
def revoke_token(request: HttpRequest, token_id: str) -> HttpResponse:
    """Revoke one token."""
    token = call(services.revoke_token, actor=request.actor, token_id=token_id)  # type: ignore[attr-defined]
    messages.success(request, f"The token “{token.name}” no longer works.")
    return redirect("accounts:account")

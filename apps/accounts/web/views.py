"""Pages of accounts: sign in, sign out, my account with tokens."""

from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import doors, rules, selectors, services
from apps.accounts.models import User
from apps.accounts.web.access import page
from apps.core.clock import now
from apps.core.doors import call
from apps.core.errors import CredentialsRefused, DomainError, TooMany
from apps.core.fields import Field, filled

CODE_WITHIN_S = 300


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
            if selectors.has_second_factor(user.id):
                request.session.cycle_key()
                request.session["awaits_code"] = {"user": str(user.id), "next": target, "until": now().timestamp() + CODE_WITHIN_S}
                return redirect("accounts:sign-in-code")
            return _enter(request, user, target)
    elif request.user.is_authenticated:
        return redirect(target)
    context = {"refusal": refusal.detail if refusal else "", "email": email, "next": target}
    response = render(request, "accounts/sign_in.html", context, status=refusal.status if refusal else 200)
    for name, value in refusal.headers.items() if refusal else ():
        response.headers[name] = value
    return response


def _enter(request: HttpRequest, user: User, target: str) -> HttpResponse:
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    call(services.open_session, actor=selectors.actor_from_user(user, request=request))
    return redirect(target)


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def sign_in_code(request: HttpRequest) -> HttpResponse:
    """The second step, for who has a generator: its code, within minutes of the password."""
    waits = request.session.get("awaits_code") or {}
    user = User.objects.filter(id=str(waits["user"]), is_active=True).first() if waits else None
    if user is None or waits["until"] < now().timestamp():
        request.session.pop("awaits_code", None)
        return redirect("accounts:sign-in")
    refusal: DomainError | None = None
    if request.method == "POST":
        try:
            call(services.verify_code, user=user, code=request.POST.get("code", ""))
        except CredentialsRefused as error:
            agent = request.headers.get("User-Agent", "")[:200]
            call(services.record_failure, email=user.email, ip=selectors.client_ip(request), user_agent=agent, purpose="sign-in code")
            refusal = error
        except TooMany as error:
            refusal = error
        else:
            request.session.pop("awaits_code", None)
            return _enter(request, user, waits["next"])
    response = render(request, "accounts/sign_in_code.html", {"refusal": refusal.detail if refusal else ""}, status=refusal.status if refusal else 200)
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


PASSWORD = (
    Field("current", "Current password", "password", required=True),
    Field("code", "Code of your generator", hint="If you use one.", autocomplete="one-time-code"),
    Field("password", "New password", "password", required=True, hint="At least 12 characters.", autocomplete="new-password"),
)


@require_http_methods(["GET", "POST"])
@page
def account(request: HttpRequest) -> HttpResponse:
    """My roles and API tokens; a new token's secret is shown once, on this answer only."""
    actor = request.actor  # type: ignore[attr-defined]
    if request.method != "POST":
        return account_page(request)
    try:
        _, secret = call(
            services.issue_token, actor=actor, user=cast(User, request.user),
            name=request.POST.get("name", ""), scopes=request.POST.getlist("scopes"),
        )  # fmt: skip
    except DomainError as error:
        return account_page(request, error)
    return account_page(request, secret=secret)


@sensitive_post_parameters("password", "current", "code")
@require_POST
@page
def password(request: HttpRequest) -> HttpResponse:
    """Change my password; this session goes on, others end."""
    actor = request.actor  # type: ignore[attr-defined]
    try:
        user = doors.set_password(
            actor=actor,
            user_id=actor.user_id,
            password=request.POST.get("password", ""),
            current=request.POST.get("current", ""),
            code=request.POST.get("code", ""),
        )
    except DomainError as error:
        return account_page(request, error)
    update_session_auth_hash(request, user)
    messages.success(request, "Your password is changed. Your other sessions have ended.")
    return redirect("accounts:account")


def account_page(request: HttpRequest, refusal: DomainError | None = None, secret: str = "") -> HttpResponse:
    """My account, after a refusal with that form's reason."""
    actor = request.actor  # type: ignore[attr-defined]
    context = {
        "tokens": selectors.tokens(actor)[:100], "has_codes": selectors.has_second_factor(actor.user_id), "asked_codes": request.path.endswith("/codes/remove/"), "scopes": rules.SCOPES, "secret": secret, "refusal": refusal, "actor": actor,
        "password_fields": filled(PASSWORD, {}, refusal.errors if refusal else None),
    }  # fmt: skip
    response = render(request, "accounts/account.html", context, status=refusal.status if refusal else 200)
    for name, value in refusal.headers.items() if refusal else ():
        response.headers[name] = value
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@page
def revoke_token(request: HttpRequest, token_id: str) -> HttpResponse:
    """Revoke one token."""
    token = call(services.revoke_token, actor=request.actor, token_id=token_id)  # type: ignore[attr-defined]
    messages.success(request, f"The token “{token.name}” no longer works.")
    return redirect("accounts:account")

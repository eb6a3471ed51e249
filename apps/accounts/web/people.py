"""Pages for administrators: who has an account, with which roles; make one, change its roles, close it."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts import rules, selectors, services
from apps.accounts.models import User
from apps.accounts.web.access import page
from apps.core.actor import Actor, Function, Role
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.core.fields import Field, filled, typed

MOST_SHOWN = 500
ROLE_WORDS = {Role.ML_ENGINEER: "ML engineer", Role.POLICY_OWNER: "policy owner", Role.ADMIN: "administrator"}
# Value and words of every role that can be given; an approver's with its function.
ROLES = tuple(
    (f"{role}:{function}" if function else str(role), f"approver for {function}" if function else ROLE_WORDS.get(role, str(role)))
    for role in Role
    for function in (Function if role == Role.APPROVER else ("",))
)
ROLE = Field("role", "Role", "select", required=True, choices=(("", "choose"), *ROLES))
NEW = (
    Field("full_name", "Name", required=True, hint="As it is printed beside signatures."),
    Field("email", "Email address", "email", required=True),
    Field(
        "password", "First password", "password", required=True, hint="At least 12 characters. Ask the person to change it under Account."
    ),
    Field("role", "Role", "select", choices=(("", "none yet"), *ROLES)),
)


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
@page
def people(request: HttpRequest) -> HttpResponse:
    """All accounts, and the form that makes one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rules.check_may_administer(actor)
    refusal: DomainError | None = None
    values: dict[str, str] = {}
    if request.method == "POST":
        values = typed(NEW, request.POST)
        try:
            made = call(_create, actor, values | {"password": request.POST.get("password", "")})
        except DomainError as error:
            refusal = error
            values.pop("password")
        else:
            messages.success(request, f"{made} can sign in.")
            return redirect("accounts:person", user_id=made.id)
    accounts = selectors.accounts(actor, search=request.GET.get("search", "").strip())
    context = {
        "people": list(accounts[:MOST_SHOWN]),
        "most": MOST_SHOWN,
        "search": request.GET.get("search", ""),
        "fields": filled(NEW, values, refusal.errors if refusal else None),
        "refusal": refusal,
    }
    return render(request, "accounts/people.html", context, status=refusal.status if refusal else 200)


def _create(actor: Actor, given: dict[str, str]) -> User:
    user = services.create_user(actor=actor, email=given["email"], full_name=given["full_name"], password=given["password"])
    if given["role"]:
        _assign(actor, user, given["role"])
    return user


def _assign(actor: Actor, user: User, text: str) -> Any:
    role, _, function = text.partition(":")
    return services.assign_role(actor=actor, user=user, role=role, function=function)


@require_GET
@page
def person(request: HttpRequest, user_id: Any) -> HttpResponse:
    """One account: its roles, and what can be changed."""
    return person_page(request, user_id)


@require_POST
@page
def assign_role(request: HttpRequest, user_id: Any) -> HttpResponse:
    """Give a role."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    user = selectors.account(actor, user_id)
    try:
        call(_assign, actor, user, request.POST.get("role", ""))
    except DomainError as error:
        return person_page(request, user_id, error)
    messages.success(request, f"{user} has the role from now on.")
    return redirect("accounts:person", user_id=user_id)


@require_POST
@page
def remove_role(request: HttpRequest, user_id: Any) -> HttpResponse:
    """Take a role away."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    user = selectors.account(actor, user_id)
    role, _, function = request.POST.get("role", "").partition(":")
    try:
        call(services.remove_role, actor=actor, user=user, role=role, function=function)
    except DomainError as error:
        return person_page(request, user_id, error)
    messages.success(request, "The role is taken away. What it allowed ended at once.")
    return redirect("accounts:person", user_id=user_id)


@require_POST
@page
def close(request: HttpRequest, user_id: Any) -> HttpResponse:
    """Close the account."""
    try:
        user = call(services.deactivate_user, actor=request.actor, user_id=user_id)  # type: ignore[attr-defined]
    except DomainError as error:
        return person_page(request, user_id, error)
    messages.success(request, f"The account of {user} is closed. Its sessions and tokens ended at once.")
    return redirect("accounts:person", user_id=user_id)


def person_page(request: HttpRequest, user_id: Any, refusal: DomainError | None = None) -> HttpResponse:
    """One account's page, after a refusal with its reason."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = selectors.account(actor, user_id)
    context = {
        "person": found,
        "roles": list(found.role_assignments.all()),
        "fields": filled([ROLE], {}, refusal.errors if refusal else None),
        "tokens": selectors.live_tokens(found),
        "has_codes": selectors.has_second_factor(found.id),
        "is_me": str(found.id) == actor.user_id,
        "refusal": refusal,
    }
    return render(request, "accounts/person.html", context, status=refusal.status if refusal else 200)

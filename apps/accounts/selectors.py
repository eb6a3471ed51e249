"""Reads of accounts: who a request is, who has which role."""

import hmac
import json
from collections.abc import Iterable
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from guardian.models import UserObjectPermission

from apps.accounts import rules
from apps.accounts.models import ApiToken, RoleAssignment, SecondFactor, User
from apps.core import sql
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import NotFound, SignInNeeded
from apps.core.ids import secret_hash


def client_ip(request: HttpRequest) -> str:
    """The address of the caller; behind the proxy, the one that the proxy itself appended: what came before it is the caller's word."""
    seen = str(request.META.get("REMOTE_ADDR", ""))
    if settings.BEHIND_PROXY and (forwarded := request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()):
        return forwarded[:64]
    return seen


def actor_from_user(user: User, *, request: HttpRequest | None = None) -> Actor:
    """The Actor of a person. One query."""
    assignments = list(user.role_assignments.all())
    return Actor(
        kind="user",
        id=f"user:{user.id}",
        label=str(user),
        person=str(user),
        user_id=str(user.id),
        roles=frozenset(a.role for a in assignments),
        functions=frozenset(a.function for a in assignments if a.function),
        **_of_request(request),
    )


def actor_of(user_id: Any, *, otherwise: str = "") -> Actor | None:
    """The Actor of a person by id, None once the account is closed; without a person, one of our own processes named `otherwise`."""
    if user_id is None:
        return Actor.system(otherwise.removeprefix("system:")) if otherwise.startswith("system:") else None
    found = User.objects.filter(id=user_id, is_active=True).first()
    return actor_from_user(found) if found else None


# One statement, written out: a script asks this with every call it makes, and composing it would cost more than asking.
_HOLDER = """
    SELECT t.id, t.name, t.token_hash, t.scopes, t.expires_at, t.revoked_at, t.last_used_at, u.id, u.is_active,
           coalesce(nullif(u.full_name, ''), u.email),
           ARRAY(SELECT r.role || ':' || r.function FROM accounts_roleassignment r WHERE r.user_id = u.id)
      FROM accounts_apitoken t JOIN accounts_user u ON u.id = t.user_id
     WHERE t.prefix = $1
"""


def actor_from_token(raw: str, *, request: HttpRequest | None = None) -> Actor:
    """The Actor of an API token; raises SignInNeeded when it is unknown, expired or revoked."""
    parts = raw.split("_", 2)
    row = None
    if len(parts) == 3 and parts[0] == "ghp" and "\x00" not in parts[1]:
        row = next(iter(sql.ask(_HOLDER, [parts[1]])), None)
    if row is None or not hmac.compare_digest(row[2], secret_hash(raw)):
        raise SignInNeeded("The API token is not known. Issue a new one under Account, and send it as `Authorization: Bearer ...`.")
    token_id, name, _, scopes, expires_at, revoked_at, last_used_at, user_id, is_active, label, held = row
    moment = now()
    if revoked_at or expires_at <= moment or not is_active:
        raise SignInNeeded("The API token has expired or was revoked. Issue a new one under Account.")
    if last_used_at is None or moment - last_used_at > timedelta(minutes=5):
        ApiToken.objects.filter(id=token_id).update(last_used_at=moment)
    roles = [each.partition(":") for each in held]
    return Actor(
        kind="token",
        id=f"token:{token_id}",
        label=f"{label} (token {name})",
        person=label,
        user_id=str(user_id),
        roles=frozenset(role for role, _, _ in roles),
        functions=frozenset(function for _, _, function in roles if function),
        scopes=frozenset(json.loads(scopes) if isinstance(scopes, str) else scopes),
        on_behalf_of=f"user:{user_id}",
        **_of_request(request),
    )


def _of_request(request: HttpRequest | None) -> dict[str, Any]:
    """What the trail keeps of a request."""
    if request is None:
        return {}
    return {
        "request_id": str(getattr(request, "request_id", "")),
        "ip": client_ip(request),
        "user_agent": request.headers.get("User-Agent", "")[:200],
    }


def users(actor: Actor, *, search: str = "", closed: bool = False) -> QuerySet[User]:
    """People by name with roles, for choosing an owner or sponsor: any signed-in person may see names. `closed`: administrators only."""
    if closed:
        return accounts(actor, search=search)
    rows = User.objects.filter(is_active=True).prefetch_related("role_assignments").order_by("full_name", "id")
    return rows.filter(Q(full_name__icontains=search) | Q(email__icontains=search)) if search else rows


def accounts(actor: Actor, *, search: str = "") -> QuerySet[User]:
    """All accounts, closed ones too, by name, with roles; for administrators."""
    rules.check_may_administer(actor)
    rows = User.objects.prefetch_related("role_assignments").order_by("full_name", "id")
    return rows.filter(Q(full_name__icontains=search) | Q(email__icontains=search)) if search else rows


def account(actor: Actor, user_id: Any) -> User:
    """One account for an administrator, closed ones too; an active one for anybody; else NotFound."""
    rows = accounts(actor) if actor.is_admin else users(actor)
    found = rows.filter(id=user_id).first()
    if found is None:
        raise NotFound("There is no such account. Look under People or GET /api/v1/users/.")
    return found


def live_tokens(user: User) -> int:
    """How many of the person's tokens work now."""
    return user.tokens.filter(revoked_at=None, expires_at__gt=now()).count() if user.is_active else 0


def user_by_email(email: str) -> User | None:
    """The account with this address, or None."""
    return User.objects.filter(email__iexact=email.strip()).first()


def people_named(names: Iterable[str], *, role: str = "") -> dict[str, User]:
    """Name -> the active person (with this role) whom it means: by the address, or by what stands before the @ of one address alone."""
    wanted = {name.strip() for name in names if name.strip()}
    if not wanted:
        return {}
    means = reduce(or_, (Q(email__iexact=n) if "@" in n else Q(email__istartswith=f"{n}@") for n in wanted))
    rows = User.objects.filter(means, is_active=True, **({"role_assignments__role": role} if role else {})).distinct()
    found: dict[str, list[User]] = {}
    for user in rows:
        address = user.email.lower()
        for name in {address, address.rpartition("@")[0]}:
            found.setdefault(name, []).append(user)
    return {name: who[0] for name in wanted if len(who := found.get(name.lower(), [])) == 1}


def holders(role: str, function: str = "") -> QuerySet[User]:
    """Active people with a role (and function)."""
    lookup: dict[str, Any] = {"role_assignments__role": role}
    if function:
        lookup["role_assignments__function"] = function
    return User.objects.filter(is_active=True, **lookup).distinct()


def still_holds(user_id: Any, role: str, function: str) -> bool:
    """Whether the person has the role now; asked inside the signing transaction, with the row locked against removal."""
    return RoleAssignment.objects.select_for_update(no_key=True).filter(user_id=user_id, role=role, function=function).exists()


def has_second_factor(user_id: Any) -> bool:
    """Whether codes are asked for at this account."""
    return SecondFactor.objects.filter(user_id=user_id).exclude(confirmed_at=None).exists()


def tokens(actor: Actor) -> QuerySet[ApiToken]:
    """The actor's own tokens (all for an administrator), newest first."""
    return ApiToken.objects.visible_to(actor).select_related("user").order_by("-id")


def grants_on(subject: Model) -> list[tuple[Any, str]]:
    """(user id, permission) for every grant of a person on one object, closed accounts too."""
    rows = UserObjectPermission.objects.filter(content_type=ContentType.objects.get_for_model(subject), object_pk=str(subject.pk)).order_by(
        "permission__codename"
    )
    return list(rows.values_list("user_id", "permission__codename"))

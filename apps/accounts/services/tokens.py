"""API tokens."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.accounts import rules
from apps.accounts.models import ApiToken, User
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Invalid, NotAllowed
from apps.core.ids import new_secret


@transaction.atomic
def issue_token(*, actor: Actor, user: User, name: str, scopes: list[str], expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """Issue an API token; returns (row, secret). The secret is shown this once. Only its owner or an administrator may."""
    if str(user.id) != actor.user_id:
        rules.check_may_administer(actor)
    if not actor.has_scope("write"):
        raise NotAllowed("A read-only token cannot issue tokens. Sign in, or use one with the scope write.")
    own = ApiToken.objects.filter(id=actor.id.removeprefix("token:")).first() if actor.kind == "token" else None
    expires_at = expires_at or min(now() + timedelta(days=90), own.expires_at if own else now() + timedelta(days=90))
    rules.check_token(scopes, expires_at, now())
    rules.check_grantable(actor, scopes, expires_at, own.expires_at if own else None)
    if not name.strip():
        raise Invalid("name: say what the token is for.", errors={"name": ["Needed."]})
    whole, prefix, digest = new_secret("ghp")
    token = ApiToken.objects.create(
        user=user, name=name.strip(), prefix=prefix, token_hash=digest, scopes=sorted(set(scopes)), expires_at=expires_at
    )
    audit.record(
        "accounts.token.issued", actor=actor, obj_type="apitoken", obj_id=str(token.id), obj_label=token.name,
        after={"owner": user.email, "scopes": token.scopes, "expires_at": expires_at},
    )  # fmt: skip
    return token, whole


@transaction.atomic
def revoke_token(*, actor: Actor, token_id: Any) -> ApiToken:
    """Make a token useless from now on."""
    token = ApiToken.objects.visible_to(actor).select_for_update(no_key=True).one("API token", id=token_id)
    if token.revoked_at is None:
        token.revoked_at = now()
        token.save(update_fields=["revoked_at"])
        audit.record("accounts.token.revoked", actor=actor, obj_type="apitoken", obj_id=str(token.id), obj_label=token.name)
    return token

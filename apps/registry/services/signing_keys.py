"""Keys that are trusted to sign models: added and retired by administrators."""

from typing import Any
from uuid import UUID

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NotAllowed
from apps.registry.models import SigningKey
from apps.registry.rules import signing_keys as rules


def _check_admin(actor: Actor) -> None:
    if not actor.is_admin:
        raise NotAllowed("Only an administrator says which keys are trusted. Send one the public key.")


@transaction.atomic
def trust_key(*, actor: Actor, name: str, pem: str) -> SigningKey:
    """Trust a public key or certificate from now on. The same one under the same name changes nothing.

    Raises NotAllowed, Invalid (`name`, `pem`), Conflict when the name or the key is taken.
    """
    _check_admin(actor)
    name = name.strip()
    if not name or len(name) > 100 or "," in name:
        raise Invalid(
            "name: give up to 100 characters without commas, such as the team's name.",
            errors={"name": ["Up to 100 characters, no commas."]},
        )
    found = rules.describe(pem)
    trusted = SigningKey.objects.select_for_update(no_key=True).filter(retired_at=None)
    same = trusted.filter(fingerprint=found.fingerprint).first()
    if same is not None and same.name == name:
        return same
    if same is not None:
        raise Conflict(f"pem: it is trusted already, as {same.name}. Retire that first.")
    if trusted.filter(name=name).exists():
        raise Conflict(f"name: another key is called {name}. Choose another name, or retire that first.")
    made = SigningKey.objects.create(
        name=name, kind=found.kind, fingerprint=found.fingerprint, about=found.about[:500], pem=found.pem,
        added_by_id=UUID(actor.user_id) if actor.user_id else None,
    )  # fmt: skip
    audit.record(
        "registry.signing_key.trusted", actor=actor, obj_type="signingkey", obj_id=str(made.id), obj_label=made.name,
        after={"kind": made.kind, "fingerprint": made.fingerprint, "about": made.about},
    )  # fmt: skip
    return made


@transaction.atomic
def retire_key(*, actor: Actor, key_id: Any, because: str) -> SigningKey:
    """Trust a key no more, also in what it has signed already. Retiring it again changes nothing.

    Raises NotAllowed, NotFound, Invalid (`because`).
    """
    _check_admin(actor)
    row: SigningKey = SigningKey.objects.select_for_update(no_key=True).one("signing key", id=key_id)
    if row.retired_at is not None:
        return row
    because = because.strip()
    if not because or len(because) > 1000:
        raise Invalid("because: say in up to 1,000 characters why it is trusted no more.", errors={"because": ["Say why."]})
    row.retired_at, row.retired_because = now(), because
    row.save(update_fields=["retired_at", "retired_because"])
    audit.record(
        "registry.signing_key.retired", actor=actor, obj_type="signingkey", obj_id=str(row.id), obj_label=row.name,
        before={"fingerprint": row.fingerprint}, reason=because,
    )  # fmt: skip
    return row

"""Access of one person to one object (django-guardian). The caller's app decided that the actor may."""

from typing import Any

from django.db import transaction
from guardian.shortcuts import assign_perm, remove_perm

from apps.accounts.models import User
from apps.audit import services as audit
from apps.core.actor import Actor


@transaction.atomic
def grant(*, actor: Actor, user: User, permission: str, subject: Any, usecase_id: str | None = None) -> None:
    """Give one person a permission on one object (django-guardian). The caller's app decided that the actor may."""
    assign_perm(permission, user, subject)
    audit.record(
        "accounts.grant.given", actor=actor, obj_type=subject._meta.model_name, obj_id=str(subject.pk), obj_label=str(subject),
        usecase_id=usecase_id, after={"user": user.email, "permission": permission},
    )  # fmt: skip


@transaction.atomic
def revoke_grant(*, actor: Actor, user: User, permission: str, subject: Any, usecase_id: str | None = None) -> None:
    """Take it away again."""
    remove_perm(permission, user, subject)
    audit.record(
        "accounts.grant.removed", actor=actor, obj_type=subject._meta.model_name, obj_id=str(subject.pk), obj_label=str(subject),
        usecase_id=usecase_id, before={"user": user.email, "permission": permission},
    )  # fmt: skip

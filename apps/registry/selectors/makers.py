"""Who logged a model, as far as it is known: whom to ask about it, and who could answer for it."""

from collections.abc import Iterable
from typing import Any

from django.db.models.fields.json import KeyTextTransform

from apps.accounts.selectors import people_named
from apps.core.actor import Role
from apps.registry.models import ModelVersion
from apps.registry.rules.cards import IMPORTED_TAG, USER_TAG, logged_by


def contact_of(version: ModelVersion, tags: dict[str, str]) -> str:
    """Address of the person who logged a version, or "": a login name that fits no account is no way to reach anybody."""
    said = logged_by(tags, registered_by=version.author_user.email if version.author_user else "")
    person = people_named([said]).get(said)
    return person.email if person else said if "@" in said else ""


def suggested_owners(model_ids: Iterable[Any]) -> dict[Any, str]:
    """Model id -> address of the active ML engineer who logged its newest version; models without one are left out. Two queries."""
    rows = (
        ModelVersion.objects.filter(model_id__in=list(model_ids))
        .order_by("model_id", "-version")
        .distinct("model_id")
        .values_list("model_id", "author_user__email", KeyTextTransform(USER_TAG, "tags"), KeyTextTransform(IMPORTED_TAG, "tags"))
    )
    named = {
        model_id: logged_by({USER_TAG: user or ""} | ({IMPORTED_TAG: imported} if imported else {}), registered_by=email or "")
        for model_id, email, user, imported in rows
    }
    people = people_named(named.values(), role=Role.ML_ENGINEER)
    return {model_id: people[name].email for model_id, name in named.items() if name in people}

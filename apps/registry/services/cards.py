"""Model cards."""

from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict
from apps.registry import rules, selectors
from apps.registry.models import ModelCard, ModelVersion


@transaction.atomic
def save_card(*, actor: Actor, version_id: Any, revision: int | None = None, **fields: str) -> ModelCard:
    """Save the given fields of a version's card; others stay. Saving what is there already changes nothing.

    `revision`: the one the person has read; Conflict when somebody saved since. Raises NotAllowed, NotFound, Invalid.
    """
    found = selectors.version_by_id(actor, version_id)
    rules.check_may_edit(actor)
    rules.check_card(fields)
    # The version's row is the lock: the card may not exist yet.
    ModelVersion.objects.select_for_update(no_key=True).get(id=found.id)
    card, _ = ModelCard.objects.get_or_create(version=found)
    if revision is not None and revision != card.revision:
        raise Conflict(f"revision: the card was saved by {card.updated_by or 'somebody'} meanwhile. Read it again, then save.")
    changed = {name: text for name, text in fields.items() if getattr(card, name) != text}
    if not changed:
        return card
    before = {name: getattr(card, name) for name in changed}
    for name, text in changed.items():
        setattr(card, name, text)
    card.revision += 1
    card.updated_by, card.updated_at = actor.label[:300], now()
    card.save(update_fields=[*changed, "revision", "updated_by", "updated_at"])
    audit.record(
        "registry.card.saved", actor=actor, obj_type="modelversion", obj_id=str(found.id), obj_label=found.label,
        before=before, after={**changed, "revision": card.revision},
    )  # fmt: skip
    return card

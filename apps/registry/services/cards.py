"""Model cards, and the register of known failure modes."""

from typing import Any

from django.db import transaction

from apps.accounts.selectors import user_by_email
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import digest_of, plain
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid
from apps.registry import rules, selectors
from apps.registry.models import CardRevision, FailureMode, ModelCard, ModelVersion, RegisteredModel
from apps.registry.rules import failures
from apps.registry.selectors import cards as reads
from apps.registry.services.may import check_may_edit_model


@transaction.atomic
def save_card(*, actor: Actor, version_id: Any, revision: int | None = None, **fields: str) -> ModelCard:
    """Save the given fields of a version's card; others stay. Each save is kept as a revision. Saving what is there changes nothing.

    `revision`: the one the person has read; Conflict when somebody saved since. Raises NotAllowed, NotFound, Invalid.
    """
    found = selectors.version_by_id(actor, version_id)
    check_may_edit_model(actor, found.model)
    rules.check_card(fields)
    # The version's row is the lock: the card may not exist yet.
    ModelVersion.objects.select_for_update(no_key=True).get(id=found.id)
    card = ModelCard.objects.filter(version=found).first() or ModelCard(version=found)
    if revision is not None and revision != card.revision:
        raise Conflict(f"revision: the card was saved by {card.updated_by or 'somebody'} meanwhile. Read it again, then save.")
    changed = {name: text for name, text in fields.items() if getattr(card, name) != text}
    if not changed:
        return card
    if not CardRevision.objects.filter(version=found, revision=card.revision).exists():
        _keep(card, saved_by=card.updated_by or "filled in from the run")
    before = {name: getattr(card, name) for name in changed}
    for name, text in changed.items():
        setattr(card, name, text)
    card.revision += 1
    card.updated_by, card.updated_at = actor.label[:300], now()
    card.save()
    _keep(card, saved_by=card.updated_by)
    audit.record(
        "registry.card.saved", actor=actor, obj_type="modelversion", obj_id=str(found.id), obj_label=found.label,
        before=before, after={**changed, "revision": card.revision},
    )  # fmt: skip
    return card


def _keep(card: ModelCard, *, saved_by: str) -> CardRevision:
    texts = rules.card_texts(card)
    return CardRevision.objects.create(
        version=card.version, revision=card.revision, fields=texts, figures=plain(reads.figures(card.version)), digest=digest_of(texts),
        saved_by=saved_by, saved_at=card.updated_at or card.created_at,
    )  # fmt: skip


@transaction.atomic
def record_failure_mode(*, actor: Actor, model: str, owner_email: str = "", **fields: Any) -> FailureMode:
    """Write a known failure mode or edge case of a model down. Raises NotAllowed, NotFound, Invalid (names the field)."""
    found = selectors.model(actor, model)
    check_may_edit_model(actor, found)
    values = failures.checked(fields)
    _check_versions(found, values)
    row = FailureMode.objects.create(model=found, owner=owner_named(owner_email), updated_by=actor.label[:300], updated_at=now(), **values)
    audit.record(
        "registry.failure_mode.recorded", actor=actor, obj_type="registeredmodel", obj_id=str(found.id), obj_label=found.name,
        after={"failure_mode": str(row.id), **values, "owner": str(row.owner or "")},
    )  # fmt: skip
    return row


@transaction.atomic
def change_failure_mode(
    *, actor: Actor, failure_id: Any, revision: int | None = None, owner_email: str | None = None, **fields: Any
) -> FailureMode:
    """Change the given fields of an entry; others stay. Entries are never deleted: resolve them, or say until which version they hold.

    `revision`: the one the person has read; Conflict when somebody saved since. Raises NotAllowed, NotFound, Invalid.
    """
    found = reads.failure_mode(actor, failure_id)
    check_may_edit_model(actor, found.model)
    row = FailureMode.objects.select_for_update(no_key=True, of=("self",)).select_related("model", "owner").get(id=found.id)
    if revision is not None and revision != row.revision:
        raise Conflict(f"revision: the entry was saved by {row.updated_by or 'somebody'} meanwhile. Read it again, then save.")
    values = failures.checked({**{f: getattr(row, f) for f in failures.FIELDS}, **fields})
    _check_versions(row.model, values)
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    before: dict[str, Any] = {name: getattr(row, name) for name in changed}
    if owner_email is not None and (owner := owner_named(owner_email)) != row.owner:
        before["owner"], row.owner = str(row.owner or ""), owner
        changed["owner"] = owner
    if not changed:
        return row
    for name, value in values.items():
        setattr(row, name, value)
    row.revision += 1
    row.updated_by, row.updated_at = actor.label[:300], now()
    row.save(update_fields=[*changed, "revision", "updated_by", "updated_at"])
    audit.record(
        "registry.failure_mode.changed", actor=actor, obj_type="registeredmodel", obj_id=str(row.model_id), obj_label=row.model.name,
        before={"failure_mode": str(row.id), **before}, after={k: str(v) if k == "owner" else v for k, v in changed.items()},
    )  # fmt: skip
    return row


def owner_named(email: str) -> Any:
    """The person with this address, None for an empty one; Invalid when nobody has it."""
    if not email:
        return None
    person = user_by_email(email)
    if person is None:
        raise Invalid(
            "owner_email: nobody here has this address. Give that of a person with an account.", errors={"owner_email": ["Unknown."]}
        )
    return person


def _check_versions(model: RegisteredModel, values: dict[str, Any]) -> None:
    known = set(model.versions.values_list("version", flat=True))
    for name in ("since_version", "until_version"):
        if values[name] is not None and values[name] not in known:
            raise Invalid(f"{name}: {model.name} has no version {values[name]}.", errors={name: ["No such version."]})

"""Write down a use case: its words, demands, systems, models and people."""

from typing import Any

from django.db import IntegrityError, transaction

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.ids import slugify
from apps.registry.models import RegisteredModel
from apps.usecases import materiality, rules, selectors
from apps.usecases.models import IntegrationPoint, Person, Requirements, UseCase, UsedModel
from apps.usecases.services import lock, tiers

WORDS = ("name", "problem", "decision_supported", "output_users", "risk_reason", "currency")


def free_slug(name: str) -> str:
    """The name as a slug, numbered when it is taken or the address of a page; an id is no slug, as addresses take both."""
    base = slugify(name)
    base = f"usecase-{base}" if selectors.is_uuid(base) else base
    taken = set(rules.RESERVED_SLUGS) | set(UseCase.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    return base if base not in taken else next(f"{base}-{n}" for n in range(2, len(taken) + 3) if f"{base}-{n}" not in taken)


def _active(user: User | None, field: str) -> None:
    if user is not None and not user.is_active:
        raise Invalid(f"{field}: that account is closed. Choose somebody else.", errors={field: ["Closed account."]})


@transaction.atomic
def create_usecase(
    *,
    actor: Actor,
    name: str,
    problem: str,
    risk_tier: str = "",
    exposure: str = "",
    purpose: str = "",
    owner: User | None = None,
    sponsor: User | None = None,
    decision_supported: str = "",
    output_users: str = "",
    risk_reason: str = "",
    currency: str = "EUR",
    requirements: dict[str, Any] | None = None,
    integrations: list[dict[str, Any]] | None = None,
) -> UseCase:
    """Write down a use case at stage `proposal`. Without `owner` the actor owns it.

    The risk tier follows from `exposure` and `purpose` (materiality.py); `risk_tier` may be higher, and is needed while one of them is not said.
    requirements: names and units as in the Requirements table; integrations: {name, direction, kind, owner, note}.
    Raises Invalid naming the field, NotAllowed for people who only read.
    """
    rules.check_may_create(actor)
    words = rules.check_words(
        {
            "name": name, "problem": problem, "decision_supported": decision_supported, "output_users": output_users,
            "risk_reason": risk_reason, "currency": currency,
        }
    )  # fmt: skip
    creator = User.objects.filter(id=actor.user_id).first() if actor.user_id else None
    owner = owner or creator
    if owner is None:
        raise Invalid("owner: name the person who answers for it.", errors={"owner": ["Needed."]})
    _active(owner, "owner")
    _active(sponsor, "sponsor")
    said = {"exposure": materiality.check_level("exposure", exposure), "purpose": materiality.check_level("purpose", purpose)}
    risk_tier = materiality.check_first(rules.check_tier(risk_tier) if risk_tier else "", materiality.tier_of(exposure, purpose))
    fields = {
        **words, **said, "risk_tier": risk_tier, "owner": owner, "sponsor": sponsor, "created_by": creator or owner,
        "stage_since": now(),
    }  # fmt: skip
    usecase = None
    for _ in range(5):  # a rival may take the slug between the look and the insert
        try:
            with transaction.atomic():
                usecase = UseCase.objects.create(slug=free_slug(name), **fields)
            break
        except IntegrityError:
            continue
    if usecase is None:
        raise Conflict("name: too many use cases of this name are being made at once. Try again.")
    audit.record(
        "usecases.usecase.created", actor=actor, obj_type="usecase", obj_id=str(usecase.id), obj_label=usecase.name,
        usecase_id=str(usecase.id),
        after={
            **words, **said, "slug": usecase.slug, "risk_tier": risk_tier, "owner": owner.email, "sponsor": sponsor.email if sponsor else None,
        },
    )  # fmt: skip
    if requirements:
        set_requirements(actor=actor, usecase_id=usecase.id, **requirements)
    for point in integrations or []:
        add_integration(actor=actor, usecase_id=usecase.id, **point)
    return usecase


@transaction.atomic
def update_usecase(*, actor: Actor, usecase_id: Any, **fields: Any) -> UseCase:
    """Change words, exposure, purpose, risk tier, owner or sponsor; only what is given changes. Raises Invalid naming the field.

    A tier that exposure and purpose no longer allow rises by itself. Conflict for one that takes a risk owner's signature (tiers.py).
    """
    usecase = lock.changeable(actor, usecase_id)
    if unknown := set(fields) - {*WORDS, *tiers.FIELDS, "owner", "sponsor"}:
        raise Invalid(f"{sorted(unknown)[0]}: this cannot be changed here.", errors={name: ["Unknown."] for name in unknown})
    clean: dict[str, Any] = rules.check_words({k: v for k, v in fields.items() if k in WORDS})
    clean |= tiers.checked(usecase, fields)
    for part in ("owner", "sponsor"):
        if part in fields:
            _active(fields[part], part)
            if part == "owner" and fields[part] is None:
                raise Invalid("owner: a use case has an owner.", errors={"owner": ["Needed."]})
            clean[part] = fields[part]
    changed = {k: v for k, v in clean.items() if getattr(usecase, k) != v}
    if changed:
        before = {k: str(getattr(usecase, k) or "") for k in changed}
        for name, value in changed.items():
            setattr(usecase, name, value)
        usecase.save(update_fields=[*changed])
        tiers.settle(actor, usecase, before.get("risk_tier", usecase.risk_tier))
        audit.record(
            "usecases.usecase.changed", actor=actor, obj_type="usecase", obj_id=str(usecase.id), obj_label=usecase.name,
            usecase_id=str(usecase.id), before=before, after={k: str(v or "") for k, v in changed.items()},
        )  # fmt: skip
    return usecase


@transaction.atomic
def set_requirements(*, actor: Actor, usecase_id: Any, **fields: Any) -> Requirements:
    """Set non-functional requirements: milliseconds, percent, hours, people, requests a second; only what is given changes."""
    usecase = lock.changeable(actor, usecase_id)
    clean = rules.check_requirements(fields)
    # Not there yet is as if all were as it is by default: only what differs makes the row.
    row = Requirements.objects.filter(usecase=usecase).first() or Requirements(usecase=usecase)
    before = {k: getattr(row, k) for k in clean}
    if before != clean:
        for name, value in clean.items():
            setattr(row, name, value)
        row.save()
        audit.record(
            "usecases.requirements.set", actor=actor, obj_type="requirements", obj_id=str(row.id), obj_label=usecase.name,
            usecase_id=str(usecase.id), before=before, after=clean,
        )  # fmt: skip
    return row


@transaction.atomic
def add_integration(
    *, actor: Actor, usecase_id: Any, name: str, direction: str, kind: str = "", owner: str = "", note: str = ""
) -> IntegrationPoint:
    """Name a system the use case reads from (`in`), writes to (`out`) or both. Conflict when it is named already."""
    usecase = lock.changeable(actor, usecase_id)
    clean = rules.check_integration({"name": name, "direction": direction, "kind": kind, "owner": owner, "note": note})
    if usecase.integrations.filter(name=clean["name"]).exists():
        raise Conflict(f"name: {clean['name']} is named already.", errors={"name": ["Taken."]})
    point = IntegrationPoint.objects.create(usecase=usecase, **clean)
    audit.record(
        "usecases.integration.added", actor=actor, obj_type="integration", obj_id=str(point.id), obj_label=point.name,
        usecase_id=str(usecase.id), after=clean,
    )  # fmt: skip
    return point


@transaction.atomic
def link_model(*, actor: Actor, usecase_id: Any, model_name: str) -> UsedModel:
    """Say that a registered model serves this use case; saying it twice changes nothing. Only models the actor sees."""
    usecase = lock.changeable(actor, usecase_id)
    model = RegisteredModel.objects.visible_to(actor).filter(name=model_name).first()
    if model is None:
        raise NotFound(f"model: there is no registered model {model_name!r} that you may see. Register a version of it first.")
    link, created = UsedModel.objects.get_or_create(usecase=usecase, model=model)
    if created:
        audit.record(
            "usecases.model.linked", actor=actor, obj_type="registeredmodel", obj_id=str(model.id), obj_label=model.name,
            usecase_id=str(usecase.id), after={"model": model.name},
        )  # fmt: skip
    return link


@transaction.atomic
def give_access(*, actor: Actor, usecase_id: Any, user: User, level: str, part: str = "") -> Person:
    """Let a person view or change this use case (a django-guardian grant) and note their part in it."""
    usecase = lock.changeable(actor, usecase_id)
    rules.check_level(level)
    _active(user, "user")
    for permission in ("view", "change")[: 1 if level == "view" else 2]:
        if not user.has_perm(f"usecases.{permission}_usecase", usecase):
            accounts.grant(actor=actor, user=user, permission=f"usecases.{permission}_usecase", subject=usecase, usecase_id=str(usecase.id))
    person, created = Person.objects.get_or_create(usecase=usecase, user=user, part=(part.strip() or level)[:50])
    if created:
        audit.record(
            "usecases.access.given", actor=actor, obj_type="user", obj_id=str(user.id), obj_label=str(user),
            usecase_id=str(usecase.id), after={"level": level, "part": person.part},
        )  # fmt: skip
    return person

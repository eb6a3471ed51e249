"""A use case that is built anew: the idea is proven, its architecture cannot go on."""

from typing import Any

from django.db import transaction

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.usecases import materiality, selectors
from apps.usecases.models import IntegrationPoint, Person, Requirements, UseCase, UsedModel
from apps.usecases.services.describe import free_slug

WORDS = ("problem", "decision_supported", "output_users", "exposure", "purpose", "risk_reason", "currency")


@transaction.atomic
def succeed(*, actor: Actor, usecase_id: Any) -> UseCase:
    """Begin the successor of a use case as a proposal with the same words, people, demands, systems and models.

    Only approvals calls this, after its own check of who signed; it moves the successor on by the decision it issues.
    """
    old = UseCase.objects.select_for_update(no_key=True).one("use case", id=usecase_id)
    number = old.successors.count() + 1
    name = f"{old.name} (rebuilt{f' {number}' if number > 1 else ''})"[:200]
    new = UseCase.objects.create(
        slug=free_slug(name), name=name, risk_tier=max(old.risk_tier, old.computed_tier, key=materiality.rank), owner=old.owner, sponsor=old.sponsor, created_by=old.created_by, predecessor=old, stage_since=now(),
        **{word: getattr(old, word) for word in WORDS},
    )  # fmt: skip
    _copy(actor, old, new)
    audit.record(
        "usecases.usecase.succeeded", actor=actor, obj_type="usecase", obj_id=str(new.id), obj_label=new.name, usecase_id=str(new.id),
        after={"predecessor": str(old.id), "predecessor_slug": old.slug, "slug": new.slug},
    )  # fmt: skip
    return new


def _copy(actor: Actor, old: UseCase, new: UseCase) -> None:
    if demands := selectors.requirements(old.id):
        fields = [f.name for f in Requirements._meta.concrete_fields if f.name not in ("id", "created_at", "usecase")]
        Requirements.objects.create(usecase=new, **{name: getattr(demands, name) for name in fields})
    for point in selectors.integrations(old.id):
        IntegrationPoint.objects.create(
            usecase=new, name=point.name, kind=point.kind, direction=point.direction, owner=point.owner, note=point.note
        )
    for link in UsedModel.objects.filter(usecase=old):
        UsedModel.objects.create(usecase=new, model_id=link.model_id)
    for person in old.people.all():
        Person.objects.create(usecase=new, user_id=person.user_id, part=person.part)
    people = {u.id: u for u in User.objects.filter(id__in=selectors.grants(old), is_active=True)}
    for user_id, held in selectors.grants(old).items():
        for permission in held if user_id in people else ():
            accounts.grant(actor=actor, user=people[user_id], permission=f"usecases.{permission}", subject=new, usecase_id=str(new.id))

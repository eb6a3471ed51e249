"""Reads of use cases, always from what the actor may see."""

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from apps.accounts import selectors as accounts
from apps.core.actor import Actor, Function, Role
from apps.core.clock import now
from apps.registry.models.governance import UsecaseRef
from apps.usecases import rules
from apps.usecases.models import IntegrationPoint, Person, Requirements, StageMove, TierException, UseCase, UsedModel


def is_uuid(text: Any) -> bool:
    """Whether a reference in an address is an id (else it is a slug)."""
    try:
        uuid.UUID(str(text))
    except ValueError:
        return False
    return True


def usecases(actor: Actor) -> QuerySet[UseCase]:
    """Visible use cases, newest first, with people and requirements: a constant number of queries."""
    return (
        UseCase.objects.visible_to(actor)
        .select_related("owner", "sponsor", "created_by", "requirements")
        .prefetch_related("used_models__model")
        .order_by("-id")
    )


def usecase(actor: Actor, ref: Any) -> UseCase:
    """One visible use case by id or slug, with all that its page shows; else NotFound."""
    found = usecases(actor).prefetch_related("integrations", "moves", "people__user")
    return found.one("use case", **({"id": ref} if is_uuid(ref) else {"slug": str(ref)}))  # type: ignore[attr-defined]


def system_usecase(usecase_id: Any) -> UseCase:
    """One use case for a process or a check of ours, whoever asks."""
    return UseCase.objects.select_related("owner", "sponsor", "created_by").one("use case", id=usecase_id)


def may_change(actor: Actor, usecase_id: Any) -> bool:
    """Whether the actor may change it."""
    return UseCase.objects.changeable_by(actor).filter(id=usecase_id).exists()


def may_change_any(actor: Actor) -> bool:
    """Whether there is a use case the actor may change."""
    return UseCase.objects.changeable_by(actor).exists()


def grants(usecase: UseCase) -> dict[Any, list[str]]:
    """User id -> permissions that were given to this person on the use case, closed accounts too. One query."""
    found: dict[Any, list[str]] = {}
    for user_id, permission in accounts.grants_on(usecase):
        found.setdefault(user_id, []).append(permission)
    return found


def access(usecase: UseCase) -> list[Person]:
    """Who was given access, by name, one row a part; each with its `level`."""
    held = grants(usecase)
    rows = list(usecase.people.select_related("user").order_by("user__full_name", "part"))
    for row in rows:
        row.level = rules.level_of(held.get(row.user_id, ()))  # type: ignore[attr-defined]
    return rows


def requirements(usecase_id: Any) -> Requirements | None:
    """The non-functional requirements, or None before they were set."""
    return Requirements.objects.filter(usecase_id=usecase_id).first()


def integrations(usecase_id: Any) -> QuerySet[IntegrationPoint]:
    """Systems it reads from and writes to."""
    return IntegrationPoint.objects.filter(usecase_id=usecase_id).order_by("name")


def moves(usecase_id: Any) -> QuerySet[StageMove]:
    """Its moves, oldest first."""
    return StageMove.objects.filter(usecase_id=usecase_id).order_by("moved_at", "id")


def stage_before_hold(usecase_id: Any) -> str:
    """Where it was when it was put on hold the last time; empty if never."""
    held = StageMove.objects.filter(usecase_id=usecase_id, to_stage="on_hold").order_by("-moved_at", "-id").first()
    return held.from_stage if held else ""


def time_in_stages(usecase: UseCase) -> list[dict[str, Any]]:
    """Each stay as {stage, entered_at, left_at (None: still there), seconds}, oldest first, with the days `expected` in the stage (None:
    no end) and whether it was longer. Reads the moves prefetched by `usecase`."""
    stays: list[dict[str, Any]] = [{"stage": "proposal", "entered_at": usecase.created_at, "left_at": None}]
    for move in sorted(usecase.moves.all(), key=lambda m: (m.moved_at, m.id)):
        stays[-1]["left_at"] = move.moved_at
        stays.append({"stage": move.to_stage, "entered_at": move.moved_at, "left_at": None})
    days = expected_days()
    for stay in stays:
        stay["seconds"] = ((stay["left_at"] or now()) - stay["entered_at"]).total_seconds()
        stay["expected"] = days.get(stay["stage"])
        stay["late"] = stay["expected"] is not None and stay["seconds"] > stay["expected"] * 86_400
    return stays


def relatives(actor: Actor, usecase: UseCase) -> list[UseCase]:
    """Its predecessor and its successors, as far as the actor may see them."""
    related = Q(predecessor_id=usecase.id) | (Q(id=usecase.predecessor_id) if usecase.predecessor_id else Q(pk__in=[]))
    return list(UseCase.objects.visible_to(actor).filter(related).order_by("created_at"))


def tier_exceptions(usecase_id: Any) -> QuerySet[TierException]:
    """Lower tiers that were asked for, newest first."""
    return TierException.objects.filter(usecase_id=usecase_id).select_related("asked_by", "signer").order_by("-asked_at", "-id")


def tiers_to_sign(actor: Actor) -> QuerySet[TierException]:
    """Lower tiers that wait for this person's signature: of visible use cases, for risk owners, neither their own nor asked by them."""
    if not (actor.user_id and actor.has_role(Role.APPROVER) and Function.RISK in actor.functions):
        return TierException.objects.none()
    rows = TierException.objects.filter(state=TierException.State.ASKED, usecase__in=UseCase.objects.visible_to(actor))
    theirs = Q(asked_by_id=actor.user_id) | Q(usecase__owner_id=actor.user_id) | Q(usecase__sponsor_id=actor.user_id)
    # Without a sponsor that comparison is neither true nor false.
    return rows.exclude(pk__in=rows.filter(theirs).values("pk")).select_related("usecase", "asked_by").order_by("asked_at", "id")


def expected_days() -> dict[str, int]:
    """Days a use case is expected to stay in each stage: settings.STAGE_DAYS, else the rules' own."""
    return {**rules.EXPECTED_DAYS, **getattr(settings, "STAGE_DAYS", {})}


def past_their_time() -> Q:
    """Use cases that are longer in their stage than expected."""
    moment, late = now(), Q(pk__in=[])
    for stage, days in expected_days().items():
        late |= Q(stage=stage, stage_since__lt=moment - timedelta(days=days))
    return late


def stalled(actor: Actor) -> QuerySet[UseCase]:
    """Visible use cases that are longer in their stage than expected, newest first."""
    return usecases(actor).filter(past_their_time())


def model_names(usecase_id: Any) -> list[str]:
    """Names of the registered models linked to it."""
    return list(
        UseCase.objects.filter(id=usecase_id, used_models__isnull=False)
        .order_by("used_models__model__name")
        .values_list("used_models__model__name", flat=True)
    )


class RegistryScope:
    """What the registry asks about use cases for one actor; see apps.registry.models.governance.UsecaseScope."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor

    def links(self) -> QuerySet[UsedModel]:
        """Every link of a use case to a model."""
        return UsedModel.objects.all()

    def seen_links(self) -> QuerySet[UsedModel]:
        """Links of the use cases that the actor may see."""
        return UsedModel.objects.filter(usecase__in=UseCase.objects.visible_to(self.actor).order_by().values("id"))

    def changeable_links(self) -> QuerySet[UsedModel]:
        """Links of the use cases that the actor may change."""
        return UsedModel.objects.filter(usecase__in=UseCase.objects.changeable_by(self.actor).order_by().values("id"))

    def seen_references(self) -> QuerySet[Any, Any]:
        """(model_id, id, slug, name) of the use cases that the actor may see, by name."""
        return self.seen_links().order_by("usecase__name").values_list("model_id", "usecase_id", "usecase__slug", "usecase__name")

    def usecases_of(self, model_ids: Any) -> dict[Any, list[UsecaseRef]]:
        """Model id -> the use cases that use it and that the actor may see, by name."""
        found: dict[Any, list[UsecaseRef]] = {}
        for model_id, usecase_id, slug, name in self.seen_references().filter(model_id__in=model_ids):
            found.setdefault(model_id, []).append(UsecaseRef(str(usecase_id), slug, name))
        return found


def registry_scope(actor: Actor) -> RegistryScope:
    """Use cases as the registry sees them for this actor; it asks through settings.REGISTRY_USECASE_SCOPE."""
    return RegistryScope(actor)


def visible_ids(actor: Actor) -> QuerySet[Any]:
    """Ids of the use cases the actor may see; the trail asks through settings.AUDIT_USECASE_SCOPE."""
    return UseCase.objects.visible_to(actor).values_list("id", flat=True)

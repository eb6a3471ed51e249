"""Who may see what in the registry, and what the portal knows of MLflow's experiments."""

import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.module_loading import import_string
from guardian.shortcuts import get_objects_for_user
from guardian.utils import get_group_obj_perms_model, get_user_obj_perms_model

from apps.core.actor import Actor, Role
from apps.core.models import BaseModel, VisibleQuerySet
from apps.registry.rules import findings as rules

# So many ids a question may hold; more are asked for by a subquery.
MOST_NAMED = 1_000


@dataclass(frozen=True, slots=True)
class UsecaseRef:
    """A use case as the registry names it to people."""

    id: str
    slug: str
    name: str


class UsecaseScope(Protocol):
    """What use cases, which lie above the registry, say for one actor. `links` are rows with a `model_id`."""

    def links(self) -> QuerySet[Any]:
        """Every link of a use case to a model: a model with one is governed."""

    def seen_links(self) -> QuerySet[Any]:
        """Links of the use cases that the actor may see."""

    def changeable_links(self) -> QuerySet[Any]:
        """Links of the use cases that the actor may change."""

    def seen_references(self) -> QuerySet[Any]:
        """(model_id, id, slug, name) of the use cases that the actor may see, by name."""

    def usecases_of(self, model_ids: Any) -> dict[Any, list[UsecaseRef]]:
        """Model id -> the use cases that use it and that the actor may see, by name."""


@cache
def _scope_maker(path: str) -> Any:
    return import_string(path)


def usecase_scope(actor: Actor) -> UsecaseScope:
    """Use cases as this actor sees them, through the path in settings.REGISTRY_USECASE_SCOPE."""
    scope: UsecaseScope = _scope_maker(settings.REGISTRY_USECASE_SCOPE)(actor)
    return scope


def works_with_models(actor: Actor) -> bool:
    """Engineers and approvers also see models that no use case uses yet."""
    return actor.has_role(Role.ML_ENGINEER, Role.APPROVER)


def granted(actor: Actor, permission: str) -> QuerySet[Any]:
    """Models on which the person holds this grant (`view`, `change`, `delete`)."""
    from apps.accounts.models import User

    model = apps.get_model("registry", "RegisteredModel")
    if not actor.user_id:
        return model.objects.none()
    found: QuerySet[Any] = get_objects_for_user(
        User(id=actor.user_id), f"registry.{permission}_registeredmodel", klass=model, with_superuser=False, accept_global_perms=False
    )
    return found


def granted_rows(actor: Actor, permission: str) -> QuerySet[Any]:
    """(id as text) of the models on which the person, or a group of theirs, holds this grant: found without reading the models."""
    model = get_user_obj_perms_model()._default_manager
    if not actor.user_id:
        return model.none().values_list("object_pk")
    about = {"permission__codename": f"{permission}_registeredmodel", "permission__content_type__app_label": "registry"}
    own = model.filter(user_id=actor.user_id, **about).values_list("object_pk")
    shared = get_group_obj_perms_model()._default_manager.filter(group__user=actor.user_id, **about).values_list("object_pk")
    return own.union(shared)


def named_models(actor: Actor) -> tuple[list[uuid.UUID], bool]:
    """(ids, linked): models that were granted, and with `linked` all of the use cases that the actor sees, where those are few."""
    ids = [uuid.UUID(pk) for (pk,) in granted_rows(actor, "view")]
    if works_with_models(actor):
        return ids, False
    few = list(usecase_scope(actor).seen_links().values_list("model_id", flat=True).order_by()[: MOST_NAMED + 1])
    return (ids + few, True) if len(few) <= MOST_NAMED else (ids, False)


def models_seen(actor: Actor, path: str = "", *, named: Any = None, linked: bool = False) -> Q:
    """The condition on rows whose `path` leads to a registered model that the actor may see; for actors who do not see everything.

    named: a condition that names models one by one which were asked for first (see `named_models`), so that the index finds them, however
    large the registry is: the granted ones and, with `linked`, those of use cases. Without it the condition asks nothing yet and holds for
    ever.
    """
    scope = usecase_scope(actor)
    seen = Q() if linked else Q(**{f"{path}id__in": scope.seen_links().values("model_id")})
    if named is not None:
        seen |= Q(named)
    elif actor.user_id:
        seen |= Q(**{f"{path}id__in": granted(actor, "view").values("id")})
    if works_with_models(actor):
        # A probe for each row: the list of all that is governed may be long.
        seen |= Q(~Exists(scope.links().filter(model_id=OuterRef(f"{path}id"))))
        if actor.user_id:
            seen |= Q(**{f"{path}owner_id": actor.user_id})
    return seen


class RegistryQuerySet(VisibleQuerySet):
    """Rows that belong to a registered model; `model_path` leads from the row to it."""

    model_path = "model__"

    def visible_to(self, actor: Actor) -> "RegistryQuerySet":
        """Rows of the models the actor may see: of their use cases, granted, and for those who work with models ungoverned or own ones."""
        if actor.sees_everything:
            return self
        ids, linked = named_models(actor)
        return self.filter(models_seen(actor, self.model_path, named=Q(**{f"{self.model_path}id__in": ids}), linked=linked))


class ModelQuerySet(RegistryQuerySet):
    """Registered models themselves."""

    model_path = ""


class ExperimentQuerySet(VisibleQuerySet):
    """Experiments filtered by who looks."""

    def visible_to(self, actor: Actor) -> "ExperimentQuerySet":
        """Those of the models the actor sees, own ones, and for those who work with models the ones that no model came from."""
        if actor.sees_everything:
            return self
        version = apps.get_model("registry", "ModelVersion")
        behind = version.objects.filter(experiment_id=OuterRef("mlflow_id"))
        seen = Q(Exists(behind.filter(models_seen(actor, "model__"))))
        if actor.user_id:
            seen |= Q(owner_id=actor.user_id)
        if works_with_models(actor):
            seen |= Q(~Exists(behind))
        return self.filter(seen)


class Experiment(BaseModel):
    """An experiment of MLflow that the portal has met; `owner` is who made it through the portal."""

    mlflow_id = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=500, blank=True, default="", db_index=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    synced_at = models.DateTimeField(null=True, blank=True)

    objects = ExperimentQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name or self.mlflow_id


class FrozenVersion(BaseModel):
    """What was known of a version when a gate was requested for it: `digest` is of the canonical text of `facts`. Never changed."""

    version = models.OneToOneField("registry.ModelVersion", on_delete=models.PROTECT, related_name="frozen")
    facts = models.JSONField()
    digest = models.CharField(max_length=71)
    frozen_by = models.CharField(max_length=300)

    objects = RegistryQuerySet.as_manager()

    def __str__(self) -> str:
        return self.digest


class FindingQuerySet(RegistryQuerySet):
    """Findings, filtered by the model they are about."""


class Finding(BaseModel):
    """Something in MLflow is not what was frozen or decided. It is open until it is mended, and holds the decisions it concerns.

    kind: one of rules.findings.KINDS. key: tells two findings of one kind about one model apart (an alias, a version).
    expected and found: what should be and what is. actor_label: who did it, where the trail knows one.
    """

    kind = models.CharField(max_length=20)
    key = models.CharField(max_length=300, blank=True, default="")
    model = models.ForeignKey("registry.RegisteredModel", on_delete=models.PROTECT, related_name="findings")
    version = models.ForeignKey("registry.ModelVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="findings")
    detail = models.TextField()
    expected = models.JSONField(default=dict)
    found = models.JSONField(default=dict)
    actor_label = models.CharField(max_length=300, blank=True, default="")
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_because = models.TextField(blank=True, default="")

    objects = FindingQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "kind", "key"], condition=Q(closed_at=None), name="registry_finding_open_once"),
        ]
        indexes = [models.Index(fields=["version"], condition=Q(closed_at=None), name="registry_finding_open")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"

    @property
    def says(self) -> str:
        """What a finding of its kind says, in a few words."""
        return rules.says(self.kind, self.found)

    @property
    def unread(self) -> bool:
        """Whether it could not be read, rather than differs."""
        return rules.is_unread(self.found)

"""Kept revisions of model cards, and the register of known failure modes."""

from django.conf import settings
from django.db import models

from apps.core.models import BaseModel
from apps.registry.models import ModelVersion, RegisteredModel, RegistryQuerySet
from apps.registry.rules.failures import KINDS, SEVERITIES, STATES


class OfVersionQuerySet(RegistryQuerySet):  # type: ignore[override]
    """Rows with a foreign key `version`."""

    model_path = "version__model__"


class CardRevision(BaseModel):
    """A model card as one save left it. A database trigger refuses change and deletion.

    `fields`: field -> text of the whole card. `figures`: metrics with intervals as they were known then.
    Revision 0 is what was filled in from the run, before a person wrote.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="card_revisions")
    revision = models.PositiveIntegerField()
    fields = models.JSONField()
    figures = models.JSONField(default=list)
    digest = models.CharField(max_length=71)
    saved_by = models.CharField(max_length=300, blank=True, default="")
    saved_at = models.DateTimeField()

    objects = OfVersionQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "revision"], name="registry_card_revision_once")]

    def __str__(self) -> str:
        return f"revision {self.revision}"


class FailureMode(BaseModel):
    """A known way in which a model goes wrong, or an edge case: when it happens, what then, and what handles it.

    It holds for versions from `since_version` (none: always) up to and including `until_version` (none: still).
    `revision` counts the saves.
    """

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="failure_modes")
    kind = models.CharField(max_length=20, default="failure mode", choices=[(k, k) for k in KINDS])
    title = models.CharField(max_length=200)
    effect = models.TextField()
    condition = models.TextField()
    severity = models.CharField(max_length=10, choices=[(s, s) for s in SEVERITIES])
    handling = models.TextField(blank=True, default="")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(max_length=10, default="open", choices=[(s, s) for s in STATES])
    since_version = models.PositiveIntegerField(null=True)
    until_version = models.PositiveIntegerField(null=True)
    revision = models.PositiveIntegerField(default=1)
    updated_by = models.CharField(max_length=300, blank=True, default="")
    updated_at = models.DateTimeField()

    objects = RegistryQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="registry_failure_ends_after_it_began",
                condition=models.Q(since_version=None)
                | models.Q(until_version=None)
                | models.Q(until_version__gte=models.F("since_version")),
            ),
            models.CheckConstraint(
                name="registry_failure_is_handled_by_something", condition=models.Q(state="open") | ~models.Q(handling="")
            ),
        ]

    def __str__(self) -> str:
        return self.title

"""Registered models, their versions as recorded from MLflow, cards, datasets, aliases."""

from django.conf import settings
from django.db import models

from apps.core.models import BaseModel
from apps.registry.models.governance import Experiment, Finding, FrozenVersion, ModelQuerySet, RegistryQuerySet

VERSION_STATES = ("pending", "ready", "failed", "changed")


class RegisteredModel(BaseModel):
    """A name in the registry under which versions are numbered.

    `author` is who made it through the portal, whoever owns it later. `registered_at` is MLflow's own moment, which a model keeps under another name. `renaming_to`: a rename that MLflow was asked for
    and that the portal has not seen done. `gone_at`: since when MLflow has it no more; `synced_at`: when MLflow was last read.
    """

    name = models.CharField(max_length=256, unique=True)
    description = models.TextField(blank=True, default="")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    author = models.CharField(max_length=300, blank=True, default="")
    tags = models.JSONField(default=dict)
    registered_at = models.DateTimeField(null=True, blank=True)
    renaming_to = models.CharField(max_length=256, blank=True, default="", db_index=True)
    synced_at = models.DateTimeField(null=True, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)

    objects = ModelQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class Dataset(BaseModel):
    """A dataset as a run named it: the digest is MLflow's, of the rows or the source."""

    name = models.CharField(max_length=500)
    digest = models.CharField(max_length=64)
    source_type = models.CharField(max_length=60, blank=True, default="")
    source = models.TextField(blank=True, default="")
    schema = models.JSONField(default=dict)
    profile = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "digest"], name="registry_dataset_once")]

    def __str__(self) -> str:
        return f"{self.name} ({self.digest})"


class ModelVersion(BaseModel):
    """One version: what MLflow says of it and of its run, and the digest of its files as the portal computed it.

    `writing_until`: a write through the endpoint may still change what MLflow says; only a reading after it is settled.
    `artifact_digest` is written once and never replaced: a later difference makes the version `changed`, with what was then
    found in `observed_digest`. `beside`: the other files in the folder of its run (path -> bytes), with a digest over them. `artifact_root` is the folder inside MLflow's artifact store. Sizes are bytes.
    """

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField()
    run_id = models.CharField(max_length=64, blank=True, default="", db_index=True)
    experiment_id = models.CharField(max_length=64, blank=True, default="", db_index=True)
    source = models.TextField(blank=True, default="")
    status = models.CharField(max_length=10, default="pending", choices=[(s, s) for s in VERSION_STATES])
    detail = models.TextField(blank=True, default="")
    artifact_root = models.CharField(max_length=1000, blank=True, default="", db_index=True)
    artifact_digest = models.CharField(max_length=71, blank=True, default="", db_index=True)
    artifact_manifest = models.JSONField(default=dict)
    artifact_sizes = models.JSONField(default=dict)
    observed_digest = models.CharField(max_length=71, blank=True, default="")
    beside = models.JSONField(default=dict)
    beside_digest = models.CharField(max_length=71, blank=True, default="")
    size_bytes = models.BigIntegerField(default=0)
    flavor = models.CharField(max_length=60, blank=True, default="")
    flavors = models.JSONField(default=list)
    signature = models.JSONField(default=dict)
    requirements = models.TextField(blank=True, default="")
    params = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    tags = models.JSONField(default=dict)
    run_name = models.CharField(max_length=500, blank=True, default="")
    description = models.TextField(blank=True, default="")
    author_user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    author = models.CharField(max_length=300, blank=True, default="")
    registered_at = models.DateTimeField(null=True, blank=True)
    synced_at = models.DateTimeField(null=True, blank=True)
    writing_until = models.DateTimeField(null=True, blank=True)
    datasets = models.ManyToManyField(Dataset, through="RunInput", related_name="versions")

    objects = RegistryQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "version"], name="registry_version_once"),
            models.CheckConstraint(name="registry_ready_has_digest", condition=~models.Q(status="ready") | ~models.Q(artifact_digest="")),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def frozen_digest(self) -> str:
        """Digest of what was frozen when a gate was first requested for it; empty before."""
        return getattr(getattr(self, "frozen", None), "digest", "")

    @property
    def label(self) -> str:
        """`name/3`, as decisions and orders name it."""
        return f"{self.model.name}/{self.version}"


class RunInput(BaseModel):
    """The run behind a version read this dataset; `context` is training, validation, test, or what the run said."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="inputs")
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="uses")
    context = models.CharField(max_length=100, blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "dataset", "context"], name="registry_input_once")]


class ModelCard(BaseModel):
    """What people need to know of a version before they decide on it or use it. `revision` counts the saves."""

    version = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="card")
    intended_use = models.TextField(blank=True, default="")
    out_of_scope = models.TextField(blank=True, default="")
    limitations = models.TextField(blank=True, default="")
    training_data = models.TextField(blank=True, default="")
    evaluation = models.TextField(blank=True, default="")
    explainability = models.TextField(blank=True, default="")
    ethical = models.TextField(blank=True, default="")
    owner_contact = models.TextField(blank=True, default="")
    hardware = models.TextField(blank=True, default="")
    instructions = models.TextField(blank=True, default="")
    revision = models.PositiveIntegerField(default=0)
    updated_by = models.CharField(max_length=300, blank=True, default="")
    updated_at = models.DateTimeField(null=True, blank=True)


class AliasRecord(BaseModel):
    """An alias pointed at a version from `set_at` until `ended_at` (null: now). Protected ones carry the decision they follow."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="aliases")
    alias = models.CharField(max_length=255)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="alias_records")
    decision_id = models.UUIDField(null=True, blank=True)
    set_by = models.CharField(max_length=300, blank=True, default="")
    set_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "alias"], condition=models.Q(ended_at=None), name="registry_alias_points_once")
        ]


class VersionIntent(BaseModel):
    """Somebody asked, through the governed endpoint, for a model version: written before MLflow is asked.

    MLflow keeps no author of a version; if the portal dies between MLflow's answer and its own record, this still tells who.
    """

    model_name = models.CharField(max_length=256, db_index=True)
    source = models.TextField(blank=True, default="")
    run_id = models.CharField(max_length=64, blank=True, default="")
    actor_label = models.CharField(max_length=300)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    version = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.SET_NULL, related_name="intents")


# The rest of the tables, in files of their own: they build on those above.
from apps.registry.models.cards import CardRevision, FailureMode  # noqa: E402
from apps.registry.models.datasets import GovernedDataset, LineageEvent, RunEdge  # noqa: E402
from apps.registry.models.evaluations import Evaluation  # noqa: E402
from apps.registry.models.scans import ArtifactScan, MlflowContact  # noqa: E402
from apps.registry.models.signing_keys import SigningKey  # noqa: E402

__all__ = [
    "VERSION_STATES",
    "AliasRecord",
    "ArtifactScan",
    "CardRevision",
    "Dataset",
    "Evaluation",
    "Experiment",
    "FailureMode",
    "Finding",
    "FrozenVersion",
    "GovernedDataset",
    "LineageEvent",
    "MlflowContact",
    "ModelCard",
    "ModelVersion",
    "RegisteredModel",
    "RegistryQuerySet",
    "RunEdge",
    "RunInput",
    "SigningKey",
    "VersionIntent",
]

"""Reads of datasets and of lineage in both directions."""

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.core.actor import Actor
from apps.core.clock import now
from apps.decisions import selectors as decisions
from apps.registry import selectors
from apps.registry.models import Dataset, GovernedDataset, ModelVersion, RegistryQuerySet, RunEdge, RunInput
from apps.registry.models.governance import works_with_models
from apps.registry.rules import openlineage

MOST = 200


def visible(actor: Actor) -> QuerySet[Dataset]:
    """Datasets that a version in the actor's sight read or a run of it wrote; those of no version yet are for who works with models."""
    if actor.sees_everything:
        return Dataset.objects.all()
    seen = ModelVersion.objects.visible_to(actor)
    read = RunInput.objects.filter(dataset=OuterRef("pk"), version__in=seen.values("id"))
    told = RunEdge.objects.filter(dataset=OuterRef("pk"), run_id__in=seen.exclude(run_id="").values("run_id"))
    found = Q(Exists(read)) | Q(Exists(told))
    if works_with_models(actor):
        known = ModelVersion.objects.exclude(run_id="").values("run_id")
        free = ~Exists(RunInput.objects.filter(dataset=OuterRef("pk")))
        found |= Q(free & ~Exists(RunEdge.objects.filter(dataset=OuterRef("pk"), run_id__in=known)))
    return Dataset.objects.filter(found)


def dataset(actor: Actor, dataset_id: Any) -> Dataset:
    """One version of a dataset by id, or NotFound."""
    from apps.core.errors import NotFound

    found = visible(actor).filter(id=dataset_id).first()
    if found is None:
        raise NotFound("There is no such dataset, or you may not see it. Check the address or ask its owner.")
    return found


def governed(name: str) -> GovernedDataset:
    """What people say of a dataset; an empty one that is not stored when nobody has said anything."""
    return GovernedDataset.objects.select_related("owner").filter(name=name).first() or GovernedDataset(name=name)


@dataclass(slots=True)
class DatasetRow:
    """A dataset in the list, by its name."""

    newest: Dataset
    versions: int = 0
    models: int = 0
    governed: GovernedDataset | None = None


def listed(actor: Actor, *, search: str = "") -> list[DatasetRow]:
    """Datasets by name, those with the newest version first, at most 200; five queries however many there are."""
    rows = visible(actor)
    if search:
        rows = rows.filter(name__icontains=search)
    found: dict[str, DatasetRow] = {}
    newest = list(rows.order_by("name", "-id").distinct("name")[: MOST * 5])
    for each in sorted(newest, key=lambda d: d.id, reverse=True)[:MOST]:
        found[each.name] = DatasetRow(each)
    for name in visible(actor).filter(name__in=found).values_list("name", flat=True):
        found[name].versions += 1
    seen = ModelVersion.objects.visible_to(actor)
    pairs = RunInput.objects.filter(dataset__name__in=found, version__in=seen.values("id"))
    for name, _ in pairs.values_list("dataset__name", "version__model_id").distinct():
        found[name].models += 1
    for each_governed in GovernedDataset.objects.select_related("owner").filter(name__in=found):
        found[each_governed.name].governed = each_governed
    return list(found.values())


def siblings(actor: Actor, found: Dataset) -> list[Dataset]:
    """All versions of the dataset that the actor may see, newest first."""
    return list(visible(actor).filter(name=found.name).order_by("-id")[:MOST])


@dataclass(slots=True)
class Use:
    """A model version whose run read (or wrote) the dataset. in_production: a live decision admits its files there."""

    version: ModelVersion
    datasets: list[Dataset] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    in_production: bool = False


def uses(actor: Actor, datasets: list[Dataset], *, production: bool | None = None) -> list[Use]:
    """Versions in the actor's sight that saw any of these datasets, newest first; `production` keeps those that are, or are not, there."""
    ids = [d.id for d in datasets]
    by_id = {d.id: d for d in datasets}
    inputs = list(RunInput.objects.filter(dataset_id__in=ids).values_list("version_id", "dataset_id", "context"))
    edges = list(RunEdge.objects.filter(dataset_id__in=ids).values_list("run_id", "dataset_id", "direction"))
    wanted = Q(id__in=[v for v, _, _ in inputs]) | Q(run_id__in=[r for r, _, _ in edges])
    versions = selectors.versions(actor).filter(wanted)
    found = {v.id: Use(v) for v in versions[: MOST * 5]}
    runs: dict[str, list[Use]] = {}
    for use in found.values():
        runs.setdefault(use.version.run_id, []).append(use)
    for version_id, dataset_id, context in inputs:
        if version_id in found:
            _add(found[version_id], by_id[dataset_id], context or "input")
    for run_id, dataset_id, direction in edges:
        for use in runs.get(run_id, []):
            _add(use, by_id[dataset_id], f"{direction}, reported")
    digests = {u.version.artifact_digest for u in found.values()} - {""}
    live = set(decisions.live().filter(environment="production", artifact_digest__in=digests).values_list("artifact_digest", flat=True))
    for use in found.values():
        use.in_production = use.version.artifact_digest in live
    return [u for u in found.values() if production is None or u.in_production == production]


def _add(use: Use, dataset: Dataset, how: str) -> None:
    if dataset not in use.datasets:
        use.datasets.append(dataset)
    if how not in use.contexts:
        use.contexts.append(how)


def edges_of(version: ModelVersion) -> list[RunEdge]:
    """What other tools reported of the version's run."""
    if not version.run_id:
        return []
    return list(RunEdge.objects.filter(run_id=version.run_id).select_related("dataset", "event").order_by("direction", "dataset__name"))


def openlineage_events(version: ModelVersion) -> list[dict[str, Any]]:
    """The version's lineage as OpenLineage run events."""
    rows: RegistryQuerySet | Any = version.inputs.select_related("dataset").order_by("context", "dataset__name")
    inputs = [
        ({"name": i.dataset.name, "digest": i.dataset.digest, "source_type": i.dataset.source_type, "source": i.dataset.source,
          "schema": i.dataset.schema}, i.context)
        for i in rows
    ]  # fmt: skip
    return openlineage.run_events(
        base_url=settings.BASE_URL, model=version.model.name, version=version.version, run_id=version.run_id,
        digest=version.artifact_digest, at=version.registered_at or version.created_at or now(), inputs=inputs,
    )  # fmt: skip

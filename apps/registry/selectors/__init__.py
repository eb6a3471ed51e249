"""Reads of the registry, from the portal's own tables alone."""

from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from apps.accounts.models import User
from apps.core.actor import Actor
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.registry import rules
from apps.registry.models import AliasRecord, Dataset, Finding, ModelCard, ModelVersion, RegisteredModel, RegistryQuerySet, RunInput
from apps.registry.models.governance import usecase_scope


def findings(actor: Actor, *, open_only: bool = False, model: str = "") -> QuerySet[Finding]:
    """Findings about models the actor may see, newest first; only open ones, or only those of one model."""
    rows = Finding.objects.visible_to(actor).select_related("model", "version__model")
    if open_only:
        rows = rows.filter(closed_at=None)
    if model:
        rows = rows.filter(model__name=model)
    return rows.order_by("-id")


def _current_aliases() -> Prefetch:
    return Prefetch("alias_records", AliasRecord.objects.filter(ended_at=None).order_by("alias"), to_attr="current_aliases")


def models(actor: Actor, *, search: str = "", governed: bool | None = None) -> QuerySet[RegisteredModel]:
    """Models the actor may see, newest first, with `version_count`, `latest_version` and `governed` (some use case uses it).

    governed: only those that are, or only those that wait for a use case and an owner.
    """
    rows = RegisteredModel.objects.visible_to(actor).select_related("owner")
    if search:
        rows = rows.filter(name__icontains=search)
    return with_figures(rows, governed=governed).order_by("-id")


def with_figures(rows: Any, *, governed: bool | None = None) -> Any:
    """The same models with `version_count`, `latest_version` and `governed`; only governed ones, or only the others."""
    rows = with_governed(rows)
    if governed is not None:
        rows = rows.filter(governed=governed)
    # Of the rows of a page alone, by an index: joining and grouping would read every version there is.
    theirs = ModelVersion.objects.filter(model=OuterRef("pk")).order_by()
    count = theirs.values("model").annotate(n=Count("id")).values("n")
    return rows.annotate(
        version_count=Coalesce(Subquery(count), 0), latest_version=Subquery(theirs.order_by("-version").values("version")[:1])
    )


def model(actor: Actor, name: str) -> RegisteredModel:
    """One model by name or id, or NotFound."""
    lookup = {"name": name} if RegisteredModel.objects.filter(name=name).exists() else {"id": name}
    return with_governed(RegisteredModel.objects.visible_to(actor).select_related("owner")).one("registered model", **lookup)


def with_governed(rows: Any) -> Any:
    """The same models with `governed`: whether some use case uses each, seen or not."""
    links = usecase_scope(Actor.system("registry")).links()
    return rows.annotate(governed=Exists(links.filter(model_id=OuterRef("id"))))


def versions(actor: Actor) -> RegistryQuerySet:
    """Versions the actor may see, with model, card, author and current aliases; newest first."""
    rows = ModelVersion.objects.visible_to(actor).select_related("model", "card", "author_user")
    return rows.prefetch_related(_current_aliases()).order_by("-id")


def versions_of(actor: Actor, name: str) -> RegistryQuerySet:
    """All versions of one model, highest number first; NotFound when the model is not to be seen."""
    found = model(actor, name)
    return versions(actor).filter(model=found).order_by("-version")


def version(actor: Actor, name: str, number: int | str) -> ModelVersion:
    """One version by model name and number, with its card, inputs and current aliases, or NotFound."""
    return versions(actor).prefetch_related("inputs__dataset").one("model version", model__name=name, version=number)


def version_by_id(actor: Actor, version_id: Any) -> ModelVersion:
    """One version by id, or NotFound."""
    return versions(actor).prefetch_related("inputs__dataset").one("model version", id=version_id)


def feature_names(version: ModelVersion) -> list[str]:
    """Names of the input columns in signature order; [] for a model that takes a bare tensor."""
    return rules.feature_names(version.signature)


def aliases(version: ModelVersion) -> list[AliasRecord]:
    """Aliases that point at the version now, by name."""
    known = getattr(version, "current_aliases", None)
    return known if known is not None else list(version.alias_records.filter(ended_at=None).order_by("alias"))


def alias_history(model: RegisteredModel) -> QuerySet[AliasRecord]:
    """What each alias pointed at and when, newest first: what was champion on a date."""
    return model.aliases.select_related("version__model").order_by("-set_at", "-id")


def card_fields(version: ModelVersion) -> dict[str, str]:
    """The card as field -> text; all empty when there is no card yet."""
    return rules.card_texts(ModelCard.objects.filter(version=version).first())


def lineage(version: ModelVersion) -> dict[str, Any]:
    """Where the version comes from: `nodes` (dataset, run, version) and `edges` (from, to, how), for a graph."""
    inputs = list(RunInput.objects.filter(version=version).select_related("dataset").order_by("context", "dataset__name"))
    run = f"run:{version.run_id}" if version.run_id else ""
    here = f"version:{version.id}"
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    for each in inputs:
        key = f"dataset:{each.dataset.id}"
        if all(n["id"] != key for n in nodes):
            nodes.append(
                {
                    "id": key,
                    "kind": "dataset",
                    "label": each.dataset.name,
                    "digest": each.dataset.digest,
                    "rows": each.dataset.profile.get("num_rows"),
                }
            )
        edges.append({"from": key, "to": run or here, "how": each.context or "input"})
    if run:
        nodes.append({"id": run, "kind": "run", "label": version.run_name or version.run_id, "run_id": version.run_id})
        edges.append({"from": run, "to": here, "how": "logged"})
    nodes.append({"id": here, "kind": "version", "label": version.label, "digest": version.artifact_digest})
    return {"nodes": nodes, "edges": edges}


def versions_that_saw(actor: Actor, dataset: Dataset) -> RegistryQuerySet:
    """The other direction: versions whose run read the dataset."""
    return versions(actor).filter(datasets=dataset).distinct()


def folder_holders(path: str) -> QuerySet[ModelVersion]:
    """Registered versions in whose folder a path of the artifact store lies, or whose folder lies below the path.

    For the endpoint that guards the store, not for people: it does not ask who may see the version.
    """
    inside = Q(artifact_root__in=rules.folders_above(path)) | Q(artifact_root__startswith=f"{path}/")
    return ModelVersion.objects.select_related("model").filter(inside).order_by("id")


def version_holding(path: str) -> ModelVersion | None:
    """The first of `folder_holders`, if any."""
    return folder_holders(path).first()


def author_of(user_id: Any) -> User | None:
    """The account behind an actor, or None."""
    return User.objects.filter(id=user_id).first() if user_id else None


def maker_of(actor: Actor) -> tuple[Any, str]:
    """(account id or None, name) of who is behind an actor; looked up only where the actor does not say it."""
    if actor.user_id and actor.person:
        return UUID(actor.user_id), actor.person[:300]
    person = author_of(actor.user_id)
    return (person.id if person else None), str(person or actor.label)[:300]


def decisions_naming(actor: Actor, version: ModelVersion) -> QuerySet[Decision]:
    """Decisions about exactly these files for use cases the actor may see, newest first, with their state; none without a digest."""
    rows = Decision.objects.filter(artifact_digest=version.artifact_digest) if version.artifact_digest else Decision.objects.none()
    if not actor.sees_everything:
        rows = rows.filter(usecase_id__in=usecase_scope(actor).seen_links().values("usecase_id"))
    return decisions.with_state(rows).order_by("-issued_at", "-id")


def why_decision_is_not_live(decision: Decision) -> str:
    """Why the decision does not hold now; empty when it does."""
    return decisions.state_of(decision)

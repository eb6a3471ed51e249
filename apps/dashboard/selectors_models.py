"""What the pages of models read: the registry's facts with the decisions about them and where they run, as far as the reader may see."""

from dataclasses import dataclass, field
from typing import Any

from django.db.models import Prefetch

from apps.core.actor import Actor
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.deployments.models import Deployment
from apps.registry import rules, selectors
from apps.registry.models import AliasRecord, ModelVersion, RegisteredModel
from apps.registry.selectors import cards, evaluations, scans, signing_keys
from apps.usecases.models import UseCase

SHOWN = 200
LISTED = 100


@dataclass(slots=True)
class ModelRow:
    """A registered model in the ledger."""

    model: RegisteredModel
    newest: ModelVersion | None
    count: int
    aliases: list[AliasRecord]


def models(actor: Actor, *, search: str = "") -> list[ModelRow]:
    """The 100 newest models the actor may see, each with its newest version and what its aliases point at now."""
    found = selectors.models(actor, search=search)
    rows = []
    current = AliasRecord.objects.filter(ended_at=None).select_related("version").order_by("alias")
    page = list(found.prefetch_related(Prefetch("aliases", current, to_attr="current_aliases"))[:LISTED])
    newest = ModelVersion.objects.filter(model__in=[m.id for m in page]).order_by("model_id", "-version").distinct("model_id")
    by_model = {v.model_id: v for v in newest.only("model_id", "version", "status", "registered_at")}
    for model in page:
        count = model.version_count  # type: ignore[attr-defined]
        rows.append(ModelRow(model, by_model.get(model.id), count, model.current_aliases))
    return rows


@dataclass(slots=True)
class Place:
    """A decision about a version, in words."""

    decision: Decision
    usecase: UseCase
    live: bool
    why_not: str


@dataclass(slots=True)
class VersionPage:
    """All that the page of one version shows."""

    version: ModelVersion
    card: list[tuple[str, str, str, str]]
    completeness: rules.Completeness | None
    revision: int
    aliases: list[AliasRecord]
    decisions: list[Place] = field(default_factory=list)
    running: list[Deployment] = field(default_factory=list)
    usecases: list[UseCase] = field(default_factory=list)

    @property
    def answers(self) -> list[Deployment]:
        """Where it answers callers now."""
        return [d for d in self.running if d.weight > 0]

    @property
    def admitted(self) -> list[str]:
        """Environments that a live decision admits it to."""
        return sorted({p.decision.environment for p in self.decisions if p.live and p.decision.environment})


def model(actor: Actor, name: str) -> tuple[RegisteredModel, list[ModelVersion], list[AliasRecord], list[UseCase]]:
    """One model with its newest versions, the history of its aliases, and the use cases it serves; NotFound when out of sight."""
    found = selectors.model(actor, name)
    versions = list(found.versions.order_by("-version")[:SHOWN])
    aliases = list(found.aliases.select_related("version").order_by("-set_at")[:50])
    return found, versions, aliases, _usecases_of(actor, found.id)


def _usecases_of(actor: Actor, model_id: Any) -> list[UseCase]:
    return list(UseCase.objects.visible_to(actor).filter(used_models__model_id=model_id).order_by("name"))


def version(actor: Actor, name: str, number: int) -> VersionPage:
    """One version; NotFound when the actor may not see it. Decisions and deployments are those of use cases the actor may see."""
    found = selectors.version(actor, name, number)
    card = getattr(found, "card", None)
    page = VersionPage(
        version=found,
        card=[(name, title, hint, getattr(card, name, "") if card else "") for name, title, hint in CARD],
        completeness=rules.completeness(card) if card else None,
        revision=card.revision if card else 0,
        aliases=selectors.aliases(found),
        usecases=_usecases_of(actor, found.model_id),
    )
    if found.artifact_digest:
        seen = {u.id: u for u in UseCase.objects.visible_to(actor).filter(used_models__model_id=found.model_id)}
        rows = decisions.for_usecases(list(seen)).filter(artifact_digest=found.artifact_digest)[:20]
        states = ((d, decisions.state_of(d)) for d in rows)
        page.decisions = [Place(d, seen[d.usecase_id], not why, why) for d, why in states]
    running = Deployment.objects.visible_to(actor).filter(model_version=found, desired="running").select_related("endpoint", "host")
    page.running = list(running.order_by("-weight", "-id")[:20])
    return page


def more(version: ModelVersion) -> dict[str, Any]:
    """What the page of a version leads on to, in short: counts, and the version before it."""
    before = ModelVersion.objects.filter(model_id=version.model_id, version__lt=version.version).order_by("-version").first()
    scan = scans.newest(version)
    return {
        "evaluations": len(evaluations.in_force(version)),
        "failures": cards.failure_modes(version.model, version=version.version).count(),
        "scan": scan,
        "judged": signing_keys.judged(scan),
        "previous": before.version if before else None,
    }


# (field, title, hint) of every part of a card.
CARD = tuple(
    (name, rules.CARD_TITLES[name], hint[:1].upper() + hint[1:] + ("." if name in rules.CARD_NEEDED else ". Not asked by gates."))
    for name, hint in rules.CARD_FIELDS.items()
)

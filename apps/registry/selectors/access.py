"""What an actor sees of MLflow's names and ids, and their standing towards each: from the portal's own tables alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.http import urlencode

from apps.core.actor import Actor
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.registry import rules
from apps.registry.models import Experiment, ModelVersion, RegisteredModel
from apps.registry.models.governance import granted, models_seen, usecase_scope, works_with_models
from apps.registry.rules.access import Standing


@dataclass(frozen=True, slots=True)
class Sight:
    """What one actor may see. `everything`: no question needs asking. Each question is two queries at most, however many names."""

    actor: Actor

    @property
    def everything(self) -> bool:
        """Auditors, administrators and our own processes."""
        return self.actor.sees_everything

    def models(self, names: Iterable[str]) -> set[str]:
        """Those of these model names that the actor may see; a name the portal has not met yet is an ungoverned model."""
        asked = set(names)
        if self.everything or not asked:
            return asked
        seen = set(RegisteredModel.objects.visible_to(self.actor).filter(name__in=asked).values_list("name", flat=True))
        if seen != asked and works_with_models(self.actor):
            seen |= asked - set(RegisteredModel.objects.filter(name__in=asked).values_list("name", flat=True))
        return seen

    def experiments(self, ids: Iterable[str]) -> set[str]:
        """Those of these experiments that the actor may see: of a model they see, own ones, and for those who work with models free ones."""
        asked = {str(i) for i in ids}
        if self.everything or not asked:
            return asked
        behind = ModelVersion.objects.filter(experiment_id__in=asked).order_by()
        seen = set(behind.filter(models_seen(self.actor, "model__")).values_list("experiment_id", flat=True).distinct())
        if seen != asked and self.actor.user_id:
            own = Experiment.objects.filter(mlflow_id__in=asked - seen, owner=UUID(self.actor.user_id))
            seen |= set(own.values_list("mlflow_id", flat=True))
        if seen != asked and works_with_models(self.actor):
            seen |= asked - set(behind.values_list("experiment_id", flat=True).distinct())
        return seen


def sight(actor: Actor) -> Sight:
    """What this actor may see; asks nothing yet."""
    return Sight(actor)


def standing_to_model(actor: Actor, name: str) -> Standing:
    """Towards a registered model; one the portal has not met is ungoverned and nobody's."""
    model = RegisteredModel.objects.filter(name=name).first()
    if model is None:
        return Standing(sees=actor.sees_everything or works_with_models(actor), unclaimed=True)
    if actor.is_admin:
        return Standing()
    scope = usecase_scope(actor)
    governed = scope.links().filter(model_id=model.id).exists()
    return Standing(
        sees=RegisteredModel.objects.visible_to(actor).filter(id=model.id).exists(),
        owns=bool(actor.user_id) and str(model.owner_id) == actor.user_id,
        changes_usecase=scope.changeable_links().filter(model_id=model.id).exists(),
        granted_change=granted(actor, "change").filter(id=model.id).exists(),
        granted_delete=granted(actor, "delete").filter(id=model.id).exists(),
        unclaimed=not governed and model.owner_id is None,
    )


def standing_to_experiment(actor: Actor, experiment_id: str) -> Standing:
    """Towards an experiment, its runs, logged models, traces and files: through the models whose versions came from it, or its owner."""
    if actor.is_admin:
        return Standing()
    found = Experiment.objects.filter(mlflow_id=experiment_id).first()
    models = RegisteredModel.objects.filter(versions__experiment_id=experiment_id).distinct()
    ids = list(models.values_list("id", flat=True))
    deletable = set(granted(actor, "delete").filter(id__in=ids).values_list("id", flat=True)) if ids else set()
    owner = found.owner_id if found else None
    return Standing(
        sees=experiment_id in sight(actor).experiments([experiment_id]),
        owns=bool(actor.user_id) and (str(owner) == actor.user_id or models.filter(owner_id=actor.user_id).exists()),
        changes_usecase=bool(ids) and usecase_scope(actor).changeable_links().filter(model_id__in=ids).exists(),
        granted_change=bool(ids) and granted(actor, "change").filter(id__in=ids).exists(),
        granted_delete=bool(ids) and deletable == set(ids),
        unclaimed=owner is None and not models.exclude(owner=None).exists() and not governed_ids(ids),
    )


def usecases_of(actor: Actor, model_ids: Iterable[Any]) -> dict[Any, list[Any]]:
    """Model id -> use cases (id, slug, name) that use it and that the actor may see."""
    return usecase_scope(actor).usecases_of(list(model_ids))


def governed_ids(model_ids: Iterable[Any]) -> set[Any]:
    """Those of these models that some use case uses, seen or not."""
    return set(usecase_scope(Actor.system("registry")).links().filter(model_id__in=list(model_ids)).values_list("model_id", flat=True))


def gate_url(actor: Actor, version: ModelVersion | None) -> str:
    """Where this actor requests the gate for a version: with its use case filled in when they may see one."""
    given: dict[str, str] = {}
    if version is not None:
        known = usecases_of(actor, [version.model_id]).get(version.model_id, [])
        given = ({"usecase": known[0].slug} if known else {}) | {"version": str(version.id)}
    return f"{settings.BASE_URL}{reverse('approvals:open')}{'?' + urlencode(given) if given else ''}"


def decided(versions: QuerySet[ModelVersion]) -> QuerySet[ModelVersion]:
    """Those of the versions that a decision has ever named by their digest: what they stand on is kept for ever."""
    named = Decision.objects.exclude(artifact_digest="").values("artifact_digest")
    return versions.exclude(artifact_digest="").filter(artifact_digest__in=named)


def live_for(version: ModelVersion, environment: str = "") -> Decision | None:
    """The newest live decision that names the version's files, for this environment or (none given) any."""
    if not version.artifact_digest or version.status != "ready":
        return None
    found = decisions.live().filter(artifact_digest=version.artifact_digest)
    found = found.filter(environment=environment) if environment else found.exclude(environment="")
    return found.order_by("-issued_at", "-id").first()


def why_not_live_for(version: ModelVersion, environment: str) -> str:
    """Why the version may not be named for the environment, in a sentence."""
    if version.status != "ready":
        return f"The version is {version.status}, not ready."
    return decisions.why_not_live(artifact_digest=version.artifact_digest, environment=environment)


def protected_alias_of(version: ModelVersion) -> str:
    """A protected alias that points at the version now, or ""."""
    names = version.alias_records.filter(ended_at=None).values_list("alias", flat=True)
    return next((a for a in names if rules.protecting_environment(a)), "")

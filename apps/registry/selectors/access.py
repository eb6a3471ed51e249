"""What an actor sees of MLflow's names and ids, and their standing towards each: from the portal's own tables alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, QuerySet
from django.urls import reverse
from django.utils.http import urlencode

from apps.core.actor import Actor
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.registry import rules
from apps.registry.models import Experiment, ModelVersion, RegisteredModel
from apps.registry.models.governance import granted, models_seen, usecase_scope, works_with_models
from apps.registry.rules.access import Standing
from apps.registry.selectors import composed


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
        known = dict(composed.rows(_named, self.actor, sorted(asked)))
        return {name for name in asked if known.get(name, works_with_models(self.actor))}

    def experiments(self, ids: Iterable[str]) -> set[str]:
        """Those of these experiments that the actor may see: of a model they see, own ones, and for those who work with models free ones."""
        asked = {str(i) for i in ids}
        if self.everything or not asked:
            return asked
        found = composed.rows(_behind, self.actor, sorted(asked))
        seen = {experiment for experiment, may_be_seen in found if may_be_seen}
        if works_with_models(self.actor):
            seen |= asked - {experiment for experiment, _ in found}
        if seen != asked and self.actor.user_id:
            own = Experiment.objects.filter(mlflow_id__in=asked - seen, owner=UUID(self.actor.user_id))
            seen |= set(own.values_list("mlflow_id", flat=True))
        return seen


def _is_seen(actor: Actor, path: str = "") -> ExpressionWrapper:
    return ExpressionWrapper(models_seen(actor, path), output_field=BooleanField())


def _named(actor: Actor, names: list[str]) -> QuerySet[Any, Any]:
    """(name, seen) of the models of these names."""
    return RegisteredModel.objects.filter(name__in=names).order_by().values_list("name", _is_seen(actor))


def _behind(actor: Actor, experiments: list[str]) -> QuerySet[Any, Any]:
    """(experiment, seen) of the models whose versions came from these experiments."""
    rows = ModelVersion.objects.filter(experiment_id__in=experiments).order_by()
    return rows.values_list("experiment_id", _is_seen(actor, "model__")).distinct()


def _standings(actor: Actor, rows: QuerySet[Any, Any]) -> QuerySet[Any, Any]:
    """(id, owner, governed, seen, changeable through a use case, granted change, granted delete) of models."""
    scope, here = usecase_scope(actor), OuterRef("pk")
    return rows.order_by().values_list(
        "id", "owner_id", Exists(scope.links().filter(model_id=here)), _is_seen(actor), Exists(scope.changeable_links().filter(model_id=here)),
        Exists(granted(actor, "change").filter(id=here)), Exists(granted(actor, "delete").filter(id=here)),
    )  # fmt: skip


def _of_name(actor: Actor, names: list[str]) -> QuerySet[Any, Any]:
    return _standings(actor, RegisteredModel.objects.filter(name=names[0]))


def _of_experiment(actor: Actor, experiments: list[str]) -> QuerySet[Any, Any]:
    came = ModelVersion.objects.filter(experiment_id=experiments[0]).values("model_id")
    return _standings(actor, RegisteredModel.objects.filter(id__in=came))


def sight(actor: Actor) -> Sight:
    """What this actor may see; asks nothing yet."""
    return Sight(actor)


def standing_to_model(actor: Actor, name: str) -> Standing:
    """Towards a registered model; one the portal has not met is ungoverned and nobody's."""
    if actor.is_admin:
        return Standing() if RegisteredModel.objects.filter(name=name).exists() else Standing(unclaimed=True)
    row = next(iter(composed.rows(_of_name, actor, [name])), None)
    if row is None:
        return Standing(sees=actor.sees_everything or works_with_models(actor), unclaimed=True)
    _, owner, governed, seen, changeable, may_change, may_delete = row
    return Standing(
        sees=actor.sees_everything or seen,
        owns=bool(actor.user_id) and str(owner) == actor.user_id,
        changes_usecase=changeable,
        granted_change=may_change,
        granted_delete=may_delete,
        unclaimed=not governed and owner is None,
    )


def standing_to_experiment(actor: Actor, experiment_id: str) -> Standing:
    """Towards an experiment, its runs, logged models, traces and files: through the models whose versions came from it, or its owner."""
    if actor.is_admin:
        return Standing()
    owner = Experiment.objects.filter(mlflow_id=experiment_id).values_list("owner_id", flat=True).first()
    rows = composed.rows(_of_experiment, actor, [experiment_id])
    mine = bool(actor.user_id) and str(owner) == actor.user_id
    return Standing(
        sees=actor.sees_everything or mine or any(r[3] for r in rows) or (not rows and works_with_models(actor)),
        owns=mine or (bool(actor.user_id) and any(str(r[1]) == actor.user_id for r in rows)),
        changes_usecase=any(r[4] for r in rows),
        granted_change=any(r[5] for r in rows),
        granted_delete=bool(rows) and all(r[6] for r in rows),
        unclaimed=owner is None and not any(r[1] or r[2] for r in rows),
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

"""What an actor sees of MLflow's names and ids, and their standing towards each: from the portal's own tables alone."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils.http import urlencode

from apps.core import sql
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


def _of_experiment(actor: Actor, experiments: list[str]) -> list[QuerySet[Any, Any]]:
    """Whether a model came from the experiment; is one seen, owned, changeable through a use case, granted to change; is one not granted
    to delete; is one somebody's; does the actor own the experiment; does anybody. The first model that answers is enough.
    """
    here, scope, came = OuterRef("pk"), usecase_scope(actor), ModelVersion.objects.filter(experiment_id=experiments[0]).values("model_id")
    models, itself = RegisteredModel.objects.filter(id__in=came).order_by(), Experiment.objects.filter(mlflow_id=experiments[0]).order_by()
    me = actor.user_id
    return [
        models,
        models if actor.sees_everything else models.filter(models_seen(actor)),
        models.filter(owner_id=me) if me else models.none(),
        models.filter(Exists(scope.changeable_links().filter(model_id=here))),
        models.filter(Exists(granted(actor, "change").filter(id=here))),
        models.exclude(Exists(granted(actor, "delete").filter(id=here))),
        models.filter(Q(owner__isnull=False) | Exists(scope.links().filter(model_id=here))),
        itself.filter(owner_id=me) if me else itself.none(),
        itself.filter(owner__isnull=False),
    ]


def sight(actor: Actor) -> Sight:
    """What this actor may see; asks nothing yet."""
    return Sight(actor)


def standing_to_model(actor: Actor, name: str) -> Standing:
    """Towards a registered model; one the portal has not met is ungoverned and nobody's."""
    if actor.is_admin:
        return Standing() if RegisteredModel.objects.filter(name=name).exists() else Standing(unclaimed=True)
    return _towards_model(actor, composed.rows(_of_name, actor, [name]))


def standings(
    actor: Actor, models: list[str], experiments: list[str], version: tuple[str, int] | None = None
) -> tuple[list[Standing], ModelVersion | None]:
    """Towards each of these models, then towards each of these experiments; and the version of this name and number, as `numbered` gives
    it. One message to PostgreSQL.
    """
    if actor.is_admin:
        found = [standing_to_model(actor, name) for name in models] + [Standing() for _ in experiments]
        return found, numbered(*version) if version else None
    asked: list[tuple[composed.Build, str]] = [*((_of_name, name) for name in models), *((_of_experiment, each) for each in experiments)]
    answers, more = composed.several(actor, *asked, also=_asks_numbered(*version) if version else None)
    towards = [_towards_model(actor, rows) for rows in answers[: len(models)]]
    return towards + [_towards_experiment(actor, rows[0]) for rows in answers[len(models) :]], _numbered(more)


def _towards_model(actor: Actor, rows: list[tuple[Any, ...]]) -> Standing:
    row = next(iter(rows), None)
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


def _towards_experiment(actor: Actor, row: tuple[Any, ...]) -> Standing:
    came, seen, own, changeable, may_change, some_kept, somebodys, mine, owned = row
    return Standing(
        sees=actor.sees_everything or mine or seen or (not came and works_with_models(actor)),
        owns=mine or own,
        changes_usecase=changeable,
        granted_change=may_change,
        granted_delete=came and not some_kept,
        unclaimed=not owned and not somebodys,
    )


_READ = (
    "id",
    "version",
    "status",
    "run_id",
    "experiment_id",
    "artifact_digest",
    "artifact_root",
    "source",
    "description",
    "tags",
    "run_name",
)
_NUMBERED = f"""
    SELECT {", ".join(f"v.{name}" for name in _READ)}, m.id, m.name,
           (SELECT jsonb_object_agg(r.alias, p.version) FROM registry_aliasrecord r JOIN registry_modelversion p ON p.id = r.version_id
             WHERE r.model_id = m.id AND r.ended_at IS NULL)
      FROM registry_modelversion v JOIN registry_registeredmodel m ON m.id = v.model_id
     WHERE m.name = $1 AND v.version = $2
"""  # noqa: S608


def numbered(name: str, version: int) -> ModelVersion | None:
    """A version with its model's name; of the row what checks and the trail need, the rest (its long columns) when it is asked for.

    `aliases_of_model`: (alias, number of the version) of all that its model has now.
    """
    return _numbered(sql.ask(*_asks_numbered(name, version)))


def _asks_numbered(name: str, version: int) -> sql.Change:
    return _NUMBERED, [name, version]


def _numbered(rows: sql.Rows) -> ModelVersion | None:
    if not rows:
        return None
    *values, model_id, model_name, aliases = rows[0]
    found = sql.part_of(ModelVersion, **dict(zip(_READ, values, strict=True)), model_id=model_id)
    found.model = sql.part_of(RegisteredModel, id=model_id, name=model_name)
    pointing = json.loads(aliases) if isinstance(aliases, str) else aliases
    found.aliases_of_model = list((pointing or {}).items())  # type: ignore[attr-defined]
    return found


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

"""Change a use case: one table of changes, each with its fields, one service, and what is said when it is done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apps.core.actor import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.fields import Field, needed, number, typed
from apps.dashboard.web import usecase_fields as forms
from apps.kpis import services as kpis
from apps.usecases import services
from apps.usecases.models import UseCase

Doing = Callable[[Actor, UseCase, Any], Any]

KPI = (
    Field("name", "Name", required=True, hint="For example: cost per 1,000 decisions."),
    Field("question", "Question it answers", hint="For example: do we spend less per decision than before?"),
    Field("unit", "Unit", required=True, hint="EUR, ms, share, people"),
    Field("direction", "Better is", "select", required=True, choices=(("lower", "lower"), ("higher", "higher"))),
    Field("target", "Target", "number", hint="What the sponsor wants."),
    Field("floor", "Floor", "number", hint="Beyond this it is worse than not doing it."),
    Field(
        "dimension", "Side", "select", required=True,
        choices=(("business", "business"), ("quality", "quality"), ("technical", "technical"), ("adoption", "adoption")),
    ),
    Field(
        "aggregation", "Periods combine as", "select", required=True,
        choices=(
            ("ratio", "ratio: numerators over denominators"), ("mean", "mean, weighted by n"), ("sum", "sum"),
            ("percentile", "percentile, weighted by n"),
        ),
    ),
    Field("scale", "Scale of a ratio", "number", hint="1000 for a cost per 1,000 decisions."),
    Field("cadence", "Measured", "select", required=True, choices=tuple((c, c) for c in ("daily", "weekly", "monthly", "quarterly"))),
    Field("owner", "Owner", "email", list="people", hint="Answers for the figure. You, if left empty."),
    Field("source", "Source", hint="Where the figure comes from, and who sends it."),
    Field("primary", "This is the figure by which the use case is judged first", "checkbox"),
)  # fmt: skip
PERSON = (
    Field("user", "Person", "email", required=True, list="people"),
    Field("level", "May", "select", required=True, choices=(("view", "view"), ("change", "view and change"))),
    Field("part", "Part", hint="For example: desk lead, data owner."),
)
MODEL = (Field("model", "Registered model", required=True, list="models"),)
WHY = (Field("reason", "Why", "textarea", rows=2, required=True, hint="The trail keeps it."),)
LESSON = (Field("lesson", "What we learned", "textarea", required=True, hint="It is what a stopped use case leaves behind."),)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a use case. `say` is shown when it is done; `%s` becomes the name of what was changed."""

    fields: tuple[Field, ...]
    do: Doing
    say: str


def _words(actor: Actor, usecase: UseCase, post: Any) -> Any:
    fields = forms.words(post)
    if fields["owner"] is None:
        fields["owner"] = usecase.owner
    return services.update_usecase(actor=actor, usecase_id=usecase.id, **fields)


def _requirements(actor: Actor, usecase: UseCase, post: Any) -> Any:
    return services.set_requirements(actor=actor, usecase_id=usecase.id, **forms.requirements(post))


def _integration(actor: Actor, usecase: UseCase, post: Any) -> Any:
    return services.add_integration(actor=actor, usecase_id=usecase.id, **typed(forms.INTEGRATION, post))


def _kpi(actor: Actor, usecase: UseCase, post: Any) -> Any:
    given = typed(KPI, post)
    needed(given, "name", "unit", "direction", "dimension", "aggregation")
    fields: dict[str, Any] = {f: given[f] for f in ("name", "question", "unit", "direction", "dimension", "aggregation", "source")}
    fields |= {"target": number(given, "target"), "floor": number(given, "floor"), "primary": given["primary"] == "on"}
    fields |= {"cadence": given["cadence"] or "monthly", "scale": number(given, "scale") or 1.0}
    if owner := forms.person(given, "owner"):
        fields["owner"] = owner
    return kpis.define_kpi(actor=actor, usecase_id=usecase.id, **fields)


def _person(actor: Actor, usecase: UseCase, post: Any) -> Any:
    given = typed(PERSON, post)
    user = forms.person(given, "user")
    if user is None:
        raise Invalid("user: name the person by email address.", errors={"user": ["Needed."]})
    return services.give_access(actor=actor, usecase_id=usecase.id, user=user, level=given["level"], part=given["part"])


def _take_access(actor: Actor, usecase: UseCase, post: Any) -> Any:
    return services.take_access(actor=actor, usecase_id=usecase.id, user_id=forms.account_id(post, "person"))


def _model(actor: Actor, usecase: UseCase, post: Any) -> Any:
    given = typed(MODEL, post)
    needed(given, "model")
    try:
        return services.link_model(actor=actor, usecase_id=usecase.id, model_name=given["model"])
    except NotFound as error:
        error.errors = error.errors or {"model": ["Not registered."]}
        raise


def _because(service: Callable[..., Any], field: str = "reason") -> Doing:
    return lambda actor, usecase, post: service(actor=actor, usecase_id=usecase.id, **{field: str(post.get(field) or "").strip()})


def _resume(actor: Actor, usecase: UseCase, post: Any) -> Any:
    return services.resume(actor=actor, usecase_id=usecase.id)


CHANGES: dict[str, Change] = {
    "words": Change(forms.WORDS, _words, "The description is saved."),
    "requirements": Change(forms.REQUIREMENTS, _requirements, "The requirements are saved. Load tests and gates ask for them from now on."),
    "integrations": Change(forms.INTEGRATION, _integration, "The integration point is added."),
    "kpis": Change(KPI, _kpi, "The KPI is defined. Record what it was before, and freeze that as its baseline."),
    "people": Change(PERSON, _person, "The person has access."),
    "take-access": Change((), _take_access, "The access is taken away. It ended at once."),
    "models": Change(MODEL, _model, "The model is linked. Its versions can now be proposed at gates."),
    "fall-back": Change(WHY, _because(services.fall_back), "It is back in pilot. What production allowed is revoked."),
    "hold": Change(WHY, _because(services.put_on_hold), "It is on hold. Its decisions are suspended until it resumes."),
    "resume": Change((), _resume, "It goes on where it was. Its decisions hold again."),
    "stop": Change(LESSON, _because(services.stop, "lesson"), "It is stopped, and its lesson is kept."),
}

"""The forms of the deployment pages: which fields, and what a refused one gives back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.core.actor import Actor
from apps.core.errors import DomainError, Invalid
from apps.core.fields import Field, filled, typed
from apps.deployments.models import Deployment
from apps.usecases.models import UseCase

REASON = (Field("reason", "Why", required=True, wide=True, hint="The trail keeps it."),)
GROUP = (
    Field("department", "Department", hint="Rollout phases go by it."),
    Field("team", "Team"),
)
CALLER = (Field("name", "For which caller", required=True, wide=True, hint="For example: claims system."), *GROUP)


@dataclass(frozen=True, slots=True)
class Refused:
    """Which form was refused (`deploy`, `roll-back`, `stop-<id>`, `key`, `load-test`), why, and what had been typed."""

    key: str = ""
    error: DomainError | None = None
    post: dict[str, Any] = field(default_factory=dict)


NOTHING = Refused()


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the page."""

    fields: list[Field]
    refusal: DomainError | None = None


def form(key: str, fields: Iterable[Field], refused: Refused = NOTHING, **stored: Any) -> Form:
    """The form with what was typed where it is the one that was refused, else with what is usual."""
    asked = list(fields)
    if refused.key != key or refused.error is None:
        return Form(filled(asked, stored))
    return Form(filled(asked, typed(asked, refused.post), refused.error.errors), refused.error)


def new_endpoint(actor: Actor) -> list[Field]:
    """A new endpoint, of a use case that the person may change."""
    found = UseCase.objects.visible_to(actor).changeable_by(actor).order_by("name")
    return [
        Field("usecase", "Use case", "select", required=True, choices=tuple((u.slug, u.name) for u in found)),
        Field("environment", "Environment", "select", required=True, choices=(("pilot", "pilot"), ("production", "production"))),
        Field("name", "Name", hint="What people read. Empty: the use case and the environment."),
        Field("slug", "Address", hint="The model name callers send. Empty: made from the use case. It stays for good."),
        Field("rate_limit_rps", "At most, requests a second", "number", required=True, hint="More are turned away with 429."),
        Field("burst", "Of these at once", "number", hint="Empty: twice the rate."),
    ]


def deploy(admitted: Sequence[dict[str, Any]], *, answering: bool, bake_s: float) -> list[Field]:
    """Which version, and how; step by step only where something answers already."""
    versions = tuple((str(row["version"].id), row["version"].label) for row in admitted)
    fields = [Field("version", "Version", "select", required=True, choices=versions)]
    if not answering:
        return [*fields, Field("strategy", "How", "select", required=True, choices=(("all_at_once", "all at once"),))]
    return [
        *fields,
        Field("strategy", "How", "select", required=True, choices=(("canary", "step by step"), ("all_at_once", "all at once"))),
        Field("steps", "Steps, % of requests", hint="Growing, the last 100."),
        Field("bake_s", "Seconds at each step", "number", hint=f"Empty: {bake_s:g}."),
    ]


def steps(text: str) -> list[int] | None:
    """`10, 50, 100` as shares; None when nothing was typed."""
    parts = text.replace("%", " ").replace(",", " ").split()
    if not parts:
        return None
    if not all(p.isdecimal() for p in parts):
        raise Invalid("steps: give growing whole percentages that end with 100, such as 10, 100.", errors={"steps": ["Not percentages."]})
    return [int(p) for p in parts]


def load_test(testable: Iterable[Deployment]) -> list[Field]:
    """A load test of one of these deployments."""
    return [
        Field("deployment", "Version", "select", required=True, choices=tuple((str(d.id), str(d)) for d in testable)),
        Field("multiplier", "Times the projected load", "number", required=True),
        Field("duration_s", "Seconds", "number", required=True),
    ]

"""The page on which a use case is changed, and the door behind each of its forms."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.web.access import page
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.core.fields import Field, filled
from apps.core.templatetags.gatehouse import measured
from apps.dashboard.web import usecase_fields as forms
from apps.dashboard.web.edits import CHANGES
from apps.kpis import selectors as kpis
from apps.registry import selectors as registry
from apps.usecases import rules, selectors
from apps.usecases.models import Person, UseCase


@dataclass(slots=True)
class Part:
    """One form of the page: what there is already, and what can be typed."""

    key: str
    title: str
    hint: str
    button: str
    fields: list[Field] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    holders: list[Person] = field(default_factory=list)
    danger: bool = False
    refusal: DomainError | None = None


# A change whose button stands in the list of another part.
SHOWN_AT = {"take-access": "people"}


@require_GET
@page
def edit(request: HttpRequest, slug: str) -> HttpResponse:
    """All forms of one use case, for those who may change it."""
    actor = request.actor  # type: ignore[attr-defined]
    usecase = selectors.usecase(actor, slug)
    rules.check_may_change(selectors.may_change(actor, usecase.id))
    return _page(request, actor, usecase)


@require_POST
@page
def change(request: HttpRequest, slug: str, what: str) -> HttpResponse:
    """One change: one service call. Refused, the page comes back with what was typed."""
    actor = request.actor  # type: ignore[attr-defined]
    usecase = selectors.usecase(actor, slug)
    if what not in CHANGES:
        raise Http404
    try:
        call(CHANGES[what].do, actor, usecase, request.POST)
    except DomainError as error:
        if not selectors.may_change(actor, usecase.id):
            raise
        return _page(request, actor, usecase, SHOWN_AT.get(what, what), error)
    messages.success(request, CHANGES[what].say)
    if what in MOVES:
        return redirect("usecase", slug=slug)
    response = redirect("usecase-edit", slug=slug)
    response["Location"] += f"#{SHOWN_AT.get(what, what)}"
    return response


@dataclass(frozen=True, slots=True)
class Move:
    """A move that needs no gate: from which stages, and what it does in words."""

    stages: tuple[str, ...]
    title: str
    hint: str
    button: str
    danger: bool = False


MOVES: dict[str, Move] = {
    "resume": Move(("on_hold",), "Take it off hold", "it goes back to where it was, and its decisions hold again", "Take it off hold"),
    "hold": Move(
        rules.ACTIVE, "Put it on hold", "its decisions are suspended: nothing new is deployed until it resumes", "Put it on hold", True
    ),
    "fall-back": Move(
        ("production",), "Take it back to pilot", "what production allowed is revoked; coming back needs the gate again",
        "Take it back to pilot", True,
    ),
    "stop": Move(
        (*rules.ACTIVE, "on_hold"), "Stop it for good", "all its decisions are revoked; what was learned stays readable",
        "Stop this use case", True,
    ),
}  # fmt: skip


def _parts(actor: Actor, usecase: UseCase) -> list[Part]:
    """The forms that make sense for this use case now."""
    parts = [
        Part("words", "In words", "the description everyone reads", "Save the description"),
        Part("requirements", "What it demands", "load tests, monitors and gates measure against these", "Save the requirements"),
        Part(
            "kpis", "KPIs", "three to five, one of them primary; a gate asks for them", "Define the KPI",
            rows=[(k.name, _bounds(k), "primary" if k.primary else k.dimension) for k in kpis.kpis(actor, usecase)],
        ),
        Part(
            "integrations", "Systems it reads from and writes to", "", "Add the integration point",
            rows=[(p.name, p.direction, p.note or p.owner) for p in usecase.integrations.all()],
        ),
        Part(
            "people", "People", "access to this use case alone, beside what their role allows", "Give access",
            holders=selectors.access(usecase),
        ),
        Part(
            "models", "Models", "registered models that serve this use case", "Link the model",
            rows=[(link.model.name,) for link in usecase.used_models.all()],
        ),
    ]  # fmt: skip
    parts += [Part(key, m.title, m.hint, m.button, danger=m.danger) for key, m in MOVES.items() if usecase.stage in m.stages]
    return parts


def _bounds(kpi: Any) -> str:
    sign = "≤" if kpi.direction == "lower" else "≥"
    named = [f"{name} {sign} {measured(value, kpi.unit)}" for name, value in (("target", kpi.target), ("floor", kpi.floor)) if value is not None]
    return ", ".join(named) or f"{kpi.unit}, {kpi.direction} is better"


def _stored(usecase: UseCase, key: str) -> dict[str, Any]:
    """What the fields of a part hold before anything is typed."""
    if key == "words":
        values = {f.name: getattr(usecase, f.name) for f in forms.WORDS if f.name not in ("owner", "sponsor")}
        return values | {"owner": usecase.owner.email, "sponsor": usecase.sponsor.email if usecase.sponsor else ""}
    row = getattr(usecase, "requirements", None)
    if key == "requirements":
        return {f.name: getattr(row, f.name) if row else None for f in forms.REQUIREMENTS}
    return {}


def _page(request: HttpRequest, actor: Actor, usecase: UseCase, what: str = "", refusal: DomainError | None = None) -> HttpResponse:
    parts = _parts(actor, usecase)
    if what and what not in {p.key for p in parts}:
        parts.append(Part(what, "This is not possible now", "", "Try again"))
    for part in parts:
        mine = part.key == what
        values = request.POST.dict() if mine else _stored(usecase, part.key)
        part.refusal = refusal if mine else None
        part.fields = filled(CHANGES[part.key].fields, values, refusal.errors if mine and refusal else None)
    context = {
        "usecase": usecase,
        "parts": parts,
        "people": forms.people(actor),
        "model_names": list(registry.models(actor).values_list("name", flat=True)[:300]),
    }
    return render(request, "dashboard/usecase_edit.html", context, status=refusal.status if refusal else 200)

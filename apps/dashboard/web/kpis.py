"""The page of one KPI: the figure, its chart and table, and the doors behind its forms."""

from dataclasses import dataclass
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
from apps.dashboard import selectors_kpi, wording
from apps.dashboard.web import usecase_fields as forms
from apps.dashboard.web.exports import download
from apps.dashboard.web.kpi_forms import CHANGES, stored
from apps.kpis import selectors
from apps.kpis.models import Kpi
from apps.kpis.rules.effects import Effect
from apps.usecases import selectors as usecases

COLUMNS = (
    "period_start", "period_end", "value", "numerator", "denominator", "n", "variance", "source", "version_label", "external_id",
)  # fmt: skip


@dataclass(slots=True)
class Form:
    """One form of the page."""

    key: str
    title: str
    hint: str
    button: str
    fields: list[Field]
    refusal: DomainError | None


@require_GET
@page
def detail(request: HttpRequest, kpi_id: str) -> HttpResponse:
    """One KPI."""
    return _page(request, request.actor, kpi_id)  # type: ignore[attr-defined]


@require_POST
@page
def change(request: HttpRequest, kpi_id: str, what: str) -> HttpResponse:
    """One change: one service call. Refused, the page comes back with what was typed."""
    actor = request.actor  # type: ignore[attr-defined]
    kpi = selectors.kpi(actor, kpi_id)
    if what not in CHANGES:
        raise Http404
    try:
        said = call(CHANGES[what].do, actor, kpi, request.POST)
    except DomainError as error:
        if not usecases.may_change(actor, kpi.usecase_id):
            raise
        return _page(request, actor, kpi_id, what, error)
    messages.success(request, said)
    return redirect("kpi", kpi_id=kpi_id)


@require_GET
@page
def as_csv(request: HttpRequest, kpi_id: str) -> HttpResponse:
    """The measurements in force, with the columns that can be pasted back."""
    kpi = selectors.kpi(request.actor, kpi_id)  # type: ignore[attr-defined]
    rows = selectors.series(kpi)
    return download(f"{kpi.usecase.slug}-{kpi.slug}.csv", COLUMNS, ([getattr(r, c) for c in COLUMNS] for r in rows))


def _version(kpi: Kpi, label: str, effect: Effect, found: selectors_kpi.KpiPage) -> dict[str, Any]:
    """A row of the table of effects, in words."""
    amount, ends = wording.difference(effect, kpi.unit)
    words = wording.change(effect, kpi.direction)
    return {
        "label": label, "live": label in found.live, "effect": effect, "amount": amount, "ends": ends, "words": words,
        "origin": found.origins.get(label, ""),
    }  # fmt: skip


def _page(request: HttpRequest, actor: Actor, kpi_id: str, what: str = "", refusal: DomainError | None = None) -> HttpResponse:
    found = selectors_kpi.page(actor, kpi_id)
    kpi = found.kpi
    made = []
    for key, each in CHANGES.items() if found.may_change else ():
        mine = key == what
        values = request.POST.dict() if mine else stored(kpi, key)
        fields = filled(each.fields(kpi), values, refusal.errors if mine and refusal else None)
        made.append(Form(key, each.title, each.hint, each.button, fields, refusal if mine else None))
    context = {
        "page": found,
        "kpi": kpi,
        "verdict": wording.verdict(kpi, found.head, found.effect),
        "answer": wording.answer(kpi, found.head, found.effect, found.live, found.by_version),
        "certainty": wording.certainty(found.effect),
        "change": wording.change(found.effect, kpi.direction),
        "difference": wording.difference(found.effect, kpi.unit),
        "by_version": [_version(kpi, label, effect, found) for label, effect in found.by_version.items()],
        "forms": made,
        "people": forms.people(actor) if found.may_change else [],
    }
    return render(request, "dashboard/kpi.html", context, status=refusal.status if refusal else 200)

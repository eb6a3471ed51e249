"""The page that sets versions of one model side by side."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.accounts.web.access import page
from apps.core.errors import Invalid
from apps.dashboard.web.models_shared import actor_of, model_of
from apps.registry.rules.compare import FigureRow, Row
from apps.registry.selectors import scans
from apps.registry.selectors.compare import Comparison
from apps.registry.selectors.compare import compare as read


@require_GET
@page
def compare(request: HttpRequest, name: str) -> HttpResponse:
    """2 to 4 versions; `versions` is a list with commas or given once for each."""
    actor, model = actor_of(request), model_of(request, name)
    wanted = [n for given in request.GET.getlist("versions") for n in given.split(",") if n]
    refusal = found = None
    if wanted:
        try:
            found = read(actor, model.name, wanted)
        except Invalid as error:
            refusal = error
    all_versions = list(model.versions.order_by("-version")[:200])
    chosen = {int(n) for n in wanted if n.isdigit()} or {v.version for v in all_versions[:2]}
    context = {"model": model, "found": found, "refusal": refusal, "all_versions": all_versions, "chosen": chosen, "contact": scans.contact()}
    if found:
        context |= _told(found)
    return render(request, "registry/compare.html", context, status=refusal.status if refusal else 200)


def _told(found: Comparison) -> dict[str, Any]:
    """What the page says of a comparison: which parts differ, and every row with its cells."""
    numbers = [v.version for v in found.versions]
    tables = (
        ("Data", "data", found.data, "No run named a dataset."),
        ("Parameters", "parameters", found.params, "No parameter was logged."),
        ("Requirements", "requirements", found.requirements, "None recorded."),
        ("Input and output columns", "columns", found.signature, "No signature was logged."),
        ("Origin", "", found.facts, ""),
    )
    figures = (
        ("Evaluations", "evaluations", found.evaluations, "No evaluation is attached to any of them."),
        ("Metrics of the runs", "metrics", found.metrics, "No metric was logged."),
    )
    verdicts = [v for _, _, rows, _ in figures for row in rows for v in row.verdicts[1:]]
    card = [(p.title, list(zip(numbers[1:], p.others, strict=True))) for p in found.card if not p.same]
    differ = [word for _, word, rows, _ in (*figures, *tables) if word and any(not r.same for r in rows)] + (["model card"] if card else [])
    return {
        "better": verdicts.count("better"), "worse": verdicts.count("worse"), "differ": differ, "card": card,
        "figures": [(title, [(row, _cells(numbers, row)) for row in rows], nothing) for title, _, rows, nothing in figures],
        "sections": [
            (title, _with_cells(numbers, [r for r in rows if not r.same]), _with_cells(numbers, [r for r in rows if r.same]), nothing)
            for title, _, rows, nothing in tables
        ],
    }  # fmt: skip


def _with_cells(numbers: list[int], rows: list[Row]) -> list[tuple[Row, list[dict[str, Any]]]]:
    return [(row, [{"number": n, "value": v} for n, v in zip(numbers, row.values, strict=True)]) for row in rows]


def _cells(numbers: list[int], row: FigureRow) -> list[dict[str, Any]]:
    parts = zip(numbers, row.values, row.differences, row.verdicts, row.clear, strict=True)
    return [{"number": n, "value": v, "difference": d, "verdict": word, "clear": clear} for n, v, d, word, clear in parts]

"""Use cases that stand longer in their stage than expected."""

from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.accounts.web.access import page
from apps.approvals.models import Gate
from apps.core.clock import now
from apps.usecases import selectors, stage_line
from apps.usecases.models import UseCase

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Row:
    """One use case: how long it has been there, how long was expected, and the gate that is under way, if one is."""

    usecase: UseCase
    stage: str
    seconds: float
    expected: int
    over: float
    gate: Gate | None


@require_GET
@page
def stalled(request: HttpRequest) -> HttpResponse:
    """The longest beyond its time first within a page; every use case that the person may see."""
    actor = request.actor  # type: ignore[attr-defined]
    days = selectors.expected_days()
    shown = Paginator(selectors.stalled(actor).order_by("stage_since", "id"), PER_PAGE).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "shown": shown,
        "rows": _rows(list(shown.object_list), days),
        "expected": [(stage_line.NAMES[stage], count) for stage, count in days.items()],
    }
    return render(request, "dashboard/stalled.html", context)


def _rows(usecases: list[UseCase], days: dict[str, int]) -> list[Row]:
    moment = now()
    under_way = Gate.objects.filter(usecase__in=usecases, kind=Gate.Kind.STAGE, state__in=[Gate.State.DRAFT, Gate.State.OPEN])
    gates = {g.usecase_id: g for g in under_way.defer("evidence_text")}
    rows = []
    for usecase in usecases:
        seconds, expected = (moment - usecase.stage_since).total_seconds(), days[usecase.stage]
        over = seconds - expected * 86_400
        rows.append(Row(usecase, stage_line.NAMES[usecase.stage], seconds, expected, over, gates.get(usecase.id)))
    return sorted(rows, key=lambda row: -row.over)

"""The page on which the rollout in production is planned, phase by phase, and the door behind each of its forms."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.web.access import page
from apps.approvals import services as approvals
from apps.approvals.models import Gate
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError, NotAllowed
from apps.core.fields import Field, filled, moment, needed, typed, whole
from apps.dashboard import selectors_phases as reads
from apps.dashboard.web import usecase_fields as forms
from apps.usecases import phase_rules, phase_selectors, selectors, services
from apps.usecases.models import UseCase

PHASE = (
    Field("name", "Name", required=True, hint="For example: claims desk, or a tenth of all."),
    Field("planned_on", "Planned for", "date", required=True),
    Field("departments", "Departments, teams", hint="With commas between them, as callers' keys carry them. Empty: all."),
    Field("percent", "Percent of users", "number", hint="1 to 100. Empty: all."),
    Field("owner", "Owner", "email", list="people", hint="Answers for the phase. The use case's owner, if left empty."),
    Field("entry_criteria", "Before it opens", "textarea", rows=2, required=True, hint="What has to be true, in words."),
    Field("checks", "Checks beside those of the policy", "textarea", rows=2, hint="One a line: kpis.effect minimum_pct=5"),
)
CLOSES = Field("closes_now", "I know that production serves nobody from now on, until a phase is opened.", "checkbox")
PLACE = Field("position", "Place in the plan", "number")
WHY = (Field("reason", "Why", required=True, wide=True, hint="The trail keeps it."),)


@dataclass(frozen=True, slots=True)
class Line:
    """A phase with what the reader may do. gate: the one under way. change, close: their forms, with a refusal where one was refused."""

    row: phase_selectors.PhaseRow
    gate: Gate | None
    may_begin: bool
    may_drop: bool
    change: list[Field]
    close: list[Field]
    refused: str = ""


def _words(given: dict[str, str]) -> dict[str, Any]:
    """What was typed, as the services take it; raises Invalid naming the field."""
    needed(given, "name", "planned_on", "entry_criteria")
    day = moment(given, "planned_on")
    found: dict[str, Any] = {
        "name": given["name"], "planned_on": day.date() if day else None, "entry_criteria": given["entry_criteria"],
        "departments": [d.strip() for d in given["departments"].split(",") if d.strip()], "percent": whole(given, "percent"),
        "checks": phase_rules.read_checks(given["checks"]),
    }  # fmt: skip
    if owner := forms.person(given, "owner"):
        found["owner"] = owner
    return found


def _stored(row: phase_selectors.PhaseRow) -> dict[str, Any]:
    phase = row.phase
    return {
        "name": phase.name, "planned_on": phase.planned_on.isoformat(), "departments": ", ".join(phase.departments), "percent": phase.percent,
        "owner": phase.owner.email, "entry_criteria": phase.entry_criteria, "checks": "\n".join(phase_rules.check_words(c) for c in phase.checks),
        "position": phase.position,
    }  # fmt: skip


@require_http_methods(["GET", "POST"])
@page
def phases(request: HttpRequest, slug: str) -> HttpResponse:
    """The plan; and a new phase at its end."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    usecase = selectors.usecase(actor, slug)
    if request.method == "GET":
        return _page(request, actor, usecase)

    def plan() -> Any:
        given = typed((*PHASE, CLOSES), request.POST)
        return services.plan_phase(actor=actor, usecase_id=usecase.id, closes_now=given["closes_now"] == "on", **_words(given))

    return _after(request, actor, usecase, "plan", plan, "The phase is planned. It opens with its gate.")


@require_POST
@page
def change(request: HttpRequest, slug: str, phase_id: str) -> HttpResponse:
    """Change a phase that is not open; of an open one only what is not signed."""
    actor, usecase, row = _found(request, slug, phase_id)

    def save() -> Any:
        words = _words(typed(PHASE, {**_stored(row), **request.POST.dict()}))
        return services.change_phase(actor=actor, phase_id=phase_id, position=whole(typed((PLACE,), request.POST), "position"), **words)

    return _after(
        request, actor, usecase, f"change-{phase_id}", save, "The phase is saved. A gate that was frozen with it has to be requested again."
    )


@require_POST
@page
def drop(request: HttpRequest, slug: str, phase_id: str) -> HttpResponse:
    """Take a phase that was never opened out of the plan."""
    actor, usecase, _ = _found(request, slug, phase_id)
    return _after(
        request,
        actor,
        usecase,
        f"drop-{phase_id}",
        lambda: services.drop_phase(actor=actor, phase_id=phase_id),
        "The phase is out of the plan.",
    )


@require_POST
@page
def begin_gate(request: HttpRequest, slug: str, phase_id: str) -> HttpResponse:
    """Begin the gate that opens a phase."""
    actor, usecase, _ = _found(request, slug, phase_id)
    try:
        gate = call(approvals.open_gate, actor=actor, usecase_id=usecase.id, phase_id=phase_id)
    except DomainError as error:
        return _page(request, actor, usecase, f"gate-{phase_id}", error)
    messages.success(request, "The gate is begun. Gather what it asks for, then ask for signatures.")
    return redirect("approvals:gate", gate_id=gate.id)


@require_POST
@page
def close(request: HttpRequest, slug: str, phase_id: str) -> HttpResponse:
    """Roll an open phase back."""
    actor, usecase, _ = _found(request, slug, phase_id)
    reason = request.POST.get("reason", "")
    return _after(
        request, actor, usecase, f"close-{phase_id}", lambda: services.close_phase(actor=actor, phase_id=phase_id, reason=reason),
        "The phase is closed and its decision revoked. Those whom no other open phase covers are turned away within seconds.",
    )  # fmt: skip


def _found(request: HttpRequest, slug: str, phase_id: str) -> tuple[Actor, UseCase, phase_selectors.PhaseRow]:
    """The phase of the use case at this address, or NotFound."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    usecase = selectors.usecase(actor, slug)
    phase_selectors.rows([usecase.id]).one("rollout phase", id=phase_id)  # type: ignore[attr-defined]
    return actor, usecase, phase_selectors.row(actor, phase_id)


def _after(request: HttpRequest, actor: Actor, usecase: UseCase, where: str, do: Callable[[], Any], words: str) -> HttpResponse:
    try:
        call(do)
    except NotAllowed:
        raise
    except DomainError as error:
        return _page(request, actor, usecase, where, error)
    messages.success(request, words)
    return redirect("usecase-phases", slug=usecase.slug)


def _page(request: HttpRequest, actor: Actor, usecase: UseCase, where: str = "", refusal: DomainError | None = None) -> HttpResponse:
    may_change = selectors.may_change(actor, usecase.id)
    if refusal is not None and not may_change:
        raise refusal
    plan, gates = phase_selectors.plan(usecase.id), reads.gates_of(usecase.id)
    lines = [_line(request, usecase, row, gates.get(row.phase.id), plan, may_change, where, refusal) for row in plan]
    past = usecase.stage not in phase_rules.BEFORE_PRODUCTION
    fields = [*PHASE, *([CLOSES] if past and not plan else [])]
    shown = where == "plan" or any({"change": line.change, "close": line.close}.get(line.refused) for line in lines)
    context = {
        "usecase": usecase,
        "lines": lines,
        "steps": reads.steps(plan, {i: g.state for i, g in gates.items()}),
        "serving": [row for row in plan if row.serving],
        "upcoming": next((row for row in plan if not row.serving), None),
        "past": past,
        "may_change": may_change and usecase.stage not in phase_rules.ENDED,
        "fields": filled(
            fields, typed(fields, request.POST) if where == "plan" else {}, refusal.errors if where == "plan" and refusal else None
        ),
        "people": forms.people(actor) if may_change else [],
        "where": where,
        "refusal": refusal,
        "at_top": refusal is not None and not shown,
    }
    return render(request, "dashboard/phases.html", context, status=refusal.status if refusal else 200)


def _line(
    request: HttpRequest, usecase: UseCase, row: phase_selectors.PhaseRow, gate: Gate | None, plan: list[phase_selectors.PhaseRow],
    may_change: bool, where: str, refusal: DomainError | None,
) -> Line:  # fmt: skip
    phase, here = row.phase, where.partition("-")[2] == str(row.phase.id)
    errors = refusal.errors if here and refusal else None
    planned = phase.state == "planned" and phase.opened_at is None
    asked = (*PHASE, PLACE) if planned else PHASE if phase.state == "closed" else ()
    typing = here and where.startswith("change")
    return Line(
        row=row,
        gate=gate,
        may_begin=may_change and gate is None and usecase.stage == "production",
        may_drop=may_change and planned and (len(plan) > 1 or usecase.stage in phase_rules.BEFORE_PRODUCTION),
        change=filled(asked, typed(asked, request.POST) if typing else _stored(row), errors if typing else None) if may_change else [],
        close=filled(WHY, request.POST if here else {}, errors) if may_change and phase.state == "open" else [],
        refused=where.partition("-")[0] if here and refusal else "",
    )

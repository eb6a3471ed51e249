"""What the page of one use case reads, in a bounded number of queries; everything starts from what the actor may see."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.approvals import selectors as approvals
from apps.approvals.models import Gate
from apps.audit import selectors as audit
from apps.core import figures
from apps.core.actor import Actor, Role
from apps.core.clock import now
from apps.core.templatetags.gatehouse import spoken
from apps.dashboard import selectors_phases, wording
from apps.dashboard.rules import Action, Held, OpenIncident, Situation, UnderWay, actions
from apps.dashboard.selectors_events import happenings
from apps.dashboard.selectors_kpi import chart, headlines, live_labels
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision
from apps.deployments import selectors as deployments
from apps.kpis import selectors as kpis
from apps.kpis.models import Kpi
from apps.kpis.rules.effects import Effect
from apps.monitoring.models import Incident
from apps.usecases import phase_selectors, rules, selectors, stage_line
from apps.usecases.models import UseCase
from apps.usecases.phase_selectors import PhaseRow

WAITING = {"draft": "gate begun", "open": "gate waits for signatures"}
TRAIL_ROWS = 8


@dataclass(slots=True)
class KpiRow:
    """A KPI with its headline."""

    kpi: Kpi
    head: dict[str, Any]


@dataclass(slots=True)
class EndpointRow:
    """An endpoint with who answers there."""

    endpoint: Any
    answering: list[Any]


@dataclass(slots=True)
class Story:
    """All that the use-case page shows. `opening` and `deciding` are the sentence at its head."""

    usecase: UseCase
    may_change: bool
    opening: str
    deciding: str
    steps: list[stage_line.Step]
    stays: list[dict[str, Any]]
    open_gates: list[Gate]
    gates: list[Gate]
    primary: KpiRow | None
    effect: Effect | None
    change: str
    live: list[str]
    kpis: list[KpiRow]
    worth: dict[str, Any]
    chart: figures.Figure | None
    endpoints: list[EndpointRow]
    incidents: list[Incident]
    phases: list[tuple[PhaseRow, Gate | None]]
    phase_steps: list[stage_line.Step]
    main: Action | None
    others: list[Action]
    happenings: list[Any] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    trail: list[Any] = field(default_factory=list)

    @property
    def offers(self) -> bool:
        """Whether to offer additions: the reader may change it and it has not ended."""
        return self.may_change and self.usecase.stage not in ("stopped", "retired")

    @property
    def shows_phases(self) -> bool:
        """Whether the rollout in production is worth a word before there is a plan."""
        return self.usecase.stage in ("pilot", "production")


def story(actor: Actor, slug: str) -> Story:
    """The use case, or NotFound when the actor may not see it."""
    usecase = selectors.usecase(actor, slug)
    rows = sorted(kpis.kpis(actor, usecase.id), key=lambda k: (not k.primary, k.slug))
    live = live_labels([usecase.id])
    heads = headlines(rows, live)
    lines = [KpiRow(k, heads[k.id]) for k in rows]
    primary = lines[0] if lines else None
    gates = list(
        Gate.objects.visible_to(actor)
        .filter(usecase=usecase)
        .select_related("model_version__model", "requested_by", "opened_by", "phase")
        .order_by("-id")[:50]
    )
    stays = selectors.time_in_stages(usecase)
    told = happenings(usecase)
    measured = kpis.series(primary.kpi) if primary else []
    effect = kpis.effect(primary.kpi, primary.head["version_label"] or None) if primary else None
    incidents = list(Incident.objects.filter(usecase=usecase, closed_at=None).select_related("endpoint").order_by("-opened_at")[:10])
    open_gates = [g for g in gates if g.state in (Gate.State.DRAFT, Gate.State.OPEN)]
    under_way = {g.phase_id: g for g in open_gates if g.phase_id}
    plan = phase_selectors.plan(usecase.id)
    opening, deciding = wording.usecase_state(
        stage=usecase.stage, days=spoken(stays[-1]["seconds"]), kpi=primary.kpi if primary else None, head=primary.head if primary else None,
        effect=effect, incidents=len(incidents),
    )  # fmt: skip
    may_change = selectors.may_change(actor, usecase.id)
    endpoints = _endpoints(actor, usecase)
    decided = list(decisions.for_usecase(usecase.id)[:20])
    main, others = actions(_situation(actor, usecase, may_change, incidents, open_gates, endpoints, decided))
    return Story(
        usecase=usecase,
        may_change=may_change,
        main=main,
        others=others,
        opening=opening,
        deciding=deciding,
        steps=stage_line.steps(
            usecase.stage, usecase.stage_since, stays, {g.to_stage: WAITING[g.state] for g in open_gates if g.kind == Gate.Kind.STAGE}
        ),
        stays=stays[::-1],
        open_gates=open_gates,
        gates=gates,
        primary=primary,
        effect=effect,
        change=wording.change(effect, primary.kpi.direction) if effect and primary else "",
        live=live.get(usecase.id, []),
        kpis=lines,
        worth=kpis.value(usecase),
        chart=chart(primary.kpi, measured, kpis.baseline_in_force(primary.kpi.id), told) if primary else None,
        endpoints=endpoints,
        incidents=incidents,
        phases=[(row, under_way.get(row.phase.id)) for row in plan],
        phase_steps=selectors_phases.steps(plan, {phase: gate.state for phase, gate in under_way.items()}),
        happenings=told[::-1],
        decisions=[{"decision": d, "why_not": decisions.state_of(d)} for d in decided],
        trail=list(audit.search(actor, usecase=str(usecase.id))[:TRAIL_ROWS]),
    )


def _endpoints(actor: Actor, usecase: UseCase) -> list[EndpointRow]:
    """Where the use case runs, and what answers there."""
    rows = deployments.endpoints(actor, usecase_id=usecase.id)[:50]
    return [EndpointRow(e, [d for d in e.running if d.weight > 0]) for e in rows]  # type: ignore[attr-defined]


def _situation(
    actor: Actor, usecase: UseCase, may_change: bool, incidents: list[Incident], gates: list[Gate], endpoints: list[EndpointRow],
    decided: Sequence[Decision],
) -> Situation:  # fmt: skip
    """What apps.dashboard.rules asks before it says which button is the main one."""
    to_sign = set(approvals.waiting_on(actor).filter(usecase=usecase).values_list("id", flat=True)) if gates else set()
    answering = [
        f"/endpoints/{row.endpoint.slug}/monitoring/" for row in endpoints if row.answering and row.endpoint.environment == usecase.stage
    ]
    without = [f"/endpoints/{row.endpoint.slug}/" for row in endpoints if row.endpoint.environment == usecase.stage and not row.answering]
    return Situation(
        slug=usecase.slug,
        stage=usecase.stage,
        next_stage=rules.next_stage(usecase.stage),
        may_change=may_change,
        may_operate=may_change and (actor.is_admin or actor.has_role(Role.ML_ENGINEER)),
        incidents=[OpenIncident(i.severity, _incident_path(i)) for i in incidents],
        held=_held(usecase, decided),
        gates=[
            UnderWay(
                "open" if g.state == Gate.State.OPEN else "draft", g.to_stage, f"/gates/{g.id}/",
                "" if g.kind == Gate.Kind.STAGE else _about(g), g.id in to_sign,
            )
            for g in gates
        ],
        runs=answering[0] if answering else "",
        empty=without[0] if without else "",
    )  # fmt: skip


def _about(gate: Gate) -> str:
    """What a gate that moves no stage is about."""
    if gate.kind == Gate.Kind.VERSION and gate.model_version:
        return gate.model_version.label
    return f"the {gate}" if gate.kind == Gate.Kind.PHASE else str(gate)


def _incident_path(incident: Incident) -> str:
    """Where an incident is dealt with: beside its endpoint's monitors, else where this page tells of it."""
    return f"/endpoints/{incident.endpoint.slug}/monitoring/#incident-{incident.id}" if incident.endpoint else f"#incident-{incident.id}"


def _held(usecase: UseCase, decided: Sequence[Decision]) -> Held | None:
    """The newest decision that would hold but for a finding, a waiver or a raised tier."""
    moment = now()
    for decision in decided:
        if getattr(decision, "revocation", None) or decision.expires_at <= moment:
            continue
        for hold in decision.holds.all():
            if hold.lifted_at is not None or hold.source_type not in ("finding", "waiver", "tier"):
                continue
            again = f"/gates/new/?usecase={usecase.slug}&to={decision.environment}"
            paths = {"finding": "/findings/", "waiver": f"/gates/{decision.gate_id}/", "tier": again}
            return Held(hold.source_type, decision.environment, paths[hold.source_type])
    return None

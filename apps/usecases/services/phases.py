"""Plan the rollout in production phase by phase; open a phase by a decision; close it."""

from datetime import date
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.module_loading import import_string

from apps.accounts.models import User
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NoLiveDecision, NotFound, StaleEvidence
from apps.decisions import selectors as decisions
from apps.decisions import services as decisions_services
from apps.decisions.models import Decision
from apps.outbox import services as outbox
from apps.usecases import phase_rules as rules
from apps.usecases import phase_selectors as selectors
from apps.usecases.models import RolloutPhase, UseCase
from apps.usecases.services import lock

COHORT = ("name", "departments", "percent")


def _record(action: str, actor: Actor, phase: RolloutPhase, **more: Any) -> None:
    audit.record(
        action, actor=actor, obj_type="rolloutphase", obj_id=str(phase.id), obj_label=phase.name, usecase_id=str(phase.usecase_id), **more
    )


def _reroute() -> None:
    """The gateways serve by the plan, so they are told."""
    outbox.put("deployments.publish_routing", {})


def _active(owner: User | None) -> None:
    if owner is not None and not owner.is_active:
        raise Invalid("owner: that account is closed. Choose somebody else.", errors={"owner": ["Closed account."]})


def _listed(usecase: UseCase) -> list[RolloutPhase]:
    return list(selectors.rows([usecase.id]))


def _check_checks(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # Checks are gathered above use cases, which ask by name: settings.PHASE_CHECKS.
    return import_string(settings.PHASE_CHECKS)(checks)  # type: ignore[no-any-return]


@transaction.atomic
def plan_phase(
    *,
    actor: Actor,
    usecase_id: Any,
    name: str,
    planned_on: date,
    entry_criteria: str,
    departments: list[str] | tuple[str, ...] = (),
    percent: int | None = None,
    checks: list[dict[str, Any]] | tuple[dict[str, Any], ...] = (),
    owner: User | None = None,
    closes_now: bool = False,
) -> RolloutPhase:
    """Add a phase at the end of the plan: who it covers, when, and what has to be true before. Without an owner: that of the use case.

    closes_now: meant, when the use case is past pilot and this is its first phase: nobody is served until a phase is opened.
    Raises Invalid naming the field, Conflict when it would add nobody or the name is taken.
    """
    usecase = lock.changeable(actor, usecase_id)
    phases = _listed(usecase)
    rules.check_may_plan(stage=usecase.stage, phases=len(phases), closes_now=closes_now)
    clean = rules.check_phase(
        {
            "name": name, "planned_on": planned_on, "entry_criteria": entry_criteria, "departments": departments, "percent": percent,
            "checks": checks,
        }
    )  # fmt: skip
    clean["checks"] = _check_checks(clean["checks"])
    _active(owner)
    phase = RolloutPhase(usecase=usecase, position=len(phases) + 1, owner=owner or usecase.owner, **clean)
    _check_plan([*phases, phase])
    phase.save(force_insert=True)
    _record(
        "usecases.phase.planned",
        actor,
        phase,
        after={**selectors.facts(phase), "position": phase.position, "closes_now": closes_now and not phases},
    )
    _reroute()
    return phase


def _check_plan(phases: list[RolloutPhase]) -> None:
    names = [rules.same(p.name) for p in phases]
    if twice := next((p.name for p, n in zip(phases, names, strict=True) if names.count(n) > 1), ""):
        raise Conflict(f"name: there is a phase “{twice}” already. Choose another name.", errors={"name": ["Taken."]})
    rules.check_order([(p.name, selectors.cohort(p)) for p in phases])


def _locked(actor: Actor, phase_id: Any) -> tuple[UseCase, RolloutPhase]:
    """The phase and its use case, visible and changeable, both locked by the use case's row."""
    found = selectors.phase(actor, phase_id)
    usecase = lock.changeable(actor, found.usecase_id)
    return usecase, selectors.phase(actor, phase_id)


@transaction.atomic
def change_phase(*, actor: Actor, phase_id: Any, position: int | None = None, owner: User | None = None, **fields: Any) -> RolloutPhase:
    """Change what is given of a phase: name, departments, percent, planned_on, entry_criteria, checks, owner, position.

    Who an open phase covers, and its name, stay. What a gate under way was frozen with is void when it changes.
    """
    usecase, phase = _locked(actor, phase_id)
    clean: dict[str, Any] = rules.check_phase(fields)
    if "checks" in clean:
        clean["checks"] = _check_checks(clean["checks"])
    _active(owner)
    if owner is not None:
        clean["owner"] = owner
    clean = {name: value for name, value in clean.items() if value != getattr(phase, name)}
    rules.check_may_change(phase.state, bool(set(clean) & set(COHORT)))
    before = {**selectors.facts(phase), "position": phase.position}
    for name, value in clean.items():
        setattr(phase, name, value)
    phases = [p if p.id != phase.id else phase for p in _listed(usecase)]
    moved = position is not None and position != phase.position
    if moved and position is not None:
        taken = max((p.position or 0 for p in phases if p.opened_at is not None), default=0)
        rules.check_place(position, opened=phase.opened_at is not None, taken=taken, phases=len(phases))
        phases.remove(phase)
        phases.insert(position - 1, phase)
    if not clean and not moved:
        return phase
    _check_plan(phases)
    _renumber(phases)
    if clean:
        phase.save(update_fields=[*clean])
    _record("usecases.phase.changed", actor, phase, before=before, after={**selectors.facts(phase), "position": phase.position})
    _reroute()
    return phase


def _renumber(phases: list[RolloutPhase]) -> None:
    """1, 2, 3 in this order. The database compares places at the end of the transaction."""
    for place, each in enumerate(phases, 1):
        if each.position != place:
            each.position = place
            each.save(update_fields=["position"])


@transaction.atomic
def drop_phase(*, actor: Actor, phase_id: Any) -> RolloutPhase:
    """Take a phase that was never opened out of the plan. Repeating it changes nothing."""
    usecase, phase = _locked(actor, phase_id)
    if phase.state == RolloutPhase.State.DROPPED:
        return phase
    phases = _listed(usecase)
    rules.check_may_drop(state=phase.state, opened=phase.opened_at is not None, stage=usecase.stage, phases=len(phases))
    phase.state, phase.position = RolloutPhase.State.DROPPED, None
    phase.save(update_fields=["state", "position"])
    _renumber([p for p in phases if p.id != phase.id])
    _record("usecases.phase.dropped", actor, phase, before=selectors.facts(phase))
    _reroute()
    return phase


@transaction.atomic
def open_phase(*, actor: Actor, phase_id: Any, decision: Decision, signed: dict[str, Any]) -> RolloutPhase:
    """Open a phase, or renew the approval of an open one, by the decision of its passed gate, which is used up by it. Only approvals calls this.

    The decision that a renewal replaces is revoked, so that a phase is open by one decision alone.
    signed: the phase as it was frozen (phase_selectors.facts). Raises StaleEvidence when it is another one now, NoLiveDecision when the
    decision does not fit or hold, Conflict when the use case or the phase has moved on.
    """
    found: RolloutPhase | None = RolloutPhase.objects.filter(id=phase_id).first()
    if found is None:
        raise NotFound("There is no such rollout phase.")
    usecase = UseCase.objects.select_for_update(no_key=True).one("use case", id=found.usecase_id)
    phase = RolloutPhase.objects.select_related("owner").get(id=phase_id)
    rules.check_may_begin(stage=usecase.stage, state=phase.state)
    if selectors.facts(phase) != signed:
        raise StaleEvidence("The phase was changed since its evidence was frozen. The requester has to request the gate again.")
    if decision.kind != "phase" or str(decision.phase_id) != str(phase.id):
        raise NoLiveDecision("This decision is about something else. Request the gate for this phase.")
    if phase.decision_id == decision.id:
        raise Conflict(f"This phase is {phase.state} by this decision already. Request a gate to renew it.")
    if not decisions.is_live(decision.id):
        raise NoLiveDecision(decisions.state_of(decisions.decision(decision.id)))
    before = decisions.decision(phase.decision_id) if phase.state == RolloutPhase.State.OPEN else None
    without_break = before is not None and decisions.standing().filter(id=before.id).exists()
    phase.state, phase.decision_id, phase.closed_at = RolloutPhase.State.OPEN, decision.id, None
    phase.opened_at = phase.opened_at if without_break else now()
    try:
        with transaction.atomic():
            phase.save(update_fields=["state", "decision_id", "opened_at", "closed_at"])
    except IntegrityError as error:
        raise NoLiveDecision(f"The phase was not opened: {str(error).splitlines()[0]}.") from error
    if before is None:
        _record("usecases.phase.opened", actor, phase, after=selectors.facts(phase), decision_id=str(decision.id))
    else:
        if without_break:
            decisions_services.revoke(
                actor=actor, decision_id=before.id, reason=f"The approval of rollout phase “{phase.name}” was renewed."
            )
        _record(
            "usecases.phase.renewed",
            actor,
            phase,
            before={"decision_id": str(before.id)},
            after={**selectors.facts(phase), "decision_id": str(decision.id)},
            decision_id=str(decision.id),
        )
    _reroute()
    return phase


@transaction.atomic
def close_phase(*, actor: Actor, phase_id: Any, reason: str) -> RolloutPhase:
    """Roll an open phase back, with a reason: its decision is revoked, and callers that no other open phase covers are turned away."""
    _, phase = _locked(actor, phase_id)
    rules.check_may_close(phase.state)
    return _close(actor, phase, rules.check_reason(reason))


@transaction.atomic
def close_phase_of(*, actor: Actor, decision: Decision, reason: str) -> None:
    """Close the phase that a decision opened, because it is revoked. Only approvals calls this, after its own check of the actor."""
    phase = RolloutPhase.objects.filter(decision_id=decision.id, state=RolloutPhase.State.OPEN).first()
    if phase is not None:
        UseCase.objects.select_for_update(no_key=True).one("use case", id=phase.usecase_id)
        phase.refresh_from_db()
        if phase.state == RolloutPhase.State.OPEN and phase.decision_id == decision.id:
            _close(actor, phase, rules.check_reason(reason))


def close_all(actor: Actor, usecase: UseCase, reason: str) -> None:
    """Close every open phase, because the use case leaves production. The caller has checked the actor and holds the lock."""
    for phase in RolloutPhase.objects.filter(usecase=usecase, state=RolloutPhase.State.OPEN).order_by("position"):
        _close(actor, phase, reason)


def _close(actor: Actor, phase: RolloutPhase, reason: str) -> RolloutPhase:
    phase.state, phase.closed_at, phase.close_reason, phase.closed_by = RolloutPhase.State.CLOSED, now(), reason, actor.label
    phase.save(update_fields=["state", "closed_at", "close_reason", "closed_by"])
    decisions_services.revoke(actor=actor, decision_id=phase.decision_id, reason=f"Rollout phase “{phase.name}” was closed: {reason}")
    _record(
        "usecases.phase.closed",
        actor,
        phase,
        reason=reason,
        before={"state": "open"},
        after={"state": "closed"},
        decision_id=str(phase.decision_id),
    )
    _reroute()
    return phase

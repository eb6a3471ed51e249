"""What control tells and does by the clock: approvals that end, gates that wait too long, waivers that run out."""

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from apps.approvals import rules, waiver_rules
from apps.approvals.models import Gate, Reminder, Waiver
from apps.approvals.services import news
from apps.approvals.services.waivers import settle_waiver
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision, Revocation

log = logging.getLogger(__name__)
RELATED = ("usecase", "policy", "model_version", "phase")


def remind(*, actor: Actor) -> dict[str, int]:
    """Tell and do what is due, each in its own transaction; safe to repeat and to run twice at once. Returns how often, by kind.

    Opens its own transactions: never call it inside one.
    """
    gates = Gate.objects.filter(state=Gate.State.OPEN, due_at__lt=now()).values_list("id", flat=True)
    waivers = Waiver.objects.filter(state=Waiver.State.SIGNED).values_list("id", flat=True)
    return {
        "expiring": _each(tell_of_expiry, actor, [d.id for d in _ending()], "decision_id"),
        "overdue": _each(chase, actor, gates, "gate_id"),
        "waivers": _each(watch_waiver, actor, waivers, "waiver_id"),
    }


def _each(service: Callable[..., bool], actor: Actor, ids: Iterable[Any], name: str) -> int:
    done = 0
    for each_id in list(ids):
        try:
            done += bool(call(service, actor=actor, **{name: each_id}))
        except DomainError as error:
            log.warning("%s %s: %s", name, each_id, error.detail)
        except Exception:  # one that fails does not stop the others
            log.exception("%s %s", name, each_id)
    return done


def _once(event: str, subject_id: Any, mark: str) -> bool:
    """Whether this is to be told now: it was not before, by whichever process."""
    return Reminder.objects.get_or_create(event=event, subject_id=subject_id, mark=mark, defaults={"told_at": now()})[1]


def _ending() -> list[Decision]:
    """Approvals for an environment or a rollout phase that end within the longest notice or ended since, neither revoked nor followed
    by a later one."""
    first = max(rules.EXPIRY_DAYS)
    later = Decision.objects.filter(
        usecase_id=OuterRef("usecase_id"), environment=OuterRef("environment"), artifact_digest=OuterRef("artifact_digest"),
        expires_at__gt=OuterRef("expires_at"), phase_id=None,
    )  # fmt: skip
    later_phase = Decision.objects.filter(phase_id=OuterRef("phase_id"), expires_at__gt=OuterRef("expires_at"))
    rows = Decision.objects.filter((~Q(environment="") & ~Exists(later)) | (Q(kind="phase") & ~Exists(later_phase))).filter(
        ~Exists(Revocation.objects.filter(decision=OuterRef("pk"))),
        expires_at__lt=now() + timedelta(days=first), expires_at__gt=now() - timedelta(days=first),
    )  # fmt: skip
    return list(rows.order_by("expires_at"))


@transaction.atomic
def tell_of_expiry(*, actor: Actor, decision_id: Any) -> bool:
    """Tell that an approval ends soon (30 and 7 days before) or has ended; whether anything was told."""
    decision = decisions.decision(decision_id)
    gate = Gate.objects.select_related(*RELATED).filter(decision_id=decision_id).first()
    if gate is None or gate.usecase.stage in ("retired", "stopped"):
        return False
    left = decision.expires_at - now()
    if left <= timedelta(0):
        if not _once("decision.lapsed", decision.id, ""):
            return False
        news.lapsed(actor, gate, decision)
        audit.record(
            "approvals.decision.lapsed", actor=actor, obj_type="decision", obj_id=str(decision.id), obj_label=str(decision),
            usecase_id=str(decision.usecase_id), decision_id=str(decision.id), after={"expires_at": decision.expires_at},
        )  # fmt: skip
        return True
    mark = rules.expiry_mark(left)
    if not mark or not _once("decision.expiring", decision.id, str(mark)):
        return False
    news.expiring(actor, gate, decision, left.days)
    return True


@transaction.atomic
def chase(*, actor: Actor, gate_id: Any) -> bool:
    """Do with an overdue gate what its policy says: remind, tell another function as well, or let it lapse. Never approve."""
    gate = Gate.objects.select_for_update(of=("self",), no_key=True, skip_locked=True).select_related(*RELATED).filter(
        id=gate_id, state=Gate.State.OPEN, due_at__lt=now()
    ).first()  # fmt: skip
    if gate is None or gate.due_at is None:
        return False
    way = gate.policy.overdue
    if way["do"] == "lapse":
        gate.state, gate.decided_at = Gate.State.LAPSED, now()
        gate.save(update_fields=["state", "decided_at"])
        audit.record(
            "approvals.gate.lapsed", actor=actor, obj_type="gate", obj_id=str(gate.id), obj_label=str(gate),
            usecase_id=str(gate.usecase_id), reason=f"Signatures were due on {gate.due_at:%Y-%m-%d}.",
        )  # fmt: skip
        news.gate_lapsed(actor, gate)
        return True
    period = (now() - gate.due_at) // timedelta(days=way["every_days"])
    if not _once("gate.overdue", gate.id, f"{gate.due_at:%Y%m%d}-{period}"):
        return False
    news.overdue(actor, gate, way.get("to", ""))
    return True


@transaction.atomic
def watch_waiver(*, actor: Actor, waiver_id: Any) -> bool:
    """Settle a waiver, and tell before it runs out; whether anything was told or done."""
    if settle_waiver(actor=actor, waiver_id=waiver_id) != "waits":
        return True
    waiver = Waiver.objects.select_related("gate__usecase", "gate__policy", "gate__model_version").get(id=waiver_id)
    left = waiver.until - now()
    mark = next((days for days in sorted(waiver_rules.WARN_DAYS) if left <= timedelta(days=days)), None)
    if mark is None or not _once("waiver.expiring", waiver.id, str(mark)):
        return False
    news.waiver_expiring(actor, waiver)
    return True

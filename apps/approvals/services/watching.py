"""Keep what lists say of open gates' evidence near the truth: has it changed since the request?"""

import logging
from typing import Any

from django.db import transaction
from django.db.models import F

from apps.approvals import documents, rules
from apps.approvals.models import EvidenceWatch, Gate
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.doors import call

log = logging.getLogger(__name__)
# Gates a round: each is evaluated as its page would.
MOST = 100


def watch_evidence(*, actor: Actor, most: int = MOST) -> int:
    """Evaluate the open gates that were not looked at for longest, each in its own transaction; returns how many have changed.

    Nothing is told or voided by it: it is what an inbox counts. Opens its own transactions: never call it inside one.
    """
    rows = Gate.objects.filter(state=Gate.State.OPEN).order_by(F("watch__checked_at").asc(nulls_first=True), "id")
    changed = 0
    for gate_id in list(rows.values_list("id", flat=True)[:most]):
        try:
            changed += bool(call(_evaluate, actor=actor, gate_id=gate_id))
        except Exception:  # one that fails does not stop the others
            log.exception("the evidence of gate %s", gate_id)
    return changed


@transaction.atomic
def _evaluate(*, actor: Actor, gate_id: Any) -> int:
    related = ("usecase__owner", "policy", "model_version__model", "requested_by", "phase__owner")
    gate = Gate.objects.select_related(*related).filter(id=gate_id, state=Gate.State.OPEN).first()
    if gate is None:
        return 0
    return note(gate, rules.changes(documents.frozen(gate), documents.live(gate)))


def is_news(gate: Gate, changes: list[dict[str, str]]) -> bool:
    """Whether the lists say something else of this gate (read with its `watch`)."""
    known: EvidenceWatch | None = getattr(gate, "watch", None)
    return len(changes) != (known.changes if known else 0)


def note(gate: Gate, changes: list[dict[str, str]]) -> int:
    """Remember what was found of an open gate's evidence; returns how many changes."""
    moment, count = now(), len(changes)
    known = EvidenceWatch.objects.filter(gate=gate).first()
    since = (known.changed_at if known and known.changed_at else moment) if count else None
    row = EvidenceWatch(gate=gate, checked_at=moment, changes=count, changed_at=since, first=changes[0]["what"] if changes else "")
    fields = ["checked_at", "changes", "changed_at", "first"]
    EvidenceWatch.objects.bulk_create([row], update_conflicts=True, unique_fields=["gate"], update_fields=fields)
    return count

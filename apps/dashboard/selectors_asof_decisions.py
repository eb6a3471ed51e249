"""A decision as it stood at a moment: whether it held, and who had signed for it over which evidence."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Prefetch

from apps.approvals.models import Gate, Signature
from apps.core.clock import iso
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that was valid then."""

    name: str
    function: str
    meaning: str
    signed_at: str
    on_behalf_of: str
    method: str
    evidence_digest: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision then. `why_not` is empty when it held, else the sentence that says why not."""

    id: str
    label: str
    kind: str
    issued_at: str
    expires_at: str
    why_not: str
    gate_id: str | None
    policy: str
    policy_digest: str
    evidence_digest: str
    frozen_at: str | None
    signatures: list[Signed]


def decided(decision_ids: Iterable[Any], at: datetime) -> dict[str, Decided]:
    """Decision id -> the decision as it stood at the moment; a bounded number of queries."""
    rows = decisions.with_state(Decision.objects.filter(id__in=set(decision_ids)))
    gates = _gates(rows, at)
    return {str(d.id): _decided(d, gates.get(d.gate_id), at) for d in rows}


def _gates(rows: Iterable[Decision], at: datetime) -> dict[Any, Gate]:
    signed = Prefetch("signatures", Signature.objects.filter(signed_at__lte=at).order_by("signed_at"))
    found = Gate.objects.filter(id__in=[d.gate_id for d in rows]).select_related("policy").defer("evidence_text").prefetch_related(signed)
    return {g.id: g for g in found}


def _decided(decision: Decision, gate: Gate | None, at: datetime) -> Decided:
    valid = [s for s in gate.signatures.all() if s.void_at is None or s.void_at > at] if gate else []
    return Decided(
        id=str(decision.id), label=str(decision), kind=decision.kind, issued_at=iso(decision.issued_at), expires_at=iso(decision.expires_at),
        why_not=decisions.state_of(decision, at=at), gate_id=str(gate.id) if gate else None, policy=str(gate.policy) if gate else "",
        policy_digest=gate.policy.digest if gate else "", evidence_digest=decision.evidence_digest,
        frozen_at=iso(gate.frozen_at) if gate and gate.frozen_at else None,
        signatures=[
            Signed(s.printed_name, s.function, s.meaning, iso(s.signed_at), s.on_behalf_of_name, s.method, s.evidence_digest) for s in valid
        ],
    )  # fmt: skip

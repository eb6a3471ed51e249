"""What is new on gates since a person last opened them. Reads only; services/looks.py remembers a look."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, JSONObject

from apps.approvals import look_rules
from apps.approvals.models import Attachment, Attestation, Comment, Gate, Look, PolicyVersion, Signature, Waiver
from apps.core.actor import Actor
from apps.core.clock import now

_TABLES: dict[str, tuple[type, str, str]] = {
    "comment": (Comment, "at", "by"),
    "answer": (Attestation, "at", "by"),
    "file": (Attachment, "at", "by"),
    "signature": (Signature, "signed_at", "signer"),
    "waiver": (Waiver, "asked_at", "asked_by"),
}


def last(actor: Actor, gate_id: Any) -> Look | None:
    """The actor's last look at a gate, if they ever opened it, with the newest version of its policy that is not the gate's. One query."""
    if actor.user_id is None:
        return None
    policy = OuterRef("gate__policy__gate"), OuterRef("gate__policy__tier"), OuterRef("gate__policy__published_at")
    newer = PolicyVersion.objects.filter(gate=policy[0], tier=policy[1], published_at__gt=policy[2]).order_by("-published_at")
    said = newer.values(said=JSONObject(name="name", version="version", at="published_at", by="published_by_id"))[:1]
    rows = Look.objects.filter(gate_id=gate_id, user_id=actor.user_id).annotate(newer_policy=Subquery(said))
    return rows.first()


def news(actor: Actor, gate: Gate, current: dict[str, Any], look: Look | None) -> tuple[datetime | None, list[look_rules.News]]:
    """(since when, what others did on the gate and how its evidence reads) since the reader's last look; nothing on the first."""
    if look is None:
        return None, []
    same = look_rules.is_same_reading(look.looked_at, look.before_at, now())
    since, seen = (look.before_at, look.before) if same else (look.looked_at, look.seen)
    assert since is not None
    told = look_rules.happened(since, actor.user_id, [*_events(gate), *_policy(gate, look)])
    return since, [*look_rules.compared(seen or {}, current), *told]


def _events(gate: Gate) -> Iterable[tuple[datetime | None, Any, str, str]]:
    for s in gate.signatures.all():
        yield s.signed_at, s.signer_id, "signature", f"{s.printed_name} signed for {s.function}: {s.meaning}"
        yield s.void_at, None, "signature", f"The signature of {s.printed_name} for {s.function} is void. {s.void_reason}"
    for c in gate.comments.all():
        yield c.at, c.by_id, c.kind, f"{c.by} {'asked' if c.kind == 'question' else 'wrote'}: “{c.text}”"
    for f in gate.attachments.all():
        yield f.at, f.by_id, "attachment", f"{f.by} attached {f.name}"
    for w in gate.waivers.all():
        yield w.asked_at, w.asked_by_id, "waiver", f"{w.asked_by} asked for a waiver of “{w.title}”"
        yield (
            w.signed_at,
            w.signer_id,
            "waiver",
            f"{w.printed_name} {'refused' if w.state == 'refused' else 'signed'} the waiver of “{w.title}”",
        )
        yield w.ended_at, None, "waiver", f"The waiver of “{w.title}” ended. {w.end_reason}"
    again = gate.frozen_at != gate.requested_at
    by = gate.requested_by_id
    if gate.frozen_at:
        yield gate.frozen_at, by, "evidence", f"The evidence was frozen{' again' if again else ''}, and signatures are asked for"
    if gate.decided_at:
        yield gate.decided_at, None, "state", f"The gate is {gate.state}"


def _policy(gate: Gate, look: Look) -> Iterable[tuple[datetime | None, Any, str, str]]:
    """A version of its policy that came since; the gate keeps the one it began under."""
    newer = look.newer_policy  # type: ignore[attr-defined]
    if newer:
        text = f"{newer['name']} {newer['version']} was published; this gate keeps {gate.policy}"
        yield datetime.fromisoformat(newer["at"]), newer["by"], "policy", text


def counts(actor: Actor, gate_ids: Iterable[Any]) -> dict[Any, tuple[datetime, str]]:
    """Gate -> (when the actor last looked, what others did since, in words); gates they never opened are not there. One query."""
    if actor.user_id is None:
        return {}
    rows: QuerySet[Look] = Look.objects.filter(user_id=actor.user_id, gate_id__in=list(gate_ids)).defer("seen", "before")
    rows = rows.annotate(frozen_at=F("gate__frozen_at"), requester=F("gate__requested_by_id"))
    for name, (table, at, by) in _TABLES.items():
        rows = rows.annotate(**{f"new_{name}": _count(table, {f"{at}__gt": OuterRef("looked_at")}, ~Q(**{f"{by}_id": actor.user_id}))})
    rows = rows.annotate(new_void=_count(Signature, {"void_at__gt": OuterRef("looked_at")}, Q()))
    found = {}
    for row in rows:
        numbers = {name: getattr(row, f"new_{name}") for name in _TABLES} | {"void signature": row.new_void}  # type: ignore[attr-defined]
        frozen = row.frozen_at and row.frozen_at > row.looked_at and str(row.requester) != actor.user_id  # type: ignore[attr-defined]
        found[row.gate_id] = (row.looked_at, look_rules.counted(numbers, bool(frozen)))
    return found


def _count(table: Any, since: dict[str, Any], others: Q) -> Any:
    of_gate = table.objects.filter(others, gate=OuterRef("gate"), **since).order_by().values("gate")
    return Coalesce(Subquery(of_gate.annotate(n=Count("id")).values("n")), Value(0), output_field=IntegerField())

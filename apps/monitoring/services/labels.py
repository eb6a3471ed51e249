"""What turned out to be true.

A label is taken whether or not a prediction is known for it: the truth may arrive before the capture is written, or be about a
request that nobody kept. Which of the two it is shows in `matched_at`; who would rather be refused sends `strict`.
"""

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.clock import now
from apps.core.doors import call
from apps.core.errors import Invalid, NotAllowed
from apps.core.ids import new_id
from apps.deployments import selectors as deployments
from apps.deployments.models import Endpoint
from apps.monitoring.gateways import captures
from apps.monitoring.models import PredictionLabel

MAX_LABELS = 20_000
# Of what is told one by one: in the answer, in a refusal, in the trail.
TOLD = 20
REFUSALS_TOLD = 100
# Predictions are looked for among those of the last so many days, as monitors do; a label is looked up again for as long.
LOOKBACK = timedelta(days=30)

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What became of a batch.

    accepted: new. repeated: known with the same value. contradicting: known with another value, which stays. corrected: known
    with another value, which the new one now takes the place of (only asked for with `correct`). unmatched: of the new and
    corrected ones, those for which no prediction is captured (yet). The lists name the first of them.
    """

    accepted: int
    repeated: int
    contradicting: int
    corrected: int = 0
    unmatched: int = 0
    contradictions: list[dict[str, Any]] = field(default_factory=list)
    without_prediction: list[dict[str, Any]] = field(default_factory=list)


def record_labels(
    *, actor: Actor, endpoint_id: Any, rows: list[dict[str, Any]], strict: bool = False, correct: bool = False
) -> LabelReport:
    """Take labels `{"request_id", "row" (0), "label"}` of an endpoint's predictions.

    request_id is the id in the answer's X-Gatehouse-Request-Id header, or the caller's own. The first label of a row stays, unless
    `correct` is given: then another value takes its place, and both are kept. `strict` refuses the batch when a label has no
    captured prediction. Opens its own transaction once captures have been read: do not call it in one. Raises Invalid naming
    the row.
    """
    if not actor.has_scope("write"):
        raise NotAllowed("This token may only read. Use one with the scope 'write'.")
    endpoint = deployments.changeable_endpoint(actor, endpoint_id)
    wanted = _checked(rows)
    answered = _answered(endpoint.id, {key[0] for key in wanted})
    if strict and (lacking := [number for number, row in enumerate(rows) if _key(row) not in answered]):
        raise Invalid(
            f"labels[{lacking[0]}].request_id: no prediction of this endpoint is captured under it. {len(lacking)} of {len(rows)} labels "
            "have none; nothing was stored. Captures appear about two seconds after the answer: send them again, or without strict.",
            errors={f"labels[{n}].request_id": ["No prediction is captured under this id and row."] for n in lacking[:REFUSALS_TOLD]},
        )
    report: LabelReport = call(_store, actor, endpoint.id, wanted, answered, correct)
    return report


@transaction.atomic
def _store(actor: Actor, endpoint_id: Any, wanted: dict[Key, float], answered: set[Key], correct: bool) -> LabelReport:
    # Writers of one endpoint's labels queue here, so that of two that name one row the first stays.
    endpoint: Endpoint = deployments.locked_endpoint(deployments.changeable_endpoint(actor, endpoint_id).id)
    in_force = PredictionLabel.objects.filter(endpoint=endpoint, superseded_by=None, request_id__in={key[0] for key in wanted})
    known = {(row.request_id, row.row): row for row in in_force}
    moment = now()

    def made(key: Key, old: PredictionLabel | None = None) -> PredictionLabel:
        return PredictionLabel(
            id=new_id(), endpoint=endpoint, request_id=key[0], row=key[1], label=wanted[key], received_at=moment, received_from=actor.label[:300],
            first_received_at=old.first_received_at if old else moment, matched_at=moment if key in answered else None,
        )  # fmt: skip

    fresh = [made(key) for key in wanted if key not in known]
    other = [key for key in wanted if key in known and known[key].label != wanted[key]]
    corrections = [made(key, known[key]) for key in other] if correct else []
    told = [{"request_id": k[0], "row": k[1], "kept": known[k].label, "sent": wanted[k]} for k in other[:TOLD]]
    # The old ones step aside first, because a row has one label in force; their key is checked at commit.
    for new in corrections:
        known[new.request_id, new.row].superseded_by_id = new.id
    replaced = [known[new.request_id, new.row] for new in corrections]
    PredictionLabel.objects.bulk_update(replaced, ["superseded_by"], batch_size=1_000)
    PredictionLabel.objects.bulk_create(fresh + corrections, batch_size=2_000)
    alone = [p for p in fresh + corrections if p.matched_at is None]
    report = LabelReport(
        accepted=len(fresh), repeated=len(wanted) - len(fresh) - len(other), contradicting=0 if correct else len(other),
        corrected=len(corrections), unmatched=len(alone), contradictions=[] if correct else told,
        without_prediction=[{"request_id": p.request_id, "row": p.row} for p in alone[:TOLD]],
    )  # fmt: skip
    about: dict[str, Any] = {
        "obj_type": "endpoint",
        "obj_id": str(endpoint.id),
        "obj_label": endpoint.name,
        "usecase_id": str(endpoint.usecase_id),
    }
    if fresh:
        audit.record(
            "monitoring.labels.recorded", actor=actor, **about,
            after={
                "accepted": report.accepted, "repeated": report.repeated, "contradicting": report.contradicting,
                "unmatched": sum(1 for p in fresh if p.matched_at is None),
                "labels_digest": digest_of([[p.request_id, p.row, p.label] for p in fresh]),
            },
        )  # fmt: skip
    if corrections:
        audit.record(
            "monitoring.labels.corrected", actor=actor, **about,
            before={"first_rows": [[t["request_id"], t["row"], t["kept"]] for t in told]},
            after={
                "corrected": report.corrected, "first_rows": [[t["request_id"], t["row"], t["sent"]] for t in told],
                "labels_digest": digest_of([[p.request_id, p.row, p.label] for p in corrections]),
            },
        )  # fmt: skip
    return report


def match_labels(*, actor: Actor, endpoint_id: Any) -> int:
    """Look again for the predictions of labels that had none when they came; returns how many were found. Safe to repeat.

    Opens its own transaction once captures have been read: do not call it in one.
    """
    if not actor.is_system:
        deployments.changeable_endpoint(actor, endpoint_id)
    waiting = PredictionLabel.objects.filter(
        endpoint_id=endpoint_id, matched_at=None, superseded_by=None, received_at__gte=now() - LOOKBACK
    )
    rows = {(p.request_id, p.row): p.id for p in waiting.order_by("-received_at")[:MAX_LABELS]}
    if not rows:
        return 0
    found = [rows[key] for key in _answered(endpoint_id, {key[0] for key in rows}) if key in rows]
    return call(PredictionLabel.objects.filter(id__in=found, matched_at=None).update, matched_at=now()) if found else 0


def match_waiting(*, actor: Actor) -> int:
    """The same for every endpoint that has such labels."""
    waiting = PredictionLabel.objects.filter(matched_at=None, superseded_by=None, received_at__gte=now() - LOOKBACK)
    return sum(match_labels(actor=actor, endpoint_id=e) for e in waiting.order_by().values_list("endpoint_id", flat=True).distinct())


def _answered(endpoint_id: Any, request_ids: set[str]) -> set[Key]:
    """(id, row) of the captured answers under these ids, the gateway's and the callers' own."""
    table = captures.read(
        endpoint_id, since=now() - LOOKBACK, shadow=False, request_ids=request_ids, columns=["request_id", "client_id", "row"]
    )
    found: set[Key] = set()
    for row in table.to_pylist():
        found |= {(row["request_id"], row["row"]), (row["client_id"] or row["request_id"], row["row"])}
    return found


def _key(row: dict[str, Any]) -> Key:
    return row["request_id"], row.get("row", 0)


def _checked(rows: Any) -> dict[Key, float]:
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_LABELS:
        raise Invalid(f"labels: give 1 to {MAX_LABELS:,} labels at a time.", errors={"labels": ["Too few or too many."]})
    out: dict[Key, float] = {}
    for number, row in enumerate(rows):
        request_id, index, label = row.get("request_id"), row.get("row", 0), row.get("label")
        if not isinstance(request_id, str) or not 1 <= len(request_id) <= 128 or not request_id.isprintable():
            raise Invalid(f"labels[{number}].request_id: give the id of the request.", errors={f"labels[{number}].request_id": ["Needed."]})
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 2**31:
            raise Invalid(
                f"labels[{number}].row: give the row's place in its request, from 0.", errors={f"labels[{number}].row": ["Wrong."]}
            )
        if isinstance(label, bool):
            label = int(label)
        if not isinstance(label, int | float) or not math.isfinite(label):
            raise Invalid(f"labels[{number}].label: give a number.", errors={f"labels[{number}].label": ["Not a number."]})
        if out.setdefault((request_id, index), float(label)) != float(label):
            raise Invalid(
                f"labels[{number}].label: an earlier label of this batch says otherwise of the same row. Send one of the two.",
                errors={f"labels[{number}].label": ["Contradicts an earlier one of this batch."]},
            )
    return out

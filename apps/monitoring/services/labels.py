"""What turned out to be true."""

import math
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.canonical import digest_of
from apps.core.clock import now
from apps.core.errors import Invalid, NotAllowed
from apps.deployments import selectors as deployments
from apps.monitoring.models import PredictionLabel

MAX_LABELS = 20_000


@dataclass(frozen=True, slots=True)
class LabelReport:
    """accepted: new; repeated: known with the same value; contradicting: known with another value, which stays."""

    accepted: int
    repeated: int
    contradicting: int


@transaction.atomic
def record_labels(*, actor: Actor, endpoint_id: Any, rows: list[dict[str, Any]]) -> LabelReport:
    """Take labels `{"request_id", "row" (0), "label"}` of an endpoint's predictions. The first label of a row stays.

    request_id is the id in the answer's X-Gatehouse-Request-Id header, or the caller's own. Raises Invalid naming the row.
    """
    if not actor.has_scope("write"):
        raise NotAllowed("This token may only read. Use one with the scope 'write'.")
    endpoint = deployments.changeable_endpoint(actor, endpoint_id)
    wanted = _checked(rows)
    # Writers of one endpoint's labels queue here, so that of two that name one row the first stays.
    endpoint = deployments.locked_endpoint(endpoint.id)
    ids = {key[0] for key in wanted}
    known = {
        (request_id, row): label
        for request_id, row, label in PredictionLabel.objects.filter(endpoint=endpoint, request_id__in=ids).values_list(
            "request_id", "row", "label"
        )
    }
    moment = now()
    fresh = [
        PredictionLabel(endpoint=endpoint, request_id=key[0], row=key[1], label=label, received_at=moment)
        for key, label in wanted.items()
        if key not in known
    ]
    PredictionLabel.objects.bulk_create(fresh, batch_size=2_000)
    contradicting = sum(1 for key, label in wanted.items() if key in known and known[key] != label)
    report = LabelReport(len(fresh), len(wanted) - len(fresh) - contradicting, contradicting)
    if fresh:
        audit.record(
            "monitoring.labels.recorded", actor=actor, obj_type="endpoint", obj_id=str(endpoint.id), obj_label=endpoint.name,
            usecase_id=str(endpoint.usecase_id),
            after={
                "accepted": report.accepted, "repeated": report.repeated, "contradicting": contradicting,
                "labels_digest": digest_of([[p.request_id, p.row, p.label] for p in fresh]),
            },
        )  # fmt: skip
    return report


def _checked(rows: Any) -> dict[tuple[str, int], float]:
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_LABELS:
        raise Invalid(f"labels: give 1 to {MAX_LABELS:,} labels at a time.", errors={"labels": ["Too few or too many."]})
    out: dict[tuple[str, int], float] = {}
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
        out.setdefault((request_id, index), float(label))
    return out

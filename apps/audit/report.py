"""A report of the trail for printing: totals, the newest events, and the checkpoint that they stand under."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Min

from apps.audit import catalogue, downloads, rows, selectors, services
from apps.audit.models import Checkpoint, Event
from apps.core.actor import Actor
from apps.core.clock import now

SHOWN, MOST_NAMED = 500, 30


@dataclass(slots=True)
class Report:
    """events: the newest, `left_out` more are not shown. sealed: how many of `total` the checkpoint covers."""

    made_at: datetime
    made_by: str
    filters: dict[str, str]
    total: int
    sealed: int
    first_at: datetime | None
    last_at: datetime | None
    checkpoint: Checkpoint | None
    by_action: list[tuple[str, str, int]] = field(default_factory=list)
    by_actor: list[tuple[str, str, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def left_out(self) -> int:
        """Events that the report counts and does not show."""
        return self.total - len(self.events)


@transaction.atomic
def make_report(*, actor: Actor, filters: dict[str, str]) -> Report:
    """Count what the filters (of the REST list) find and note that it was read. Raises NotAllowed or NotFound as an export does."""
    filters = {k: v for k, v in filters.items() if v}
    downloads.check_scope(actor, filters.get("usecase", ""))
    found = rows.matching(actor, filters).order_by()
    checkpoint = selectors.latest_checkpoint()
    facts: dict[str, Any] = found.aggregate(n=Count("id"), first=Min("occurred_at"), last=Max("occurred_at"))
    made = Report(
        made_at=now(), made_by=actor.label, filters=filters, total=facts["n"], first_at=facts["first"], last_at=facts["last"],
        checkpoint=checkpoint, sealed=rows.count(actor, filters, tree_size=checkpoint.tree_size) if checkpoint else 0,
        by_action=[
            (a, catalogue.meaning(a), n) for a, n in found.values_list("action").annotate(n=Count("id")).order_by("-n", "action")
        ],
        by_actor=list(found.values_list("actor_label", "actor_kind").annotate(n=Count("id")).order_by("-n", "actor_label")[:MOST_NAMED]),
        events=list(found.with_leaf_index().order_by("-id")[:SHOWN]),
    )  # fmt: skip
    services.record(
        "audit.report.read", actor=actor, obj_type="trail", obj_id=filters.get("usecase") or "trail", obj_label="report",
        usecase_id=filters.get("usecase"), after={"filters": filters, "events": made.total, "tree_size": checkpoint.tree_size if checkpoint else 0},
    )  # fmt: skip
    return made

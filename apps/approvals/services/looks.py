"""Open a gate, and remember what one saw there."""

import json
from typing import Any

from apps.approvals import look_rules, selectors
from apps.approvals.models import Look
from apps.approvals.services import watching
from apps.core.actor import Actor
from apps.core.canonical import canonical_json
from apps.core.clock import now


def look(*, actor: Actor, gate_id: Any) -> selectors.GatePage:
    """The gate as it stands for the actor, with what is new since they last looked; the next look is told against this one.

    A convenience of one reader, so nothing goes to the trail. Raises NotFound.
    """
    page = selectors.gate_page(actor, gate_id)
    if page.gate.state == page.gate.State.OPEN and watching.is_news(page.gate, page.changes):
        watching.note(page.gate, page.changes)
    if actor.user_id is None:
        return page
    moment, last = now(), page.look
    row = {"looked_at": moment, "seen": json.loads(canonical_json(look_rules.kept(page.shown)))}
    if last is not None:
        same = look_rules.is_same_reading(last.looked_at, last.before_at, moment)
        row |= {"before_at": last.before_at, "before": last.before} if same else {"before_at": last.looked_at, "before": last.seen}
    else:
        row |= {"before_at": None, "before": None}
    # Two tabs at once: the later one stays, and neither fails.
    Look.objects.bulk_create(
        [Look(gate=page.gate, user_id=actor.user_id, **row)], update_conflicts=True, unique_fields=["gate", "user"], update_fields=[*row]
    )
    return page

"""What gateways count: requests by key that were let in, or turned away until a rollout phase opens."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Min

from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Invalid, NotAllowed
from apps.deployments.models import Endpoint, GatewayState, PhaseTally

MOST_ROWS = 5_000
MOST_COUNT = 2**62
# A gateway that says so this soon after the portal first saw it has counted all that it ever let in.
NEW_FOR = timedelta(minutes=10)


@transaction.atomic
def take_tally(*, actor: Actor, run: Any, rows: Any, counts: Any = None, lost_before: Any = None) -> int:
    """Take in the counts of one run of a gateway, whole: [{endpoint, hour, key, phase, admitted, refused}]; returns how many were kept.

    Counts replace those sent before by the same run, so sending them twice counts once. Endpoints that are gone are left out.
    counts: `all` from a gateway that counts every endpoint, not those with rollout phases alone. lost_before: what it counted up to
    then it could not deliver, and gave up.
    Raises Invalid naming the field, NotAllowed for anything but a gateway.
    """
    if not (actor.is_system or "routing" in actor.scopes):
        raise NotAllowed("Only a gateway sends tallies. Its token has the scope 'routing'.")
    try:
        run_id = UUID(str(run))
    except ValueError as error:
        raise Invalid("run: give the id of the gateway's run.", errors={"run": ["Not an id."]}) from error
    if not isinstance(rows, list) or len(rows) > MOST_ROWS:
        raise Invalid(f"rows: give a list of at most {MOST_ROWS}.", errors={"rows": ["Not such a list."]})
    read = [_row(row, f"rows[{index}]") for index, row in enumerate(rows)]
    lost = _moment(lost_before)
    there = set(Endpoint.objects.filter(id__in={r["endpoint_id"] for r in read}).values_list("id", flat=True))
    found = {
        (r["endpoint_id"], r["hour"], r["key_prefix"], r["phase"]): PhaseTally(run=run_id, **r) for r in read if r["endpoint_id"] in there
    }
    PhaseTally.objects.bulk_create(
        list(found.values()), update_conflicts=True, unique_fields=["run", "endpoint", "hour", "key_prefix", "phase"],
        update_fields=["admitted", "refused"],
    )  # fmt: skip
    _note_coverage(actor, counts == "all", lost)
    return len(found)


def _note_coverage(actor: Actor, everything: bool, lost_before: datetime | None) -> None:
    """Since when this gateway's counts are whole; never longer than any gateway has counted."""
    state = GatewayState.objects.select_for_update(no_key=True).filter(name=actor.label[:200]).first()
    if state is None:
        # It has not asked for routing yet, so it lets nobody in; it says this again within the hour.
        return
    moment, since = now(), state.counts_since
    if not everything:
        since = None
    elif since is None:
        earliest = GatewayState.objects.aggregate(first=Min("counts_since"))["first"] if state.created_at > moment - NEW_FOR else None
        since = earliest or moment
    if since is not None and lost_before is not None:
        since = max(since, lost_before)
    if since != state.counts_since:
        state.counts_since = since
        state.save(update_fields=["counts_since"])


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise Invalid("lost_before: give a moment with its zone.", errors={"lost_before": ["Not a moment."]}) from error
    if moment.tzinfo is None:
        raise Invalid("lost_before: give a moment with its zone.", errors={"lost_before": ["Without a zone."]})
    return moment


def _row(row: Any, where: str) -> dict[str, Any]:
    try:
        hour = datetime.fromisoformat(row["hour"])
        clean: dict[str, Any] = {
            "endpoint_id": UUID(row["endpoint"]), "hour": hour, "key_prefix": str(row["key"])[:16], "phase": str(row["phase"])[:100],
            "admitted": _count(row["admitted"]), "refused": _count(row["refused"]),
        }  # fmt: skip
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise Invalid(f"{where}: give endpoint, hour, key, phase, admitted and refused.", errors={where: ["Not such a row."]}) from error
    if hour.tzinfo is None or "\x00" in clean["key_prefix"] + clean["phase"]:
        raise Invalid(f"{where}: give the hour with its zone, and names in plain text.", errors={where: ["Not such a row."]})
    return clean


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_COUNT:
        raise ValueError("not a count")
    return value

"""Sealed events in the order of their leaves, batch by batch: what exports and the feed are made of.

Each batch is a short read of its own: a transaction that stays open for an export would keep the sealer waiting.
"""

from collections.abc import Iterator
from typing import Any

from apps.audit import selectors
from apps.audit.models import EventQuerySet
from apps.audit.sealing import SealBroken
from apps.core.actor import Actor

BATCH = 2000
FILTERS = ("search", "action", "actor", "object", "usecase", "decision", "since", "until")

Row = tuple[int, str]


def matching(actor: Actor, filters: dict[str, str]) -> EventQuerySet:
    """Visible events that meet the filters, which are named as in the REST list."""
    names = {"search": "text", "actor": "who", "object": "obj"}
    return selectors.search(actor, **{names.get(k, k): v for k, v in filters.items() if v})


def sealed(found: EventQuerySet, *, after: int, before: int) -> Any:
    """(leaf index, text) of those between two leaves, in their order."""
    joined = found.order_by().extra(
        select={"leaf": "audit_leaf.leaf_index"}, tables=["audit_leaf"],
        where=["audit_leaf.event_id = audit_event.id", "audit_leaf.leaf_index > %s", "audit_leaf.leaf_index < %s"], params=[after, before],
    )  # fmt: skip
    return joined.extra(order_by=["leaf"]).values_list("leaf", "payload")


def count(actor: Actor, filters: dict[str, str], *, tree_size: int) -> int:
    """How many there are below `tree_size`."""
    if actor.sees_everything and not any(filters.values()):
        return tree_size
    return int(sealed(matching(actor, filters), after=-1, before=tree_size).order_by().count())


def page(actor: Actor, filters: dict[str, str], *, after: int, tree_size: int, limit: int = BATCH) -> list[Row]:
    """At most `limit` (leaf index, text) after a leaf and below `tree_size`. Raises SealBroken when one that should be there is gone."""
    whole = actor.sees_everything and not any(filters.values())
    before = min(after + 1 + limit, tree_size) if whole else tree_size
    rows: list[Row] = list(sealed(matching(actor, filters), after=after, before=before)[:limit])
    if whole and [index for index, _ in rows] != list(range(after + 1, before)):
        raise SealBroken(f"an event between leaf {after + 1} and {before - 1} is gone")
    return rows


def pages(actor: Actor, filters: dict[str, str], *, after: int, tree_size: int) -> Iterator[list[Row]]:
    """All of them, batch by batch."""
    while rows := page(actor, filters, after=after, tree_size=tree_size):
        yield rows
        after = rows[-1][0]

"""The trail for a system that follows it: in the order of the leaves, which is the order of the seal and never changes."""

import json
from typing import Any

from apps.audit import rows, selectors
from apps.audit.sealing import SealBroken
from apps.core.actor import Actor

DEFAULT, MOST = 500, 2000


def follow(actor: Actor, *, after: int, limit: int) -> dict[str, Any]:
    """Events the actor may see after a leaf, `next_after` to go on from and how many are `sealed`. Raises TrailDamaged.

    Only what is sealed: leaf numbers are given to rows of finished transactions, all at once, so nothing can still appear below one.
    """
    checkpoint = selectors.latest_checkpoint()
    size = checkpoint.tree_size if checkpoint else 0
    try:
        found = rows.page(actor, {}, after=after, tree_size=size, limit=limit) if after + 1 < size else []
    except SealBroken as error:
        raise selectors.TrailDamaged(f"The trail cannot be followed: {error}. Verify it with the offline verifier.") from error
    # Fewer than asked for: the rest up to the checkpoint is nothing that the actor may see.
    reached = found[-1][0] if len(found) == limit else max(after, size - 1)
    return {"events": [{"leaf_index": i, "event": json.loads(text)} for i, text in found], "next_after": reached, "sealed": size}

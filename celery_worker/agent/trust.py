"""Whose orders this host believes: the keys its operator pinned, and those that a believed key handed over to.

What was learned is kept on this host's own disk. It counts only while the chain of hand-overs still begins at a pinned key, so
whoever pins anew forgets everything that the old pin had brought.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from celery_worker import orders
from celery_worker.agent.files import private_folder, write_atomically
from celery_worker.handover import Handover, read_handover
from celery_worker.orders import OrderRefused

log = logging.getLogger(__name__)

MOST_HANDOVERS: Final = 16


class OrderKeys:
    """The keys of orders. Safe to use from many threads.

    `pinned`: key id -> key, from the operator. `until`: those of them that are no longer accepted from a moment on.
    Raises ValueError for a file of learned keys that cannot be read: believing less, or more, than before would be silent.
    """

    def __init__(self, pinned: Mapping[str, Ed25519PublicKey], folder: Path, *, until: Mapping[str, datetime] | None = None) -> None:
        self._pinned, self._pinned_until = dict(pinned), dict(until or {})
        self._file = private_folder(folder) / "order-keys.json"
        self._guard = threading.Lock()
        self._successors: dict[str, Handover] = self._read()

    def _read(self) -> dict[str, Handover]:
        if not self._file.exists():
            return {}
        found = {}
        for row in json.loads(self._file.read_text("utf-8"))["handovers"]:
            moments = [orders.time_from_text(row[name], field=name) for name in ("issued_at", "old_accepted_until")]
            found[row["old"]] = Handover(row["old"], row["new"], orders.public_from_text(row["public"]), *moments)
        return found

    def at(self, moment: datetime) -> dict[str, Ed25519PublicKey]:
        """Key id -> key, of those that are accepted at `moment`."""
        with self._guard:
            return self._at(moment)

    def _at(self, moment: datetime) -> dict[str, Ed25519PublicKey]:
        chain = dict(self._pinned)
        waiting = list(chain)
        while waiting:
            step = self._successors.get(waiting.pop())
            if step is not None and step.new not in chain:
                chain[step.new] = step.public
                waiting.append(step.new)
        ends = {**self._pinned_until, **{old: step.old_accepted_until for old, step in self._successors.items()}}
        return {name: key for name, key in chain.items() if name not in ends or moment < ends[name]}

    def verify(self, envelope: Any, *, now: datetime | None = None) -> dict[str, Any]:
        """The payload of a message that a believed key signed; learns first from the hand-overs that travel with it. Raises OrderRefused."""
        moment = now or datetime.now(UTC)
        self.learn(envelope, now=moment)
        return orders.verify(envelope, keys=self.at(moment))

    def learn(self, envelope: Any, *, now: datetime | None = None) -> None:
        """Take up the valid hand-overs beside a message, oldest first; one that is not valid changes nothing and is logged."""
        carried = envelope.get("handovers") if isinstance(envelope, Mapping) else None
        if not isinstance(carried, list):
            return
        for one in carried[:MOST_HANDOVERS]:
            try:
                self._take(one, now or datetime.now(UTC))
            except OrderRefused as refusal:
                log.warning("hand-over of the order key refused: %s", refusal)

    def _take(self, envelope: Any, moment: datetime) -> None:
        with self._guard:
            named = envelope.get("key_id") if isinstance(envelope, Mapping) else None
            known = self._successors.get(str(named))
            believed = self._at(moment)
            if known is not None and named not in believed:
                return  # done, and long over: it travels along for hosts that have not heard
            found = read_handover(envelope, keys=believed, now=moment)
            if known is not None:
                if known.new != found.new:
                    raise OrderRefused("bad_signature", f"Key {found.old} has handed over to {known.new} already, and does so once.")
                return
            if found.new in self._pinned_until or found.new in self._successors:
                raise OrderRefused("bad_signature", f"Key {found.new} was retired before; a key does not come back.")
            rows = [*self._successors.values(), found]
            write_atomically(self._file, json.dumps({"handovers": [_row(h) for h in rows]}, indent=1).encode("ascii"))
            self._successors[found.old] = found
        log.info("order key %s hands over to %s; it is accepted until %s", found.old, found.new, found.old_accepted_until.isoformat())


def _row(step: Handover) -> dict[str, str]:
    return {
        "old": step.old, "new": step.new, "public": orders.public_to_text(step.public),
        "issued_at": orders.time_to_text(step.issued_at), "old_accepted_until": orders.time_to_text(step.old_accepted_until),
    }  # fmt: skip

"""The sealer: gives leaf indexes to events of finished transactions, signs checkpoints, and hands them to the witnesses.

One round is one transaction under an advisory lock, so two sealers do no harm and a killed one leaves nothing half done:
leaves, kept subtrees and checkpoint are there together or not at all. Witnesses are told after the commit, and again at the
next round or start when that did not work.
"""

import logging
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.db import InterfaceError, OperationalError, connection, transaction

from apps.audit.gateways.witness import Witness
from apps.audit.sealing import Checkpoint, Frontier, SealBroken, Subtree, leaf_hash, raw_public, read_checkpoint, sign_checkpoint
from apps.core.clock import iso, now

log = logging.getLogger(__name__)

# "gateseal" as a bigint: the one advisory lock all sealers of a database share.
LOCK = int.from_bytes(b"gateseal", "big")
BATCH = 20_000
INTERVAL_S = 0.4
LONGEST_PAUSE_S = 10.0
NOWHERE = uuid.UUID(int=0)

LAST = """
SELECT tree_size, root, frontier, note, sealed_xid::text, sealed_event_id,
       sealed_xid >= pg_snapshot_xmax(pg_current_snapshot())
FROM audit_checkpoint ORDER BY tree_size DESC LIMIT 1
"""
# A transaction below the snapshot's xmin has ended, so nothing can still appear below it: `id > last` would miss rows
# whose transaction took its id early and committed late.
WAITING = """
SELECT e.id, e.payload, e.xid::text FROM audit_event e
WHERE (e.xid, e.id) > (%s::xid8, %s) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
  AND NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.event_id = e.id)
ORDER BY e.xid, e.id LIMIT %s
"""
# After a logical restore the stored transaction ids belong to another cluster. A visible row whose id lies in our future
# is such a row; what has ended here is below xmin as always.
SWEEP = """
SELECT e.id, e.payload, e.xid::text FROM audit_event e
WHERE (e.xid < pg_snapshot_xmin(pg_current_snapshot()) OR e.xid >= pg_snapshot_xmax(pg_current_snapshot()))
  AND NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.event_id = e.id)
ORDER BY e.xid, e.id LIMIT %s
"""
FROM_ELSEWHERE = """
SELECT EXISTS (SELECT 1 FROM audit_event e WHERE e.xid >= pg_snapshot_xmax(pg_current_snapshot())
               AND NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.event_id = e.id))
"""


class SealRefused(Exception):
    """The database is not a continuation of what was sealed before. The message says what was found and what to do."""


@dataclass(slots=True)
class _State:
    frontier: Frontier
    origin: str
    sealed_xid: str
    sealed_event_id: uuid.UUID
    foreign: bool


class Sealer:
    """Seals a database's trail. `keys` are all keys that ever signed it; the private key's own is added when missing."""

    def __init__(
        self,
        *,
        private_key: Ed25519PrivateKey,
        origin: str,
        witnesses: Sequence[Witness],
        keys: Sequence[Ed25519PublicKey] = (),
        batch: int = BATCH,
    ) -> None:
        self.private_key = private_key
        own = private_key.public_key()
        self.keys = [own, *(k for k in keys if raw_public(k) != raw_public(own))]
        self.origin = origin
        self.witnesses = list(witnesses)
        self.batch = batch
        self._trusted: tuple[int, bytes] | None = None
        self._first_round = True
        # After an empty sweep: (tree size, transaction id) to go on from, as no checkpoint could note it.
        self._resume: tuple[int, str] | None = None

    def start(self) -> None:
        """Publish the public keys and compare the database with every witness; raises SealRefused or WitnessConflict."""
        for witness in self.witnesses:
            witness.introduce(self.keys)
        self.check_witnesses()

    def check_witnesses(self) -> None:
        """Refuse when a witness saw more than the database now holds, or something else."""
        for witness in self.witnesses:
            seen = witness.latest()
            if seen is None:
                continue
            with connection.cursor() as cursor:
                cursor.execute("SELECT root FROM audit_checkpoint WHERE tree_size = %s", [seen.tree_size])
                row = cursor.fetchone()
            if row is None:
                raise SealRefused(
                    f"{witness.name} holds a checkpoint over {seen.tree_size} events that the database does not have: the database was "
                    "rolled back or replaced. Keep both and find out why; only for a new, empty installation choose an empty witness."
                )
            if bytes(row[0]) != seen.root:
                raise SealRefused(
                    f"{witness.name} and the database disagree on the first {seen.tree_size} events: the trail was rewritten. "
                    "Keep both and find out why; restore the database from a copy that agrees with the witness."
                )

    def seal(self) -> int:
        """Seal whatever is ready, batch by batch, then tell the witnesses; returns the number of events sealed."""
        total = 0
        while True:
            sealed = self._seal_batch()
            total += sealed
            if sealed < self.batch:
                break
        self.publish()
        return total

    def publish(self) -> None:
        """Give each witness the checkpoints it lacks, in order. What cannot be delivered now is delivered later."""
        for witness in self.witnesses:
            try:
                seen = witness.latest()
                for checkpoint in self._checkpoints_after(seen.tree_size if seen else 0):
                    witness.publish(checkpoint)
            except OSError as error:
                log.error("a witness failed; its checkpoints will follow", extra={"event": {"witness": witness.name, "error": str(error)}})

    def run(self, stop: threading.Event, *, interval_s: float = INTERVAL_S) -> None:
        """Seal until told to stop. Outlives the database's restarts; ends with an error only when sealing would be wrong."""
        pause = interval_s
        started = False
        while not stop.is_set():
            try:
                if not started:
                    self.start()
                    started = True
                    log.info("sealing", extra={"event": {"origin": self.origin, "witnesses": [w.name for w in self.witnesses]}})
                self.seal()
                pause = interval_s
            except (OperationalError, InterfaceError) as error:
                connection.close()
                # What comes back may be a restored copy: compare it with the witnesses before signing anything more.
                started, self._trusted, self._resume = False, None, None
                pause = min(pause * 2, LONGEST_PAUSE_S)
                log.warning("the database is away; sealing waits for it", extra={"event": {"error": str(error), "pause_s": pause}})
            except OSError as error:
                pause = min(pause * 2, LONGEST_PAUSE_S)
                log.error("a witness is away; sealing waits for it", extra={"event": {"error": str(error), "pause_s": pause}})
            stop.wait(pause)

    @transaction.atomic
    def _seal_batch(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                return 0
            state = self._read_state(cursor)
            if self._first_round and not state.foreign:
                cursor.execute(FROM_ELSEWHERE)
                state.foreign = cursor.fetchone()[0]
            rows = self._read_waiting(cursor, state)
            if rows:
                self._write(cursor, state, rows)
            elif not state.foreign:
                self._first_round = False
            return len(rows)

    def _read_state(self, cursor: Any) -> _State:
        cursor.execute(LAST)
        row = cursor.fetchone()
        if row is None:
            if self._trusted:
                raise SealRefused("the checkpoints have disappeared from the database while it was being sealed")
            return _State(Frontier(), self.origin, "0", NOWHERE, False)
        size, root, frontier_bytes, note, xid, event_id, foreign = row
        try:
            frontier = Frontier.from_bytes(size, bytes(frontier_bytes))
            if self._trusted != (size, frontier.root()):
                # Not written by this process: trust only what one of our keys has signed.
                signed = read_checkpoint(note, self.keys)
                if (signed.tree_size, signed.root) != (size, frontier.root()) or signed.root != bytes(root):
                    raise SealBroken("its row differs from what was signed")
                if self._trusted and size < self._trusted[0]:
                    raise SealBroken(f"it follows one over {self._trusted[0]} events that is gone")
                self.origin = signed.origin
        except SealBroken as error:
            raise SealRefused(f"the last checkpoint in the database (over {size} events) was tampered with: {error}") from error
        if foreign and self._resume and self._resume[0] == size:
            return _State(frontier, self.origin, self._resume[1], NOWHERE, False)
        return _State(frontier, self.origin, xid, event_id, foreign)

    def _read_waiting(self, cursor: Any, state: _State) -> list[tuple[uuid.UUID, str, str]]:
        if not state.foreign:
            cursor.execute(WAITING, [state.sealed_xid, state.sealed_event_id, self.batch])
            rows: list[tuple[uuid.UUID, str, str]] = cursor.fetchall()
            if rows:
                state.sealed_xid, state.sealed_event_id = rows[-1][2], rows[-1][0]
            return rows
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        (xmin,) = cursor.fetchone()
        cursor.execute(SWEEP, [self.batch])
        rows = cursor.fetchall()
        if len(rows) < self.batch:
            # Everything that ended before xmin is sealed now, whatever its transaction id says.
            state.sealed_xid, state.sealed_event_id = xmin, NOWHERE
            if not rows:
                self._resume = (state.frontier.size, xmin)
        return rows

    def _write(self, cursor: Any, state: _State, rows: list[tuple[uuid.UUID, str, str]]) -> None:
        first = state.frontier.size
        leaves = [leaf_hash(payload) for _, payload, _ in rows]
        completed: list[Subtree] = []
        for leaf in leaves:
            completed += state.frontier.append(leaf)
        cursor.execute(
            "INSERT INTO audit_leaf (leaf_index, event_id, leaf_hash) SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::bytea[])",
            [list(range(first, first + len(rows))), [row[0] for row in rows], leaves],
        )
        if completed:
            cursor.execute(
                "INSERT INTO audit_subtree (level, position, root) SELECT * FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[])",
                [[s.level for s in completed], [s.position for s in completed], [s.root for s in completed]],
            )
        moment = now()
        size, root = state.frontier.size, state.frontier.root()
        signed = sign_checkpoint(origin=state.origin, tree_size=size, root=root, sealed_at=iso(moment), private_key=self.private_key)
        cursor.execute(
            "INSERT INTO audit_checkpoint (tree_size, root, frontier, note, sealed_at, sealed_xid, sealed_event_id) "
            "VALUES (%s, %s, %s, %s, %s, %s::xid8, %s)",
            [size, root, state.frontier.to_bytes(), signed.note, moment, state.sealed_xid, state.sealed_event_id],
        )
        # Only remembered after the commit; a rollback leaves a value that no stored checkpoint matches, which is checked again.
        transaction.on_commit(lambda: self._remember(size, root))

    def _remember(self, size: int, root: bytes) -> None:
        self._trusted = (size, root)

    def _checkpoints_after(self, tree_size: int) -> list[Checkpoint]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT note FROM audit_checkpoint WHERE tree_size > %s ORDER BY tree_size LIMIT 1000", [tree_size])
            return [read_checkpoint(note, self.keys) for (note,) in cursor.fetchall()]

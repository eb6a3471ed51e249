"""The sealed tree as the database keeps it: leaf hashes, and the roots of complete subtrees at every eighth level."""

from collections import OrderedDict

from django.db import connection

from apps.audit.sealing import TILE_HEIGHT, SealBroken, node_hash

RUN = 1 << TILE_HEIGHT
# Some 16 kB a run: an export's proofs share most of theirs.
MAX_CACHED_RUNS = 256


class StoredTree:
    """A `HashSource` over the first `size` leaves. Reads runs of at most 256 hashes and remembers them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._runs: OrderedDict[tuple[int, int], list[list[bytes]]] = OrderedDict()

    def subtree(self, level: int, position: int) -> bytes:
        """Root over leaves `[position << level, (position + 1) << level)`; raises SealBroken when rows are missing."""
        if (position + 1) << level > self.size:
            raise SealBroken(f"subtree {position} at level {level} is not complete in a tree of {self.size} leaves")
        base = level - level % TILE_HEIGHT
        within = level - base
        run, offset = divmod(position << within, RUN)
        return self._run(base, run)[within][offset >> within]

    def levels(self, run: int) -> list[list[bytes]]:
        """The leaf hashes of a complete run, and what they add up to below its root; raises SealBroken when rows are missing."""
        return self._run(0, run)

    def _run(self, base: int, run: int) -> list[list[bytes]]:
        """The stored hashes of a run, and what they add up to at the levels between two stored ones."""
        key = (base, run)
        if key in self._runs:
            self._runs.move_to_end(key)
            return self._runs[key]
        start = run * RUN
        end = min(start + RUN, self.size >> base)
        hashes = self._read(base, start, end)
        if len(hashes) != end - start:
            raise SealBroken(f"{end - start - len(hashes)} stored hashes are missing at level {base}")
        levels = [hashes]
        while len(levels[-1]) > 1 and len(levels) < TILE_HEIGHT:
            below = levels[-1]
            levels.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
        self._runs[key] = levels
        if len(self._runs) > MAX_CACHED_RUNS:
            self._runs.popitem(last=False)
        return levels

    def _read(self, base: int, start: int, end: int) -> list[bytes]:
        with connection.cursor() as cursor:
            if base == 0:
                cursor.execute(
                    "SELECT leaf_hash FROM audit_leaf WHERE leaf_index >= %s AND leaf_index < %s ORDER BY leaf_index", [start, end]
                )
            else:
                cursor.execute(
                    "SELECT root FROM audit_subtree WHERE level = %s AND position >= %s AND position < %s ORDER BY position",
                    [base, start, end],
                )
            return [bytes(row[0]) for row in cursor.fetchall()]

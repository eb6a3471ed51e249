"""Inclusion proofs of many events under one checkpoint, quickly: what 256 neighbours share is read and checked once."""

import base64
import json

from apps.audit.sealing import TILE_HEIGHT, SealBroken, inclusion_path, leaf_hash, verify_inclusion
from apps.audit.tree import RUN, StoredTree


def text(hashes: list[bytes]) -> list[str]:
    """Hashes in base64."""
    return [base64.b64encode(h).decode() for h in hashes]


class Prover:
    """Gives proofs under the checkpoint of `size` events and `root`; checks each before it gives it out. Ask in the order of the leaves."""

    def __init__(self, size: int, root: bytes) -> None:
        self.size, self.root, self.tree = size, root, StoredTree(size)
        self._run = -1
        self._leaves: list[bytes] = []
        self._levels: list[list[str]] = []
        self._above: list[str] = []

    def path(self, index: int, payload: str) -> str:
        """The path of the event at `index` as JSON; raises SealBroken when the text, the tree and the root do not agree."""
        leaf = leaf_hash(payload)
        run, offset = divmod(index, RUN)
        if run >= self.size // RUN:
            steps = inclusion_path(self.tree, index, self.size)
            verify_inclusion(leaf=leaf, index=index, size=self.size, path=steps, root=self.root)
            return json.dumps(text(steps), separators=(",", ":"))
        if run != self._run:
            self._enter(run)
        if self._leaves[offset] != leaf:
            raise SealBroken(f"the event of leaf {index} is not the text that was sealed")
        within = [self._levels[level][(offset >> level) ^ 1] for level in range(TILE_HEIGHT)]
        return '["' + '","'.join(within + self._above) + '"]'

    def _enter(self, run: int) -> None:
        """Read a complete run of leaves. One path that leads to the root proves them all: it holds what all of them add up to."""
        index = run * RUN
        steps = inclusion_path(self.tree, index, self.size)
        levels = self.tree.levels(run)
        below = [level[1] for level in levels]
        verify_inclusion(leaf=levels[0][0], index=index, size=self.size, path=below + steps[TILE_HEIGHT:], root=self.root)
        self._run, self._leaves = run, levels[0]
        self._levels, self._above = [text(level) for level in levels], text(steps[TILE_HEIGHT:])

"""RFC 6962 Merkle tree hashing, quick for many leaves, and checking of inclusion proofs."""

from collections.abc import Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(text: bytes) -> bytes:
    """SHA-256 of 0x00 and the stored text."""
    return sha256(b"\x00" + text).digest()


def _join(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """Appends leaf hashes and gives the root at any moment; remembers one hash per set bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Append leaf hashes in order, in the largest aligned blocks that fit."""
        at, end = 0, len(leaves)
        while at < end:
            aligned = self.size & -self.size or 1 << 62
            width = min(aligned, 1 << (end - at).bit_length() - 1)
            level = leaves[at : at + width]
            while len(level) > 1:
                level = [sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=True)]
            carry, bit = level[0], width
            while self.size & bit:
                carry = _join(self._peaks.pop(), carry)
                bit <<= 1
            self._peaks.append(carry)
            self.size += width
            at += width

    def root(self) -> bytes:
        """Root over all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        result = self._peaks[-1]
        for peak in self._peaks[-2::-1]:
            result = _join(peak, result)
        return result


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root an inclusion proof leads to; None when the proof has the wrong shape for `index` and `size`."""
    if not 0 <= index < size:
        return None
    here, last, result = index, size - 1, leaf
    for step in path:
        if last == 0 or len(step) != 32:
            return None
        if here % 2 or here == last:
            result = _join(step, result)
            while here and here % 2 == 0:
                here //= 2
                last //= 2
        else:
            result = _join(result, step)
        here //= 2
        last //= 2
    return result if last == 0 else None

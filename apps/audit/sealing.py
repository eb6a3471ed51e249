"""The Merkle tree and the signed checkpoint of the trail. Pure: no database, no clock, no files.

Tree: RFC 6962 section 2.1 (hashing) and RFC 9162 sections 2.1.3 and 2.1.4 (checking proofs).
Checkpoint: C2SP tlog-checkpoint in a C2SP signed note, signed with Ed25519.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HASH_BYTES = 32
# Subtree roots are kept at every eighth level, so a proof reads a few runs of at most 256 hashes however large the tree is.
TILE_HEIGHT = 8
EMPTY_ROOT = hashlib.sha256(b"").digest()
ED25519_NOTE_TYPE = b"\x01"
SIGNATURE_MARK = "\u2014 "


class SealBroken(Exception):
    """A checkpoint, proof or stored tree is not what it claims to be."""


def leaf_hash(payload: str) -> bytes:
    """Hash of one event: SHA-256 of 0x00 and the UTF-8 text that is stored."""
    return hashlib.sha256(b"\x00" + payload.encode()).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two neighbours: SHA-256 of 0x01, left, right."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Subtree:
    """Root of the complete subtree over leaves `[position << level, (position + 1) << level)`."""

    level: int
    position: int
    root: bytes


@dataclass(slots=True)
class Frontier:
    """What has to be remembered of a tree of `size` leaves to append to it: the roots of its complete subtrees, largest first."""

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def append(self, leaf: bytes) -> list[Subtree]:
        """Add a leaf hash; returns the subtrees it completed at the levels that are kept (8, 16, 24, ...)."""
        completed = []
        carry, level = leaf, 0
        while self.size >> level & 1:
            carry = node_hash(self.hashes.pop(), carry)
            level += 1
            if level % TILE_HEIGHT == 0:
                completed.append(Subtree(level, self.size >> level, carry))
        self.hashes.append(carry)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """RFC 6962 root of all leaves so far; SHA-256 of nothing for the empty tree."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root

    def to_bytes(self) -> bytes:
        """The hashes, 32 bytes each, for storing beside `size`."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> "Frontier":
        """Read what `to_bytes` wrote; raises SealBroken when the number of hashes does not fit the size."""
        if len(data) != HASH_BYTES * size.bit_count():
            raise SealBroken(f"a tree of {size} leaves has {size.bit_count()} frontier hashes, not {len(data) / HASH_BYTES:g}")
        return cls(size, [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)])


class HashSource(Protocol):
    """Gives the roots of complete, aligned subtrees; level 0 is the leaf hashes."""

    def subtree(self, level: int, position: int) -> bytes:
        """Root over leaves `[position << level, (position + 1) << level)`."""


def range_root(source: HashSource, start: int, end: int) -> bytes:
    """RFC 6962 MTH over leaves `[start, end)`, `start` being where a subtree of that width may begin."""
    width = end - start
    if width <= 0:
        raise SealBroken(f"there are no leaves in [{start}, {end})")
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return source.subtree(level, start >> level)
    split = start + (1 << (width - 1).bit_length() - 1)
    return node_hash(range_root(source, start, split), range_root(source, split, end))


def inclusion_path(source: HashSource, index: int, size: int) -> list[bytes]:
    """Hashes that lead from leaf `index` to the root of the tree of `size` leaves, lowest first."""
    if not 0 <= index < size:
        raise SealBroken(f"leaf {index} is not in a tree of {size} leaves")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + (1 << (end - start - 1).bit_length() - 1)
        if index < split:
            path.append(range_root(source, split, end))
            end = split
        else:
            path.append(range_root(source, start, split))
            start = split
    return path[::-1]


def consistency_path(source: HashSource, old: int, new: int) -> list[bytes]:
    """Hashes that show the tree of `old` leaves to be a beginning of the tree of `new` leaves (RFC 9162, 2.1.4.1)."""
    if not 0 <= old <= new:
        raise SealBroken(f"{old} is not a size before {new}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        split = start + (1 << (end - start - 1).bit_length() - 1)
        if old <= split:
            path.append(range_root(source, split, end))
            end = split
        else:
            path.append(range_root(source, start, split))
            start, whole = split, False
    if not whole:
        path.append(range_root(source, start, end))
    return path[::-1]


def verify_inclusion(*, leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise SealBroken unless the path leads from the leaf to the root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        raise SealBroken(f"leaf {index} is not in a tree of {size} leaves")
    fn, sn, result = index, size - 1, leaf
    for step in path:
        if sn == 0 or len(step) != HASH_BYTES:
            raise SealBroken("the inclusion proof is too long, or a step of it is no hash")
        if fn & 1 or fn == sn:
            result = node_hash(step, result)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            result = node_hash(result, step)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or result != root:
        raise SealBroken(f"the inclusion proof of leaf {index} does not lead to the root")


def verify_consistency(*, old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raise SealBroken unless the path shows the old tree to be a beginning of the new one (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new or (old in (0, new) and path):
        raise SealBroken("the consistency proof does not fit these sizes")
    if old == 0:
        return
    if old == new:
        if old_root != new_root:
            raise SealBroken("two checkpoints of one size have different roots")
        return
    steps = list(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps or any(len(step) != HASH_BYTES for step in steps):
        raise SealBroken("the consistency proof is empty, or a step of it is no hash")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if sn == 0:
            raise SealBroken("the consistency proof is too long")
        if fn & 1 or fn == sn:
            first, second = node_hash(step, first), node_hash(step, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, step)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or first != old_root or second != new_root:
        raise SealBroken("the older checkpoint is not a beginning of the newer one")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement: the trail named `origin` has `tree_size` events under this root. `note` is the whole signed text."""

    origin: str
    tree_size: int
    root: bytes
    sealed_at: str
    note: str


def raw_public(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes_raw()


def key_id(key: Ed25519PublicKey) -> str:
    """First 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(raw_public(key)).hexdigest()[:16]


def public_key_document(keys: Iterable[Ed25519PublicKey]) -> dict[str, Any]:
    """The JSON document in which public sealing keys are published."""
    return {"keys": [{"key_id": key_id(k), "public": base64.b64encode(raw_public(k)).decode(), "purpose": "seal"} for k in keys]}


def read_public_keys(document: Any) -> list[Ed25519PublicKey]:
    """The sealing keys of such a document; raises SealBroken when it is malformed or holds none."""
    try:
        found = [e for e in document["keys"] if e.get("purpose") == "seal"]
        keys = [Ed25519PublicKey.from_public_bytes(base64.b64decode(e["public"], validate=True)) for e in found]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SealBroken("the public key document is malformed") from error
    if not keys:
        raise SealBroken("the public key document holds no sealing key")
    return keys


def _note_key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519_NOTE_TYPE + public).digest()[:4]


def sign_checkpoint(*, origin: str, tree_size: int, root: bytes, sealed_at: str, private_key: Ed25519PrivateKey) -> Checkpoint:
    """Make and sign a checkpoint; `sealed_at` (RFC 3339) goes under the signature as an extension line."""
    if not origin or any(c.isspace() or c == "+" for c in origin):
        raise ValueError("an origin is not empty and has neither spaces nor plus signs")
    text = f"{origin}\n{tree_size}\n{base64.b64encode(root).decode()}\nsealed_at {sealed_at}\n"
    blob = _note_key_hash(origin, raw_public(private_key.public_key())) + private_key.sign(text.encode())
    note = f"{text}\n{SIGNATURE_MARK}{origin} {base64.b64encode(blob).decode()}\n"
    return Checkpoint(origin, tree_size, root, sealed_at, note)


def _signatures(block: str) -> Iterable[tuple[str, bytes]]:
    for line in block.splitlines():
        if not line.startswith(SIGNATURE_MARK):
            raise SealBroken("the checkpoint has a line among its signatures that is none")
        name, _, encoded = line.removeprefix(SIGNATURE_MARK).partition(" ")
        try:
            blob = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise SealBroken("a signature of the checkpoint is not base64") from error
        # Several texts decode to the same bytes; one of them is the signature.
        if base64.b64encode(blob).decode() != encoded:
            raise SealBroken("a signature of the checkpoint is not base64 as it is written")
        yield name, blob


def read_checkpoint(note: str, keys: Iterable[Ed25519PublicKey]) -> Checkpoint:
    """Parse a checkpoint and check that one of `keys` signed it; raises SealBroken otherwise."""
    text, gap, block = note.rpartition("\n\n")
    text += "\n"
    lines = text.split("\n")
    if not gap or not block.endswith("\n") or len(lines) < 4 or not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]):
        raise SealBroken("the text is not a checkpoint")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except ValueError as error:
        raise SealBroken("the root of the checkpoint is not base64") from error
    if len(root) != HASH_BYTES:
        raise SealBroken("the root of the checkpoint is not a SHA-256 hash")
    candidates = list(keys)
    for name, blob in _signatures(block):
        for key in candidates:
            if name == lines[0] and blob[:4] == _note_key_hash(name, raw_public(key)):
                try:
                    key.verify(blob[4:], text.encode())
                except InvalidSignature as error:
                    raise SealBroken("the signature of the checkpoint is not valid") from error
                stamp = next((x.removeprefix("sealed_at ") for x in lines[3:] if x.startswith("sealed_at ")), "")
                return Checkpoint(lines[0], int(lines[1]), root, stamp, note)
    raise SealBroken("no known key signed the checkpoint")

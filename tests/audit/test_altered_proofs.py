"""Ten thousand proofs, each altered in one place: neither program accepts one of them.

A proof is what a person is handed: the event's text or the older checkpoint, the steps, and the signed checkpoint they lead to. The size
of the tree is under that signature, as a path alone does not say it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.audit.sealing import (
    Frontier,
    SealBroken,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    read_checkpoint,
    sign_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from verifier import checkpoint as theirs
from verifier.merkle import root_of_path

EACH = 5000
SIZES = range(1, 201)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
THIEF = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
TEXTS = [f'{{"n":{n}}}' for n in range(SIZES[-1])]


class InMemory:
    """Roots of complete subtrees, kept once asked for."""

    def __init__(self) -> None:
        self.known = {(0, n): leaf_hash(text) for n, text in enumerate(TEXTS)}

    def subtree(self, level: int, position: int) -> bytes:
        if (level, position) not in self.known:
            self.known[level, position] = node_hash(self.subtree(level - 1, 2 * position), self.subtree(level - 1, 2 * position + 1))
        return self.known[level, position]


TREE = InMemory()


def signed(size: int, root: bytes, key: Ed25519PrivateKey = KEY) -> str:
    return sign_checkpoint(
        origin="example.org/audit", tree_size=size, root=root, sealed_at="2026-03-01T00:00:00.000000Z", private_key=key
    ).note


def _notes() -> tuple[dict[int, bytes], dict[int, str]]:
    frontier, roots = Frontier(), {}
    for size in SIZES:
        frontier.append(leaf_hash(TEXTS[size - 1]))
        roots[size] = frontier.root()
    return roots, {size: signed(size, root) for size, root in roots.items()}


ROOTS, NOTES = _notes()


@dataclass(frozen=True)
class Inclusion:
    text: str
    index: int
    path: tuple[bytes, ...]
    note: str

    @property
    def true(self) -> bool:
        """Is it what an honest portal would hand out?"""
        size = next((s for s, note in NOTES.items() if note == self.note), 0)
        if not 0 <= self.index < size or TEXTS[self.index] != self.text:
            return False
        return self.path == tuple(inclusion_path(TREE, self.index, size))


@dataclass(frozen=True)
class Consistency:
    older: str
    newer: str
    path: tuple[bytes, ...]

    @property
    def true(self) -> bool:
        """Is it what an honest portal would hand out?"""
        old = next((s for s, note in NOTES.items() if note == self.older), 0)
        new = next((s for s, note in NOTES.items() if note == self.newer), 0)
        return 0 < old <= new and self.path == tuple(consistency_path(TREE, old, new))


def portal_accepts_inclusion(proof: Inclusion) -> bool:
    try:
        seal = read_checkpoint(proof.note, [KEY.public_key()])
        verify_inclusion(leaf=leaf_hash(proof.text), index=proof.index, size=seal.tree_size, path=proof.path, root=seal.root)
    except SealBroken:
        return False
    return True


def verifier_accepts_inclusion(proof: Inclusion) -> bool:
    try:
        seal = theirs.parse(proof.note, [KEY.public_key().public_bytes_raw()])
    except theirs.NotSealed:
        return False
    return root_of_path(leaf_hash(proof.text), proof.index, seal.size, proof.path) == seal.root


def accepts_consistency(proof: Consistency) -> bool:
    try:
        old, new = (read_checkpoint(note, [KEY.public_key()]) for note in (proof.older, proof.newer))
        verify_consistency(old=old.tree_size, old_root=old.root, new=new.tree_size, new_root=new.root, path=proof.path)
    except SealBroken:
        return False
    return True


def flipped(chance: random.Random, data: bytes) -> bytes:
    at, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def flipped_text(chance: random.Random, text: str) -> str:
    at, bit = chance.randrange(len(text)), 1 << chance.randrange(7)
    return text[:at] + chr(ord(text[at]) ^ bit) + text[at + 1 :]


def another_note(chance: random.Random, note: str) -> str:
    """Of another size, of a thief, with another size or root written into it, or with one bit flipped."""
    size = int(note.split("\n")[1])
    other = chance.choice([s for s in SIZES if s != size])
    return chance.choice(
        [
            lambda: NOTES[other],
            lambda: signed(size, ROOTS[size], THIEF),
            lambda: note.replace(f"\n{size}\n", f"\n{other}\n", 1),
            lambda: note.replace(note.split("\n")[2], NOTES[other].split("\n")[2], 1),
            lambda: flipped_text(chance, note),
            lambda: flipped_text(chance, note),
        ]
    )()


def other_path(chance: random.Random, path: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """A byte flipped, a step dropped, added, doubled, cut short or swapped with another, or all in the opposite order."""
    steps = list(path)
    kind = chance.randrange(8) if steps else 1
    at = chance.randrange(len(steps)) if steps else 0
    if kind == 0 or (kind == 5 and len(steps) < 2):
        steps[at] = flipped(chance, steps[at])
    elif kind == 1:
        steps.insert(chance.randint(0, len(steps)), chance.choice([chance.randbytes(32), chance.choice(list(ROOTS.values())), b""]))
    elif kind == 2:
        del steps[at]
    elif kind == 3:
        steps.insert(at, steps[at])
    elif kind == 4:
        steps[at] = chance.choice([steps[at][:-1], steps[at] + b"\x00", b""])
    elif kind == 5:
        other = chance.choice([n for n in range(len(steps)) if n != at])
        steps[at], steps[other] = steps[other], steps[at]
    elif kind == 6:
        steps.reverse()
    else:
        steps = [steps[at]] * len(steps)
    return tuple(steps)


def altered_inclusion(chance: random.Random) -> Inclusion:
    size = chance.choice(SIZES)
    index = chance.randrange(size)
    proof = Inclusion(TEXTS[index], index, tuple(inclusion_path(TREE, index, size)), NOTES[size])
    assert portal_accepts_inclusion(proof) and verifier_accepts_inclusion(proof)
    changes: list[Callable[[], Inclusion]] = [
        lambda: replace(proof, path=other_path(chance, proof.path)),
        lambda: replace(proof, path=other_path(chance, proof.path)),
        lambda: replace(proof, note=another_note(chance, proof.note)),
        lambda: replace(proof, text=flipped_text(chance, proof.text)),
        lambda: replace(proof, text=chance.choice(TEXTS)),
        lambda: replace(proof, index=chance.choice([index - 1, index + 1, index ^ 2, size, size + 1, -1, chance.choice(SIZES)])),
    ]
    return chance.choice(changes)()


def altered_consistency(chance: random.Random) -> Consistency:
    new = chance.choice(SIZES)
    old = chance.randint(1, new)
    proof = Consistency(NOTES[old], NOTES[new], tuple(consistency_path(TREE, old, new)))
    assert accepts_consistency(proof)
    changes: list[Callable[[], Consistency]] = [
        lambda: replace(proof, path=other_path(chance, proof.path)),
        lambda: replace(proof, path=other_path(chance, proof.path)),
        lambda: replace(proof, older=another_note(chance, proof.older)),
        lambda: replace(proof, newer=another_note(chance, proof.newer)),
        lambda: replace(proof, older=proof.newer, newer=proof.older),
    ]
    return chance.choice(changes)()


@pytest.mark.parametrize(
    ("alter", "accepts"),
    [(altered_inclusion, [portal_accepts_inclusion, verifier_accepts_inclusion]), (altered_consistency, [accepts_consistency])],
    ids=["inclusion", "consistency"],
)
def test_of_five_thousand_altered_proofs_none_is_accepted(alter, accepts):
    chance = random.Random(20260301)
    refused = 0
    while refused < EACH:
        proof = alter(chance)
        # A change may have made another true proof, or the same one (two equal steps swapped): that is no forgery.
        if proof.true:
            continue
        assert not any(accept(proof) for accept in accepts), proof
        refused += 1

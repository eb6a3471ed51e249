"""The tree and the notes: equal to another implementation, and closed to every altered proof."""

import base64
import hashlib
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pymerkle import InmemoryTree

from apps.audit.sealing import (
    EMPTY_ROOT,
    Frontier,
    SealBroken,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    public_key_document,
    read_checkpoint,
    read_public_keys,
    sign_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from verifier import checkpoint as theirs
from verifier.merkle import Tree, root_of_path

LEAVES = [leaf_hash(f'{{"n":{n}}}') for n in range(600)]


class InMemory:
    """Subtree roots from a plain list, hashed the slow way."""

    def subtree(self, level: int, position: int) -> bytes:
        if level == 0:
            return LEAVES[position]
        return node_hash(self.subtree(level - 1, position * 2), self.subtree(level - 1, position * 2 + 1))


def root_of(size: int) -> bytes:
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)
    return frontier.root()


def by_the_standard(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word: MTH of a list is that of its first k, k the largest power of two below n, and of the rest."""
    n = len(leaves)
    if n == 0:
        return hashlib.sha256().digest()
    if n == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < n:
        k *= 2
    return hashlib.sha256(b"\x01" + by_the_standard(leaves[:k]) + by_the_standard(leaves[k:])).digest()


def test_roots_equal_those_of_independent_trees_for_sizes_1_to_1000():
    texts = [f'{{"n":{n}}}'.encode() for n in range(1000)]
    reference = InmemoryTree(algorithm="sha256")
    frontier, quick = Frontier(), Tree()
    for n, text in enumerate(texts):
        reference.append(text)
        frontier.append(hashlib.sha256(b"\x00" + text).digest())
        quick.extend([hashlib.sha256(b"\x00" + text).digest()])
        assert frontier.root() == reference.get_state() == quick.root() == by_the_standard(texts[: n + 1]), n + 1


def test_the_verifier_s_tree_does_not_care_how_leaves_are_grouped():
    chance = random.Random(5)
    for _ in range(50):
        tree, at = Tree(), 0
        while at < len(LEAVES):
            step = chance.randint(0, 90)
            tree.extend(LEAVES[at : at + step])
            at = min(at + step, len(LEAVES))
        assert tree.root() == root_of(len(LEAVES))


def test_the_empty_tree_has_the_root_of_the_standard():
    assert Frontier().root() == Tree().root() == EMPTY_ROOT


def test_a_frontier_goes_on_from_what_was_stored():
    whole = Frontier()
    for leaf in LEAVES[:300]:
        whole.append(leaf)
    again = Frontier.from_bytes(300, whole.to_bytes())
    for leaf in LEAVES[300:]:
        again.append(leaf)
    assert again.root() == root_of(600)
    with pytest.raises(SealBroken):
        Frontier.from_bytes(301, whole.to_bytes())


def test_kept_subtrees_are_those_of_every_eighth_level():
    frontier, kept = Frontier(), []
    for leaf in LEAVES:
        kept += frontier.append(leaf)
    assert [(s.level, s.position) for s in kept] == [(8, 0), (8, 1)]
    assert all(s.root == InMemory().subtree(8, s.position) for s in kept)


def test_every_leaf_of_every_small_tree_is_proved():
    for size in [*range(1, 40), 255, 256, 257, 600]:
        root = root_of(size)
        for index in range(size) if size < 40 else (0, size // 2, size - 1):
            path = inclusion_path(InMemory(), index, size)
            verify_inclusion(leaf=LEAVES[index], index=index, size=size, path=path, root=root)
            assert root_of_path(LEAVES[index], index, size, path) == root


def test_every_pair_of_small_trees_is_connected():
    for new in range(1, 34):
        for old in range(new + 1):
            path = consistency_path(InMemory(), old, new)
            verify_consistency(old=old, old_root=root_of(old), new=new, new_root=root_of(new), path=path)
            if 0 < old < new:
                with pytest.raises(SealBroken):
                    verify_consistency(old=old, old_root=leaf_hash("other"), new=new, new_root=root_of(new), path=path)


def _mutate(chance: random.Random, leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> tuple:
    """One change that keeps the shape of a proof but not its truth."""
    flip = lambda data: bytes(b ^ (1 << chance.randrange(8) if i == spot else 0) for i, b in enumerate(data))  # noqa: E731
    spot = chance.randrange(32)
    kind = chance.randrange(9)
    if kind == 0:
        return flip(leaf), index, size, path, root
    if kind == 1:
        return leaf, index, size, path, flip(root)
    if kind == 2:
        return leaf, (index + chance.randrange(1, size)) % size, size, path, root
    if kind == 3 and path:
        at = chance.randrange(len(path))
        return leaf, index, size, [*path[:at], flip(path[at]), *path[at + 1 :]], root
    if kind == 4 and path:
        return leaf, index, size, path[:-1], root
    if kind == 5:
        return leaf, index, size, [*path, chance.randbytes(32)], root
    if kind == 6 and len(path) > 1:
        at = chance.randrange(len(path) - 1)
        return leaf, index, size, [*path[:at], path[at + 1], path[at], *path[at + 2 :]], root
    if kind == 7:
        return leaf, size + chance.randrange(3), size, path, root
    return LEAVES[(index + 1) % size], index, size, path, root


def test_a_thousand_altered_inclusion_proofs_are_all_refused():
    chance = random.Random(20260301)
    roots = {size: root_of(size) for size in range(2, 200)}
    for _ in range(1000):
        size = chance.randrange(2, 200)
        index = chance.randrange(size)
        path = inclusion_path(InMemory(), index, size)
        leaf, i, s, p, root = _mutate(chance, LEAVES[index], index, size, path, roots[size])
        with pytest.raises(SealBroken):
            verify_inclusion(leaf=leaf, index=i, size=s, path=p, root=root)
        assert root_of_path(leaf, i, s, p) != root


def test_a_thousand_altered_consistency_proofs_are_all_refused():
    chance = random.Random(20260302)
    roots = {size: root_of(size) for size in range(1, 120)}
    for _ in range(1000):
        new = chance.randrange(2, 120)
        old = chance.randrange(1, new)
        path = consistency_path(InMemory(), old, new)
        values = {"old": old, "old_root": roots[old], "new": new, "new_root": roots[new], "path": path}
        kind = chance.randrange(5)
        if kind == 0:
            values["old_root"] = chance.randbytes(32)
        elif kind == 1:
            values["new_root"] = chance.randbytes(32)
        elif kind == 2:
            values["path"] = path[:-1]
        elif kind == 3:
            values["path"] = [*path, chance.randbytes(32)]
        else:
            at = chance.randrange(len(path))
            values["path"] = [*path[:at], chance.randbytes(32), *path[at + 1 :]]
        with pytest.raises(SealBroken):
            verify_consistency(**values)


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOTE = sign_checkpoint(origin="example.org/audit", tree_size=7, root=root_of(7), sealed_at="2026-03-01T00:00:00.000000Z", private_key=KEY)


def test_a_checkpoint_is_read_back_by_both_programs():
    document = public_key_document([KEY.public_key()])
    ours = read_checkpoint(NOTE.note, read_public_keys(document))
    other = theirs.parse(NOTE.note, theirs.parse_keys(document))
    assert ours == NOTE
    assert (other.origin, other.size, other.root, other.sealed_at) == ("example.org/audit", 7, root_of(7), NOTE.sealed_at)
    lines = NOTE.note.split("\n")
    assert lines[:3] == ["example.org/audit", "7", base64.b64encode(root_of(7)).decode()]
    assert lines[5].startswith("\u2014 example.org/audit ")


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.replace("\n7\n", "\n8\n"),
        lambda n: n.replace("\n7\n", "\n07\n"),
        lambda n: n.replace("example.org", "example.com"),
        lambda n: n.replace("2026-03-01", "2026-03-02"),
        lambda n: n.replace(base64.b64encode(root_of(7)).decode(), base64.b64encode(root_of(6)).decode()),
        lambda n: n.rsplit("\n", 2)[0],
        lambda n: n[: n.index("\n\n")],
        lambda n: n + "x",
        lambda n: "",
        lambda n: n[:-6] + "AAAA=\n",
    ],
)
def test_an_altered_checkpoint_is_refused_by_both_programs(change):
    altered = change(NOTE.note)
    with pytest.raises(SealBroken):
        read_checkpoint(altered, [KEY.public_key()])
    if altered != NOTE.note + "x":  # the verifier skips lines that are no signature, as the note format asks
        with pytest.raises(theirs.NotSealed):
            theirs.parse(altered, [KEY.public_key().public_bytes_raw()])


def test_a_checkpoint_of_another_key_is_refused():
    other = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(SealBroken):
        read_checkpoint(NOTE.note, [other])
    with pytest.raises(theirs.NotSealed):
        theirs.parse(NOTE.note, [other.public_bytes_raw()])


@pytest.mark.parametrize(
    "document", [None, [], {}, {"keys": []}, {"keys": [{"purpose": "seal", "public": "??"}]}, {"keys": [{"purpose": "order"}]}]
)
def test_a_malformed_key_document_is_refused(document):
    with pytest.raises(SealBroken):
        read_public_keys(document)
    with pytest.raises(theirs.Unreadable):
        theirs.parse_keys(document)

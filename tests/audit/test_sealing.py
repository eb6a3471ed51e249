"""The tree and the notes: equal to another implementation, and closed to every altered proof."""

import base64
import hashlib
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
from tests.audit import reference
from verifier import checkpoint as theirs
from verifier.merkle import Tree, root_of_path

LEAVES = [leaf_hash(f'{{"n":{n}}}') for n in range(600)]


class InMemory:
    """Subtree roots from a plain list, hashed the slow way."""

    def __init__(self, leaves: list[bytes] = LEAVES) -> None:
        self.leaves = leaves

    def subtree(self, level: int, position: int) -> bytes:
        if level == 0:
            return self.leaves[position]
        return node_hash(self.subtree(level - 1, position * 2), self.subtree(level - 1, position * 2 + 1))


def root_of(size: int) -> bytes:
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)
    return frontier.root()


def test_roots_equal_those_of_independent_trees_for_sizes_1_to_1000():
    texts = [f'{{"n":{n}}}'.encode() for n in range(1000)]
    frontier, quick, roots = Frontier(), Tree(), hashlib.sha256()
    for n, text in enumerate(texts):
        frontier.append(hashlib.sha256(b"\x00" + text).digest())
        quick.extend([hashlib.sha256(b"\x00" + text).digest()])
        assert frontier.root() == quick.root() == reference.by_the_standard(texts[: n + 1]), n + 1
        roots.update(frontier.root())
    assert roots.hexdigest() == reference.PYMERKLE_1000


def published(size: int) -> list[bytes]:
    """Leaf hashes of the published entries."""
    return [hashlib.sha256(b"\x00" + entry).digest() for entry in reference.ENTRIES[:size]]


def test_roots_equal_the_published_ones():
    for size, root in enumerate(reference.ROOTS, start=1):
        frontier, quick = Frontier(), Tree()
        for leaf in published(size):
            frontier.append(leaf)
        quick.extend(published(size))
        assert frontier.root() == quick.root() == root


def test_published_proofs_are_ours_and_are_accepted_by_both_programs():
    source = InMemory(published(8))
    for (leaf, size), texts in reference.INCLUSION.items():
        path, root = reference.steps(texts), reference.ROOTS[size - 1]
        assert inclusion_path(source, leaf - 1, size) == path
        verify_inclusion(leaf=source.leaves[leaf - 1], index=leaf - 1, size=size, path=path, root=root)
        assert root_of_path(source.leaves[leaf - 1], leaf - 1, size, path) == root
    for (old, new), texts in reference.CONSISTENCY.items():
        path = reference.steps(texts)
        assert consistency_path(source, old, new) == path
        verify_consistency(old=old, old_root=reference.ROOTS[old - 1], new=new, new_root=reference.ROOTS[new - 1], path=path)


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

"""Writes an export: a ZIP that anyone can verify without us. The format is in verifier/README.md."""

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any

from apps.audit.sealing import Frontier, SealBroken, inclusion_path, leaf_hash, verify_inclusion
from apps.audit.tree import StoredTree
from apps.core.canonical import canonical_json

FORMAT = "gatehouse-audit-bundle/1"
KEY_FILE = "seal-public-key.json"

README = """Audit trail export

  events.jsonl          one event a line: exactly the text that was hashed when it was sealed
  proofs.jsonl          line n proves line n of events.jsonl: its leaf index and the path to the root (absent for a whole trail)
  checkpoint            size and root of the trail, signed by the sealer
  seal-public-key.json  the key to check that signature with; believe your own copy rather than this one
  manifest.json         what was asked for, when, by whom, and the hashes of the files

Verify it with the verifier, which is a program of its own (Python and `cryptography`):

  python -m verifier --bundle THIS.zip --checkpoint WITNESS/latest

WITNESS is the folder outside the database to which every checkpoint was written, with the public key beside it.
The verifier says what it proved: the whole trail, a range of it, or single events; with a witness or without one.

A proof shows that an event is in the trail, unchanged. That no event of a use case was left out follows only from an export
of the whole trail.
"""


@dataclass(frozen=True)
class Scope:
    """What is exported: one use case, or everything."""

    usecase_id: str | None = None

    @property
    def kind(self) -> str:
        """`usecase` or `trail`."""
        return "trail" if self.usecase_id is None else "usecase"

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"kind": self.kind} if self.usecase_id is None else {"kind": self.kind, "usecase_id": self.usecase_id}


class _Counted:
    """A file inside the ZIP that is hashed while it is written."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.handle, self.digest = handle, hashlib.sha256()

    def line(self, data: bytes) -> None:
        self.handle.write(data + b"\n")
        self.digest.update(data + b"\n")


def write_bundle(
    target: IO[bytes],
    *,
    scope: Scope,
    events: Iterable[tuple[int, str | None]],
    tree_size: int,
    root: bytes,
    note: str,
    public_keys: dict[str, Any],
    manifest: dict[str, Any],
) -> int:
    """Write a bundle at constant memory; returns the number of events. Every proof is checked before it is written.

    `events` are (leaf index, text) in order. Raises SealBroken when the stored trail contradicts the checkpoint.
    """
    hashes: dict[str, str] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, allowZip64=True, compresslevel=5) as archive:
        # Two files cannot be written into a ZIP at once: proofs (indexes first) wait their turn.
        indexes: list[int] = []
        frontier = Frontier()
        tree = StoredTree(tree_size)
        count = 0
        with archive.open("events.jsonl", "w", force_zip64=True) as handle:
            out = _Counted(handle)
            for index, payload in events:
                if payload is None:
                    raise SealBroken(f"the event of leaf {index} is gone")
                leaf = leaf_hash(payload)
                if scope.usecase_id is None:
                    if index != count:
                        raise SealBroken(f"leaf {count} is missing")
                    frontier.append(leaf)
                else:
                    if leaf != tree.subtree(0, index):
                        raise SealBroken(f"the event of leaf {index} is not the text that was sealed")
                    indexes.append(index)
                out.line(payload.encode())
                count += 1
            hashes["events.jsonl"] = out.digest.hexdigest()
        if scope.usecase_id is None:
            if (frontier.size, frontier.root()) != (tree_size, root):
                raise SealBroken("the events do not have the root that was signed for them")
        else:
            with archive.open("proofs.jsonl", "w", force_zip64=True) as handle:
                out = _Counted(handle)
                for index in indexes:
                    path = inclusion_path(tree, index, tree_size)
                    verify_inclusion(leaf=tree.subtree(0, index), index=index, size=tree_size, path=path, root=root)
                    proof = {"leaf_index": index, "path": [base64.b64encode(step).decode() for step in path]}
                    out.line(canonical_json(proof).encode())
                hashes["proofs.jsonl"] = out.digest.hexdigest()
        archive.writestr("checkpoint", note)
        archive.writestr(KEY_FILE, json.dumps(public_keys, indent=1) + "\n")
        document = {"format": FORMAT, "scope": scope.as_json(), "events": count, "tree_size": tree_size, "files": hashes, **manifest}
        archive.writestr("manifest.json", json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        archive.writestr("README.md", README)
    return count

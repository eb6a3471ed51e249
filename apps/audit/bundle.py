"""Writes an export: a ZIP that anyone can verify without us. The format is in verifier/README.md."""

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from apps.audit.models import Checkpoint, EventQuerySet
from apps.audit.proofs import Prover
from apps.audit.rows import sealed
from apps.audit.sealing import Frontier, SealBroken, leaf_hash

FORMAT = "gatehouse-audit-bundle/1"
KEY_FILE = "seal-public-key.json"
SPOOL_BYTES = 8 * 1024 * 1024

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
    """What is exported: one use case, or everything; for a pack also a decision, and objects whose events belong to it."""

    usecase_id: str | None = None
    decision_id: str | None = None
    object_ids: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`usecase`, `pack` or `trail`."""
        return "trail" if self.usecase_id is None else "pack" if self.object_ids else "usecase"

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        more = {"decision_id": self.decision_id, "object_ids": list(self.object_ids)} if self.object_ids else {}
        return {"kind": self.kind} if self.usecase_id is None else {"kind": self.kind, "usecase_id": self.usecase_id, **more}


class _Counted:
    """A file inside the ZIP that is hashed while it is written."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.handle, self.digest = handle, hashlib.sha256()

    def line(self, data: bytes) -> None:
        self.handle.write(data + b"\n")
        self.digest.update(data + b"\n")


def public_keys() -> dict[str, Any]:
    """The published sealing keys, for whoever has no copy of their own; empty when this process cannot read them."""
    try:
        found: dict[str, Any] = json.loads(Path(settings.SEAL_PUBLIC_KEY).read_text())
        return found
    except (OSError, ValueError):
        return {"keys": []}


def write_bundle(
    target: IO[bytes], *, scope: Scope, events: Iterable[tuple[int, str | None]], checkpoint: Checkpoint, manifest: dict[str, Any]
) -> int:
    """Write a bundle at constant memory; returns the number of events. Every proof is checked before it is written.

    `events` are (leaf index, text) in order. Raises SealBroken when the stored trail contradicts the checkpoint.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, allowZip64=True, compresslevel=5) as archive:
        return _write(archive, "", scope, events, checkpoint, manifest)


def write_trail(
    archive: zipfile.ZipFile,
    *,
    prefix: str,
    scope: Scope,
    found: EventQuerySet,
    checkpoint: Checkpoint,
    manifest: dict[str, Any],
    alive: Callable[[], None],
) -> int:
    """The same inside a larger ZIP, below `prefix`: of these events those that the checkpoint covers. alive: called now and then."""

    def events() -> Iterator[tuple[int, str | None]]:
        for number, row in enumerate(sealed(found, after=-1, before=checkpoint.tree_size).iterator(chunk_size=2000)):
            if number % 2000 == 0:
                alive()
            yield row

    return _write(archive, prefix, scope, events(), checkpoint, manifest)


def _write(
    archive: zipfile.ZipFile,
    prefix: str,
    scope: Scope,
    events: Iterable[tuple[int, str | None]],
    checkpoint: Checkpoint,
    manifest: dict[str, Any],
) -> int:
    tree_size, root = checkpoint.tree_size, bytes(checkpoint.root)
    hashes: dict[str, str] = {}
    # Two files cannot be written into a ZIP at once: proofs wait their turn, packed as they are written.
    waiting = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  closed below
    frontier, prover = Frontier(), Prover(tree_size, root)
    count = 0
    with waiting:
        with archive.open(f"{prefix}events.jsonl", "w", force_zip64=True) as handle:
            out = _Counted(handle)
            for index, payload in events:
                if payload is None:
                    raise SealBroken(f"the event of leaf {index} is gone")
                if scope.usecase_id is None:
                    if index != count:
                        raise SealBroken(f"leaf {count} is missing")
                    frontier.append(leaf_hash(payload))
                else:
                    waiting.write(f'{{"leaf_index":{index},"path":{prover.path(index, payload)}}}\n'.encode())
                out.line(payload.encode())
                count += 1
            hashes["events.jsonl"] = out.digest.hexdigest()
        if scope.usecase_id is None:
            if (frontier.size, frontier.root()) != (tree_size, root):
                raise SealBroken("the events do not have the root that was signed for them")
        else:
            waiting.seek(0)
            with archive.open(f"{prefix}proofs.jsonl", "w", force_zip64=True) as handle:
                out = _Counted(handle)
                for line in waiting:
                    out.line(line.removesuffix(b"\n"))
                hashes["proofs.jsonl"] = out.digest.hexdigest()
    archive.writestr(f"{prefix}checkpoint", checkpoint.note)
    archive.writestr(f"{prefix}{KEY_FILE}", json.dumps(public_keys(), indent=1) + "\n")
    document = {"format": FORMAT, "scope": scope.as_json(), "events": count, "tree_size": tree_size, "files": hashes, **manifest}
    archive.writestr(f"{prefix}manifest.json", json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    if not prefix:
        archive.writestr("README.md", README)
    return count

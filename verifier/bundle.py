"""Verifies an exported bundle (a ZIP) or the trail inside an evidence pack, offline."""

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from verifier.checkpoint import MAX_NOTE_BYTES, Checkpoint, NotSealed, Unreadable, find_in_log, parse, parse_keys
from verifier.merkle import Tree, leaf_hash, root_of_path
from verifier.report import RANGE, SINGLE, WHOLE, Verdict

FORMAT = "gatehouse-audit-bundle/1"
EVENTS, PROOFS, CHECKPOINT, KEY, MANIFEST = "events.jsonl", "proofs.jsonl", "checkpoint", "seal-public-key.json", "manifest.json"
MAX_LINE_BYTES = 32 * 1024 * 1024
MAX_SMALL_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
BLOCK = 8192
# Which event names what by its digest: action -> kind of document, field of `after`. Other fields may hold words that anybody wrote.
NAMES = {
    "approvals.gate.requested": ("evidence", "evidence_digest"),
    "approvals.gate.refrozen": ("evidence", "evidence_digest"),
    "approvals.gate.signed": ("evidence", "evidence_digest"),
    "approvals.gate.approved": ("evidence", "evidence_digest"),
    "approvals.policy.published": ("policy", "digest"),
    "approvals.attachment.added": ("attachment", "digest"),
    "registry.evaluation.attached": ("evaluation", "digest"),
    "audit.pack.made": ("list", "documents_digest"),
}


def small(archive: zipfile.ZipFile, name: str, limit: int = MAX_SMALL_BYTES) -> bytes:
    """A short file of the ZIP, whole; raises Unreadable."""
    try:
        with archive.open(name) as handle:
            data = handle.read(limit + 1)
    except KeyError as error:
        raise Unreadable(f"the bundle has no {name}") from error
    if len(data) > limit:
        raise Unreadable(f"{name} in the bundle is too large")
    return data


def _lines(archive: zipfile.ZipFile, name: str, digest: Any) -> Iterator[bytes]:
    """Lines of a file in the bundle, without their ends, feeding `digest` with all of it."""
    try:
        handle = archive.open(name)
    except KeyError as error:
        raise Unreadable(f"the bundle has no {name}") from error
    rest = b""
    with handle:
        while piece := handle.read(READ_BYTES):
            digest.update(piece)
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) >= MAX_LINE_BYTES:
                raise Unreadable(f"a line of {name} in the bundle is too long")
            yield from lines
    if rest:
        yield rest


class Witnessing:
    """Compares the checkpoint of an export with what a witness holds."""

    def __init__(self, verdict: Verdict, keys: list[bytes] | None, witness_folder: Path | None) -> None:
        self.verdict, self.keys, self.witness_folder = verdict, keys, witness_folder

    def agrees(self, sealed: Checkpoint, witness: Checkpoint) -> bool:
        """Whether the bundle's checkpoint is the witnessed one, or one the witness's log holds."""
        if witness.origin != sealed.origin:
            self.verdict.fail(f"the bundle is of the trail {sealed.origin}, the witness of {witness.origin}")
            return False
        if witness.size == sealed.size:
            if witness.root != sealed.root:
                self.verdict.fail(f"the witness saw another root for {sealed.size} events")
                return False
            return True
        logged = find_in_log(self.witness_folder, sealed.size, self.keys or []) if self.witness_folder else None
        if logged is None:
            self.verdict.notes.append(
                f"the witnessed checkpoint covers {witness.size} events, that of the bundle {sealed.size}: give the witness's "
                f"checkpoint of that size, or keep its checkpoints.jsonl beside it"
            )
            return False
        if logged.root != sealed.root:
            self.verdict.fail(f"the witness saw another root for {sealed.size} events")
            return False
        self.verdict.witness_size = logged.size
        return True


class BundleCheck:
    """One verification of one bundle."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        *,
        witness: Checkpoint | None,
        keys: list[bytes] | None,
        witness_folder: Path | None,
        prefix: str = "",
    ) -> None:
        self.archive, self.witness, self.witness_folder, self.prefix = archive, witness, witness_folder, prefix
        # (kind of document, digest) that proven events name; gathered for packs alone.
        self.named: set[tuple[str, str]] = set()
        self.verdict = Verdict(witness_size=witness.size if witness else None)
        self.keys = keys
        if keys is None:
            self.keys = parse_keys(json.loads(small(archive, prefix + KEY)))
            self.verdict.notes.append("the public key came out of the bundle itself: give yours with --public-key")

    def run(self) -> Verdict:
        """Do it; raises Unreadable when the bundle is no bundle."""
        verdict = self.verdict
        manifest = json.loads(small(self.archive, self.prefix + MANIFEST))
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise Unreadable(f"the bundle is not of the format {FORMAT}")
        try:
            sealed = parse(small(self.archive, self.prefix + CHECKPOINT, MAX_NOTE_BYTES).decode(), self.keys or [])
        except NotSealed as error:
            verdict.fail(f"the checkpoint of the bundle is not valid: {error}")
            return verdict
        verdict.size, verdict.root, verdict.sealed_at = sealed.size, sealed.root.hex(), sealed.sealed_at
        scope = manifest.get("scope") or {}
        hashes = {EVENTS: hashlib.sha256(), PROOFS: hashlib.sha256()}
        if scope.get("kind") == "trail":
            self._check_whole(sealed, hashes)
        else:
            self._check_parts(sealed, scope, hashes)
        if verdict.events != manifest.get("events"):
            verdict.fail(f"the manifest promises {manifest.get('events')} events; the bundle holds {verdict.events}")
        for name, promised in (manifest.get("files") or {}).items():
            if name in hashes and hashes[name].hexdigest() != promised:
                verdict.fail(f"{name} is not the file the manifest names")
        if self.witness and not verdict.witnessed and not verdict.problem_count:
            verdict.witnessed = Witnessing(verdict, self.keys, self.witness_folder).agrees(sealed, self.witness)
        return verdict

    def _check_whole(self, sealed: Checkpoint, hashes: dict[str, Any]) -> None:
        """All leaves in order: the roots can be recomputed, the witnessed one too if it is not younger."""
        verdict, tree = self.verdict, Tree()
        block: list[bytes] = []
        stop = self.witness.size if self.witness else -1
        for line in _lines(self.archive, self.prefix + EVENTS, hashes[EVENTS]):
            block.append(leaf_hash(line))
            if len(block) == BLOCK or tree.size + len(block) == stop:
                tree.extend(block)
                block.clear()
                self._compare_witness(tree)
        tree.extend(block)
        self._compare_witness(tree)
        verdict.scope, verdict.events = WHOLE, tree.size
        if tree.size:
            verdict.first, verdict.last = 0, tree.size - 1
        if tree.size != sealed.size:
            verdict.fail(f"the checkpoint covers {sealed.size} events; the bundle holds {tree.size}")
        elif tree.root() != sealed.root:
            verdict.fail("the events do not have the root that was signed for them")

    def _compare_witness(self, tree: Tree) -> None:
        if self.witness and tree.size == self.witness.size:
            if tree.root() == self.witness.root:
                self.verdict.witnessed = True
            else:
                self.verdict.fail(f"the first {tree.size} events are not those of the witnessed checkpoint")

    def _check_parts(self, sealed: Checkpoint, scope: dict[str, Any], hashes: dict[str, Any]) -> None:
        """Each event by its own inclusion proof."""
        verdict, usecase_id = self.verdict, scope.get("usecase_id")
        objects = set(scope.get("object_ids") or ())
        events = _lines(self.archive, self.prefix + EVENTS, hashes[EVENTS])
        proofs = _lines(self.archive, self.prefix + PROOFS, hashes[PROOFS])
        previous: int | None = None
        gaps = False
        for number, line in enumerate(events, start=1):
            index, path = _proof(next(proofs, b""))
            if index is None or root_of_path(leaf_hash(line), index, sealed.size, path) != sealed.root:
                verdict.fail(f"event {number} of the bundle is not proved to be in the trail")
                continue
            if previous is not None and index <= previous:
                verdict.fail(f"event {number} of the bundle is out of order or stands twice")
            if usecase_id is not None and not _belongs(line, usecase_id, objects):
                verdict.fail(f"event {number} of the bundle is of another use case")
            if objects:
                self.named |= _named(line)
            gaps = gaps or (previous is not None and index != previous + 1)
            verdict.first = index if verdict.first is None else verdict.first
            verdict.last = previous = index
            verdict.events += 1
        if next(proofs, None) is not None:
            verdict.fail("the bundle has more proofs than events")
        # The events of one use case are never a range, even where they happen to stand side by side.
        verdict.scope = RANGE if verdict.events > 1 and not gaps and usecase_id is None else SINGLE
        if usecase_id is not None:
            verdict.notes.append("that no event of the use case was left out follows only from the whole trail")


def _proof(line: bytes) -> tuple[int | None, list[bytes]]:
    try:
        proof = json.loads(line)
        index = proof["leaf_index"]
        if isinstance(index, bool) or not isinstance(index, int):
            return None, []
        return index, [base64.b64decode(step, validate=True) for step in proof["path"]]
    except (ValueError, KeyError, TypeError):
        return None, []


def _belongs(line: bytes, usecase_id: str, objects: set[str]) -> bool:
    try:
        event = json.loads(line)
        return bool(event["usecase_id"] == usecase_id or (event["object"]["id"] in objects))
    except (ValueError, KeyError, TypeError):
        return False


def _named(line: bytes) -> set[tuple[str, str]]:
    try:
        event = json.loads(line)
        kind, field = NAMES[event["action"]]
        return {(kind, str(event["after"][field]))}
    except (ValueError, KeyError, TypeError):
        return set()

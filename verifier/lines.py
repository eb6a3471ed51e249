"""Verifies an export as JSON lines: a head, one event a line with its proof, an end."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from verifier.bundle import MAX_LINE_BYTES, Witnessing
from verifier.checkpoint import Checkpoint, NotSealed, Unreadable, parse, parse_keys
from verifier.merkle import Tree, leaf_hash, root_of_path
from verifier.report import RANGE, SINGLE, WHOLE, Verdict

FORMAT = "gatehouse-audit-lines/1"
MARK = b',"event":'


def is_lines(path: Path) -> bool:
    """Whether the file begins as such an export does."""
    try:
        with path.open("rb") as handle:
            return handle.read(1) == b"{"
    except OSError:
        return False


def _read(handle: IO[bytes]) -> Iterator[bytes]:
    while line := handle.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES:
            raise Unreadable("a line of the export is too long")
        if not line.endswith(b"\n"):
            return
        yield line[:-1]


class LinesCheck:
    """One verification of one file."""

    def __init__(self, handle: IO[bytes], *, witness: Checkpoint | None, keys: list[bytes] | None, witness_folder: Path | None) -> None:
        self.lines = _read(handle)
        self.head: dict[str, Any] = json.loads(next(self.lines, b"null"))
        if not isinstance(self.head, dict) or self.head.get("format") != FORMAT:
            raise Unreadable(f"the export is not of the format {FORMAT}")
        self.verdict = Verdict(witness_size=witness.size if witness else None)
        if keys is None:
            keys = parse_keys(self.head.get("public_keys"))
            self.verdict.notes.append("the public key came out of the export itself: give yours with --public-key")
        self.keys, self.witness, self.witness_folder = keys, witness, witness_folder

    def run(self) -> Verdict:
        """Do it."""
        verdict = self.verdict
        try:
            sealed = parse(str(self.head["checkpoint"]), self.keys)
        except NotSealed as error:
            verdict.fail(f"the checkpoint of the export is not valid: {error}")
            return verdict
        verdict.size, verdict.root, verdict.sealed_at = sealed.size, sealed.root.hex(), sealed.sealed_at
        tree, consecutive, ended = Tree(), True, False
        for line in self.lines:
            if ended:
                verdict.fail("the export goes on after its end")
                break
            before, mark, event = line.partition(MARK)
            if not mark:
                ended = self._ends(line)
                continue
            leaf, index = self._event(before, event.removesuffix(b"}"), sealed)
            if leaf is None or index is None:
                continue
            if verdict.last is not None and index <= verdict.last:
                verdict.fail(f"the event of leaf {index} is out of order or stands twice")
            consecutive = consecutive and (verdict.last is None or index == verdict.last + 1)
            verdict.first = index if verdict.first is None else verdict.first
            verdict.last = index
            verdict.events += 1
            if consecutive and verdict.first == 0:
                tree.extend([leaf])
        if not ended:
            verdict.fail("the export breaks off: its end is missing. Go on with the download")
        elif verdict.events != self.head.get("events"):
            verdict.fail(f"the head promises {self.head.get('events')} events; the export holds {verdict.events}")
        whole = consecutive and tree.size == sealed.size and tree.root() == sealed.root
        verdict.scope = WHOLE if whole else RANGE if consecutive and verdict.events > 1 else SINGLE
        if verdict.scope != WHOLE:
            verdict.notes.append("that no event was left out follows only from the whole trail")
        if self.witness and not verdict.problem_count:
            verdict.witnessed = Witnessing(verdict, self.keys, self.witness_folder).agrees(sealed, self.witness)
        return verdict

    def _event(self, before: bytes, event: bytes, sealed: Checkpoint) -> tuple[bytes | None, int | None]:
        try:
            proof = json.loads(before + b"}")
            index, path = proof["leaf_index"], [base64.b64decode(step, validate=True) for step in proof["path"]]
            whole = isinstance(index, int) and not isinstance(index, bool)
        except (ValueError, KeyError, TypeError):
            whole = False
        leaf = leaf_hash(event)
        if not whole or root_of_path(leaf, index, sealed.size, path) != sealed.root:
            self.verdict.fail(f"event {self.verdict.events + 1} of the export is not proved to be in the trail")
            return None, None
        return leaf, index

    def _ends(self, line: bytes) -> bool:
        try:
            end = json.loads(line)
            if end["end"] is True and end["events"] == self.head.get("events"):
                return True
        except (ValueError, KeyError, TypeError):
            pass
        self.verdict.fail("the export holds a line that is no event")
        return False


def verify_lines(path: Path, *, witness: Checkpoint | None, keys: list[bytes] | None, witness_folder: Path | None) -> Verdict:
    """Verify the export at `path` at constant memory; raises Unreadable."""
    try:
        with path.open("rb") as handle:
            return LinesCheck(handle, witness=witness, keys=keys, witness_folder=witness_folder).run()
    except OSError as error:
        raise Unreadable(f"the export {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"the export {path} has a malformed part: {error}") from error

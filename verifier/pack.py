"""Verifies a ZIP, offline: an exported bundle, or an evidence pack with its documents."""

import hashlib
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

from verifier.bundle import FORMAT, MANIFEST, BundleCheck, small
from verifier.checkpoint import Checkpoint, Unreadable
from verifier.report import Verdict

PACK_FORMAT = "gatehouse-evidence-pack/1"
TRAIL, DOCUMENTS = "trail/", "documents.json"
# Where a document of each kind lies: named as one kind, it says nothing in the place of another.
PLACES = {
    "evidence": re.compile(r"gates/[^/]+/evidence\.json"),
    "policy": re.compile(r"gates/[^/]+/policy\.json"),
    "attachment": re.compile(r"gates/[^/]+/attachments/[^/]+"),
    "evaluation": re.compile(r"models/[^/]+/evaluations/[^/]+(?<!-figures)\.json"),
}
# Of a longer document the hash is checked, but not which hashes it names.
MAX_READ = 32 * 1024 * 1024


class PackCheck:
    """One verification of one pack: its trail as a bundle, then every document."""

    def __init__(self, archive: zipfile.ZipFile, **options: Any) -> None:
        self.archive = archive
        self.trail = BundleCheck(archive, prefix=TRAIL, **options)

    def run(self) -> Verdict:
        """Do it; raises Unreadable when the pack is no pack."""
        verdict = self.trail.run()
        said = json.loads(small(self.archive, DOCUMENTS, MAX_READ))["files"]
        found = [n for n in self.archive.namelist() if not n.startswith(TRAIL) and n not in (DOCUMENTS, MANIFEST)]
        if len(found) != len(set(found)):
            verdict.fail("the pack holds two files of one name")
        for name in sorted(set(found) - set(said)):
            verdict.fail(f"{name} is not among the documents of the pack")
        for name in sorted(set(said) - set(found)):
            verdict.fail(f"the document {name} is missing")
        documents = {name: self._read(name) for name in found if name in said}
        for name, (digest, _) in documents.items():
            if digest != said[name]:
                verdict.fail(f"{name} is not the document that the pack names")
        if not verdict.problem_count:
            self._bind(verdict, documents)
        return verdict

    def _read(self, name: str) -> tuple[str, set[tuple[str, str]]]:
        """The digest of a document, and what it names where it is frozen evidence."""
        digest, text = hashlib.sha256(), b""
        evidence = PLACES["evidence"].fullmatch(name) is not None
        with self.archive.open(name) as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
                text = text + block if evidence and len(text) < MAX_READ else b""
        return f"sha256:{digest.hexdigest()}", _evidence_names(text)

    def _bind(self, verdict: Verdict, documents: dict[str, tuple[str, set[tuple[str, str]]]]) -> None:
        """Which documents proven events name, by themselves or through the evidence that they name; and which only the pack's own list."""
        named = self.trail.named
        for name, (digest, names) in documents.items():
            if _is_named(name, digest, {n for n in named if n[0] == "evidence"}):
                named = named | names
        own = {name for name, (digest, _) in documents.items() if _is_named(name, digest, named)}
        listed = ("list", f"sha256:{hashlib.sha256(small(self.archive, DOCUMENTS, MAX_READ)).hexdigest()}") in named
        verdict.documents, verdict.named = len(documents), sorted(own)
        verdict.listed = len(documents) - len(own) if listed else 0
        if not listed:
            verdict.notes.append(
                "no sealed event of the pack names its list of documents: those not named by themselves are not bound to the trail"
            )


def _is_named(name: str, digest: str, named: set[tuple[str, str]]) -> bool:
    return any((kind, digest) in named and place.fullmatch(name) for kind, place in PLACES.items())


def _evidence_names(text: bytes) -> set[tuple[str, str]]:
    """The policy and the attachments that frozen evidence names; notes and answers in it may hold any words."""
    try:
        document = json.loads(text)
        found = {("policy", str(document["policy"]["digest"]))}
        return found | {("attachment", str(a["digest"])) for row in document["attestations"] for a in row.get("attachments", ())}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()


def verify_bundle(path: Path, *, witness: Checkpoint | None, keys: list[bytes] | None, witness_folder: Path | None) -> Verdict:
    """Verify the ZIP at `path` against a witnessed checkpoint (or none); raises Unreadable."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(small(archive, MANIFEST))
            kind = manifest.get("format") if isinstance(manifest, dict) else None
            if kind not in (FORMAT, PACK_FORMAT):
                raise Unreadable(f"the bundle is not of the format {FORMAT} or {PACK_FORMAT}")
            check = PackCheck if kind == PACK_FORMAT else BundleCheck
            return check(archive, witness=witness, keys=keys, witness_folder=witness_folder).run()
    except OSError as error:
        raise Unreadable(f"the bundle {path} cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise Unreadable(f"the bundle {path} is damaged: {error}") from error
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise Unreadable(f"the bundle {path} has a malformed part: {error}") from error

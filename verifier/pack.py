"""Verifies a ZIP, offline: an exported bundle, or an evidence pack with its documents."""

import hashlib
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from verifier.bundle import DIGEST, FORMAT, MANIFEST, BundleCheck, small
from verifier.checkpoint import Checkpoint, Unreadable
from verifier.report import Verdict

PACK_FORMAT = "gatehouse-evidence-pack/1"
TRAIL, DOCUMENTS = "trail/", "documents.json"
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
            if digest.decode() != said[name]:
                verdict.fail(f"{name} is not the document that the pack names")
        if not verdict.problem_count:
            self._bind(verdict, documents)
        return verdict

    def _read(self, name: str) -> tuple[bytes, set[bytes]]:
        """The digest of a document, and the digests it names."""
        digest, text = hashlib.sha256(), b""
        with self.archive.open(name) as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
                text = text + block if len(text) < MAX_READ else b""
        return b"sha256:" + digest.hexdigest().encode(), set(DIGEST.findall(text))

    def _bind(self, verdict: Verdict, documents: dict[str, tuple[bytes, set[bytes]]]) -> None:
        """Which documents proven events name, by themselves or through a document that they name; and which only the pack's own list."""
        own = {name for name, (digest, _) in documents.items() if digest in self.trail.named}
        while more := {
            name for name, (digest, _) in documents.items()
            if name not in own and any(digest in documents[o][1] for o in own)
        }:  # fmt: skip
            own |= more
        listed = b"sha256:" + hashlib.sha256(small(self.archive, DOCUMENTS, MAX_READ)).hexdigest().encode() in self.trail.named
        verdict.documents, verdict.named = len(documents), sorted(own)
        verdict.listed = len(documents) - len(own) if listed else 0
        if not listed:
            verdict.notes.append(
                "no sealed event of the pack names its list of documents: those not named by themselves are not bound to the trail"
            )


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

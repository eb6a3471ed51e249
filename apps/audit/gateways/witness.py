"""Where checkpoints go so that nobody who holds the database can take them back.

A witness is anything with `name`, `latest()` and `publish(checkpoint)`. This one is a folder of files; it belongs on another
machine, or at least under another owner, than the database.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from apps.audit.sealing import Checkpoint, SealBroken, public_key_document, raw_public, read_checkpoint, read_public_keys

KEY_FILE = "seal-public-key.json"
LOG_FILE = "checkpoints.jsonl"
LATEST_FILE = "latest"


class WitnessConflict(Exception):
    """The witness holds something that this trail is not a continuation of."""


class Witness(Protocol):
    """Keeps every checkpoint it is given, and never an older one after a newer one."""

    name: str

    def introduce(self, keys: list[Ed25519PublicKey]) -> None:
        """Publish the keys whose checkpoints follow; raises WitnessConflict when it knows a key that is not among them."""

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint it holds, signature checked; raises WitnessConflict when that is not valid."""

    def publish(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint. Repeating one, or giving an older one, changes nothing. OSError: try again later."""


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FileWitness:
    """A folder: `checkpoints.jsonl` grows by every checkpoint, `latest` is the newest, `seal-public-key.json` checks both."""

    def __init__(self, folder: Path) -> None:
        self.name = f"folder {folder}"
        self.folder = folder
        self._keys: list[Ed25519PublicKey] = []

    def introduce(self, keys: list[Ed25519PublicKey]) -> None:
        """Write the public keys beside the checkpoints; a key that is already there must stay."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keys = keys
        path = self.folder / KEY_FILE
        with self._locked():
            if path.exists():
                try:
                    known = {raw_public(k) for k in read_public_keys(json.loads(path.read_text()))}
                except (SealBroken, ValueError) as error:
                    raise WitnessConflict(f"{path} is damaged. Restore it from a copy.") from error
                if known - {raw_public(k) for k in keys}:
                    raise WitnessConflict(
                        f"{path} names a sealing key that this sealer does not know. Start it with the key the trail was sealed with, "
                        "or list the retired key in GATEHOUSE_SEAL_PUBLIC_KEY."
                    )
                if len(known) == len(keys):
                    return
            self._replace(KEY_FILE, json.dumps(public_key_document(keys), indent=1) + "\n")

    def latest(self) -> Checkpoint | None:
        """The checkpoint in `latest`, or None in a new folder."""
        try:
            note = (self.folder / LATEST_FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return read_checkpoint(note, self._keys)
        except SealBroken as error:
            raise WitnessConflict(f"{self.folder / LATEST_FILE} is not a valid checkpoint: {error}.") from error

    def publish(self, checkpoint: Checkpoint) -> None:
        """Append to the log first, then replace `latest`: killed in between, the next call adds the line a second time."""
        with self._locked():
            newest = self.latest()
            if newest and newest.tree_size == checkpoint.tree_size and newest.root != checkpoint.root:
                raise WitnessConflict(f"{self.name} holds another root for {checkpoint.tree_size} events")
            if newest and newest.tree_size >= checkpoint.tree_size:
                return
            self._append({"tree_size": checkpoint.tree_size, "note": checkpoint.note})
            self._replace(LATEST_FILE, checkpoint.note)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _append(self, entry: dict[str, Any]) -> None:
        with (self.folder / LOG_FILE).open("a+b") as handle:
            line = json.dumps(entry, ensure_ascii=False, sort_keys=True).encode() + b"\n"
            end = handle.seek(0, os.SEEK_END)
            if end:
                # A line cut short by a crash stays as it is; the next one begins on a line of its own.
                handle.seek(end - 1)
                line = line if handle.read(1) == b"\n" else b"\n" + line
            handle.write(line)
            handle.flush()
            os.fsync(handle.fileno())

    def _replace(self, name: str, text: str) -> None:
        draft = self.folder / f".{name}.new"
        with draft.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        draft.chmod(0o644)
        draft.replace(self.folder / name)
        _sync_folder(self.folder)

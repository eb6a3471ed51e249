"""Reads signed checkpoints (C2SP tlog-checkpoint in a signed note) and public sealing keys."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KEY_FILE = "seal-public-key.json"
LOG_FILE = "checkpoints.jsonl"
MAX_NOTE_BYTES = 64 * 1024


class Unreadable(Exception):
    """A file that was named cannot be used; the message says which and why."""


class NotSealed(Exception):
    """A checkpoint is malformed or not signed by a known key."""


@dataclass(frozen=True)
class Checkpoint:
    """Size and root somebody signed, under which origin, and when they say they did."""

    origin: str
    size: int
    root: bytes
    sealed_at: str


def parse_keys(document: Any) -> list[bytes]:
    """Raw public sealing keys of a key document; raises Unreadable."""
    try:
        keys = [base64.b64decode(k["public"], validate=True) for k in document["keys"] if k["purpose"] == "seal"]
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable("the public key document is malformed") from error
    if not keys or any(len(k) != 32 for k in keys):
        raise Unreadable("the public key document holds no Ed25519 sealing key")
    return keys


def load_keys(path: Path) -> list[bytes]:
    """Raw public sealing keys in a file."""
    try:
        return parse_keys(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise Unreadable(f"the public key {path} cannot be read: {error.strerror}; name it with --public-key") from error
    except ValueError as error:
        raise Unreadable(f"the public key {path} is not JSON") from error


def parse(note: str, keys: Sequence[bytes]) -> Checkpoint:
    """The checkpoint in a signed note, if one of `keys` signed it; raises NotSealed."""
    body, blank, signatures = note.rpartition("\n\n")
    lines = body.split("\n")
    if not blank or len(lines) < 3 or not lines[0] or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        raise NotSealed("it is not a checkpoint")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except ValueError as error:
        raise NotSealed("its root is not base64") from error
    if len(root) != 32:
        raise NotSealed("its root is not a SHA-256 hash")
    signed = (body + "\n").encode()
    for line in signatures.split("\n"):
        match = re.fullmatch("\u2014 ([^ +]+) ([A-Za-z0-9+/]+=*)", line)
        if not match or match[1] != lines[0]:
            continue
        try:
            blob = base64.b64decode(match[2], validate=True)
        except ValueError as error:
            raise NotSealed("its signature is not base64") from error
        # Several texts decode to the same bytes; one of them is the signature.
        if base64.b64encode(blob).decode() != match[2]:
            raise NotSealed("its signature is not base64 as it is written")
        for key in keys:
            if blob[:4] != hashlib.sha256(lines[0].encode() + b"\n\x01" + key).digest()[:4]:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(blob[4:], signed)
            except InvalidSignature as error:
                raise NotSealed("its signature is not valid") from error
            stamp = [x.removeprefix("sealed_at ") for x in lines[3:] if x.startswith("sealed_at ")]
            return Checkpoint(lines[0], int(lines[1]), root, stamp[0] if stamp else "")
    raise NotSealed("no known key signed it")


def read_note(path: Path) -> str:
    """Text of a checkpoint file."""
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_NOTE_BYTES + 1)
        if len(data) > MAX_NOTE_BYTES:
            raise Unreadable(f"the checkpoint {path} is too large to be one")
        return data.decode()
    except OSError as error:
        raise Unreadable(f"the checkpoint {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"the checkpoint {path} is not text") from error


def find_in_log(folder: Path, size: int, keys: Sequence[bytes]) -> Checkpoint | None:
    """The validly signed checkpoint of this size in a witness folder's log, or None. Lines cut short by a crash are skipped."""
    try:
        with (folder / LOG_FILE).open(encoding="utf-8", errors="replace") as handle:
            for line in handle:
                try:
                    entry = json.loads(line)
                    if entry["tree_size"] == size:
                        found = parse(entry["note"], keys)
                        if found.size == size:
                            return found
                except (ValueError, KeyError, TypeError, AttributeError, NotSealed):
                    continue
    except OSError:
        return None
    return None

"""Ed25519 keys on disk: PEM PKCS8 private keys (mode 0600) and JSON files of public keys.

A key id is 16 hex digits of sha256 over the raw public key: it can be checked, not only looked up.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def generate_private_key(path: str | os.PathLike[str]) -> Ed25519PrivateKey:
    """Make an Ed25519 key, write it as PEM PKCS8, mode 0600. Raises FileExistsError if there is one."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem)
        stream.flush()
        os.fsync(stream.fileno())
    return key


def load_private_key(path: str | os.PathLike[str]) -> Ed25519PrivateKey:
    """Read an Ed25519 private key (PEM PKCS8). Raises TypeError for another kind of key."""
    key = serialization.load_pem_private_key(Path(path).read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path} does not hold an Ed25519 private key.")
    return key


def raw_public(public: Ed25519PublicKey) -> bytes:
    """The 32 raw bytes of a public key."""
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def key_id(public: Ed25519PublicKey) -> str:
    """The first 16 hex digits of sha256 over the raw public key."""
    return hashlib.sha256(raw_public(public)).hexdigest()[:16]


def public_to_text(public: Ed25519PublicKey) -> str:
    """Base64 of the raw public key, the form kept in key files and in the portal's host record."""
    return base64.b64encode(raw_public(public)).decode("ascii")


def public_from_text(text: str) -> Ed25519PublicKey:
    """The inverse of `public_to_text`. Raises ValueError when it is not base64 of 32 bytes."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueError("A public key is base64 of exactly 32 bytes.") from error


def public_entry(public: Ed25519PublicKey, *, purpose: str) -> dict[str, str]:
    """One entry of a public key file: `{"key_id", "public", "purpose"}`."""
    return {"key_id": key_id(public), "public": public_to_text(public), "purpose": purpose}


def accepted_until(path: str | os.PathLike[str]) -> dict[str, datetime]:
    """Key id -> when it stops being accepted, of the keys of such a file that have been rotated out. Raises ValueError."""
    entries = json.loads(Path(path).read_text("utf-8"))["keys"]
    return {entry["key_id"]: _moment(entry["accepted_until"]) for entry in entries if entry.get("accepted_until")}


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"accepted_until {text!r} has no time zone.")
    return moment


def load_public_keys(
    path: str | os.PathLike[str], *, purpose: str | None = None, at: datetime | None = None
) -> dict[str, Ed25519PublicKey]:
    """Read `{"keys": [...]}` and return key id -> key, only those of `purpose`, and those still accepted `at` a moment, if given.

    Raises ValueError when a key id does not belong to its key: such a file was edited by hand, or worse.
    """
    document = json.loads(Path(path).read_text("utf-8"))
    keys: dict[str, Ed25519PublicKey] = {}
    for entry in document["keys"]:
        public = public_from_text(entry["public"])
        if entry["key_id"] != key_id(public):
            raise ValueError(f"{path}: key id {entry['key_id']!r} does not match its public key.")
        over = at is not None and entry.get("accepted_until") and _moment(entry["accepted_until"]) <= at
        if (purpose is None or entry.get("purpose") == purpose) and not over:
            keys[entry["key_id"]] = public
    return keys

"""Checks the signature of what control signed. The gateway only ever verifies, so it holds no private key."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_PAYLOAD_BYTES = 16 * 1024 * 1024


class EnvelopeRefused(Exception):
    """A signed message was not accepted. `reason` is one word for metrics and logs."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def load_public_keys(path: Path, *, purpose: str) -> dict[str, Ed25519PublicKey]:
    """Key id -> key, for the entries of `purpose` that are still accepted in `{"keys": [{"key_id", "public", "purpose"}]}`.

    Raises ValueError or KeyError when the file is not of that form, OSError when it cannot be read.
    """
    keys: dict[str, Ed25519PublicKey] = {}
    for entry in json.loads(path.read_text("utf-8"))["keys"]:
        raw = base64.b64decode(entry["public"], validate=True)
        if entry["key_id"] != hashlib.sha256(raw).hexdigest()[:16]:
            raise ValueError(f"{path.name}: key id {entry['key_id']!r} does not belong to its key.")
        until = entry.get("accepted_until")
        over = until and _moment(path, until) <= datetime.now(UTC)
        if entry.get("purpose") == purpose and not over:
            keys[entry["key_id"]] = Ed25519PublicKey.from_public_bytes(raw)
    return keys


def _moment(path: Path, text: Any) -> datetime:
    if not isinstance(text, str) or (moment := datetime.fromisoformat(text)).tzinfo is None:
        raise ValueError(f"{path.name}: accepted_until {text!r} is no time with a time zone.")
    return moment


def verify(envelope: Any, *, keys: Mapping[str, Ed25519PublicKey]) -> dict[str, Any]:
    """The payload of an envelope whose Ed25519 signature holds over the payload text as it travelled.

    Raises EnvelopeRefused: `malformed`, `unsigned`, `unknown_key` or `bad_signature`.
    """
    if not isinstance(envelope, dict) or envelope.get("v") != 1:
        raise EnvelopeRefused("malformed", "Not a version 1 envelope.")
    key_id, text, signature = (envelope.get(name) for name in ("key_id", "payload", "signature"))
    if not key_id or not signature:
        raise EnvelopeRefused("unsigned", "The message carries no signature or no key id.")
    if not (isinstance(key_id, str) and isinstance(text, str) and isinstance(signature, str)):
        raise EnvelopeRefused("malformed", "key_id, payload and signature must be text.")
    key = keys.get(key_id)
    if key is None:
        raise EnvelopeRefused("unknown_key", "Signed with a key that is not trusted here.")
    try:
        data = text.encode("utf-8")
        key.verify(base64.b64decode(signature, validate=True), data)
    except InvalidSignature as error:
        raise EnvelopeRefused("bad_signature", "The signature does not fit the payload.") from error
    except ValueError as error:
        raise EnvelopeRefused("malformed", "Payload or signature is not encoded as agreed.") from error
    if len(data) > MAX_PAYLOAD_BYTES:
        raise EnvelopeRefused("malformed", f"The payload is larger than {MAX_PAYLOAD_BYTES} bytes.")
    try:
        payload = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EnvelopeRefused("malformed", "The payload is not JSON.") from error
    if not isinstance(payload, dict):
        raise EnvelopeRefused("malformed", "The payload is not a JSON object.")
    return payload

"""The message contract between control and the agents: work orders, reports, artifact tokens, digests.

Pure Python with `cryptography` and `rfc8785`: no Django, nothing of the portal, so both sides share it.

An envelope is `{"v": 1, "key_id": ..., "payload": "<RFC 8785 JSON text>", "signature": "<base64>"}`. The
Ed25519 signature covers the UTF-8 bytes of `payload` as they travel; nobody re-serialises to check it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from celery_worker.keys import (
    generate_private_key,
    key_id,
    load_private_key,
    load_public_keys,
    public_entry,
    public_from_text,
    public_to_text,
    raw_public,
)

# Both sides need keys and messages together, so the key functions are part of this module's face.
__all__ = [
    "OrderRefused",
    "agent_queue",
    "canonical",
    "check_order",
    "digest_of_folder",
    "digest_of_manifest",
    "generate_private_key",
    "is_digest",
    "key_id",
    "load_private_key",
    "load_public_keys",
    "make_acknowledgement",
    "make_artifact_token",
    "manifest_of_folder",
    "public_entry",
    "public_from_text",
    "public_to_text",
    "raw_public",
    "read_acknowledgement",
    "read_artifact_token",
    "sha256_of_envelope",
    "sign",
    "time_from_text",
    "time_to_text",
    "verify",
]

VERSION: Final = 1
MAX_PAYLOAD_BYTES: Final = 4 * 1024 * 1024
CLOCK_SKEW: Final = timedelta(seconds=60)
ORDER_KINDS: Final = frozenset({"start", "stop", "load_test"})
REPORT_KINDS: Final = frozenset({"heartbeat", "deployment", "order_refused", "load_test"})
ENVIRONMENTS: Final = frozenset({"pilot", "production"})
# fmt: off
REASONS: Final = frozenset({
    "unsigned", "unknown_key", "bad_signature", "malformed", "misaddressed", "expired", "not_yet_valid",
    "replayed", "stale_generation", "digest_mismatch", "no_decision",
})
# fmt: on

EXECUTE_TASK: Final = "agent.execute"
ACKNOWLEDGE_TASK: Final = "agent.acknowledge"
REPORT_TASK: Final = "control.receive_report"
CONTROL_QUEUE: Final = "control"


def agent_queue(host: str) -> str:
    """The Celery queue on which the agent called `host` listens."""
    return f"agent.{host}"


class OrderRefused(Exception):
    """A message was not accepted. `reason` is one of REASONS; `detail` is for people, without secrets."""

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"unknown refusal reason {reason!r}")
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


# --- canonical text, digests ----------------------------------------------------------------------


def canonical(value: Any) -> str:
    """RFC 8785 (JCS) text of a JSON-safe value; OrderRefused("malformed") for what JSON cannot hold."""
    try:
        return rfc8785.dumps(value).decode("utf-8")
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise OrderRefused("malformed", f"Not writable as canonical JSON: {error}") from error


def digest_of_manifest(manifest: Mapping[str, Any]) -> str:
    """`sha256:<hex>` of the RFC 8785 text of `{"files": {relative posix path: sha256 hex}}`."""
    return "sha256:" + hashlib.sha256(canonical(dict(manifest)).encode("utf-8")).hexdigest()


def manifest_of_folder(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """The manifest `{"files": {...}}` of every regular file below `path`; empty folders do not count.

    Raises ValueError for links, sockets, devices and file names that are not UTF-8: none may hide in a model.
    """
    root = Path(path)
    files = {entry.relative_to(root).as_posix(): _sha256_of_file(entry) for entry in _regular_files(root)}
    for name in files:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"The file name {name!a} is not UTF-8; rename it.") from error
    return {"files": files}


def digest_of_folder(path: str | os.PathLike[str]) -> str:
    """The artifact digest of a model folder: `digest_of_manifest(manifest_of_folder(path))`."""
    return digest_of_manifest(manifest_of_folder(path))


def _regular_files(root: Path) -> Iterator[Path]:
    if root.is_symlink() or not root.is_dir():
        raise ValueError(f"{root.name} is not a folder.")
    for entry in sorted(root.iterdir()):
        mode = entry.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield from _regular_files(entry)
        elif stat.S_ISREG(mode):
            yield entry
        else:
            raise ValueError(f"{entry.name!a} is no regular file and no folder; a model holds only those.")


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- envelopes ------------------------------------------------------------------------------------


def sign(payload: Mapping[str, Any], *, private_key: Ed25519PrivateKey) -> dict[str, Any]:
    """Wrap `payload` in a signed, JSON-safe envelope; OrderRefused("malformed") if it is not JSON."""
    text = canonical(dict(payload))
    return {
        "v": VERSION,
        "key_id": key_id(private_key.public_key()),
        "payload": text,
        "signature": base64.b64encode(private_key.sign(text.encode("utf-8"))).decode("ascii"),
    }


def verify(envelope: Any, *, keys: Mapping[str, Ed25519PublicKey]) -> dict[str, Any]:
    """Check an envelope's signature against `keys` (key id -> public key) and return its payload.

    Raises OrderRefused: `unsigned`, `unknown_key`, `bad_signature` or `malformed`. Nothing of the payload is
    looked at before the signature holds.
    """
    if not isinstance(envelope, Mapping):
        raise OrderRefused("malformed", "The message is not an envelope (a JSON object).")
    signature, named_key = envelope.get("signature"), envelope.get("key_id")
    if not signature or not named_key:
        raise OrderRefused("unsigned", "The message carries no signature or no key id.")
    text = envelope.get("payload")
    is_text = isinstance(signature, str) and isinstance(named_key, str)
    if envelope.get("v") != VERSION or not is_text or not isinstance(text, str):
        raise OrderRefused("malformed", f"An envelope has v={VERSION} and key_id, payload, signature as text.")
    public = keys.get(named_key)
    if public is None:
        raise OrderRefused("unknown_key", "The message is signed with a key that is not trusted here.")
    try:
        data = text.encode("utf-8")
        raw_signature = base64.b64decode(signature, validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise OrderRefused("malformed", "The signature is not base64 or the payload not UTF-8.") from error
    if len(data) > MAX_PAYLOAD_BYTES:
        raise OrderRefused("malformed", f"The payload is larger than {MAX_PAYLOAD_BYTES} bytes.")
    try:
        public.verify(raw_signature, data)
    except InvalidSignature as error:
        raise OrderRefused("bad_signature", "The signature does not fit the payload.") from error
    try:
        payload = json.loads(data, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise OrderRefused("malformed", "The payload is not JSON.") from error
    if not isinstance(payload, dict) or canonical(payload) != text:
        raise OrderRefused("malformed", "The payload is not one canonical (RFC 8785) JSON object.")
    return payload


def _whole(text: str) -> int | float:
    """RFC 8785 writes 1e16 as whole digits; beyond what a double holds exactly, it was a float before it was text."""
    return int(text) if len(text) < 16 or abs(int(text)) < 2**53 else float(text)


def sha256_of_envelope(envelope: Any) -> str:
    """sha256 hex of the payload text, or of the whole message if it has none: the name it has in audits."""
    text = envelope.get("payload") if isinstance(envelope, Mapping) else None
    if not isinstance(text, str):
        text = json.dumps(envelope, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# --- times ----------------------------------------------------------------------------------------


def time_to_text(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds. Raises ValueError for a naive time."""
    if moment.tzinfo is None:
        raise ValueError("Times in messages are aware; this one has no time zone.")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def time_from_text(text: Any, *, field: str) -> datetime:
    """The aware UTC time in `text`. Raises OrderRefused("malformed") naming `field`."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise OrderRefused("malformed", f"{field} is not an ISO 8601 time.") from error
    if moment.tzinfo is None:
        raise OrderRefused("malformed", f"{field} has no time zone.")
    return moment.astimezone(UTC)


# --- orders ---------------------------------------------------------------------------------------


def check_order(order: Mapping[str, Any], *, audience: str, now: datetime) -> None:
    """Check what an order says of itself: shape, audience, time, and for a start its decision and digest.

    Whether it is stale or replayed depends on what the host did before; the agent checks that against its own
    durable state. Raises OrderRefused; `now` is aware.
    """
    if order.get("v") != VERSION or order.get("kind") not in ORDER_KINDS or "purpose" in order:
        raise OrderRefused("malformed", f"v is {VERSION} and kind one of {sorted(ORDER_KINDS)}.")
    if order.get("audience") != audience:
        raise OrderRefused("misaddressed", f"The order is for another host, not for {audience}.")
    for name in ("order_id", "deployment_id"):
        _text(order, name)
    _whole_number(order, "generation", least=1)
    _whole_number(order, "fence", least=0)
    issued_at = time_from_text(order.get("issued_at"), field="issued_at")
    expires_at = time_from_text(order.get("expires_at"), field="expires_at")
    if issued_at > now + CLOCK_SKEW:
        raise OrderRefused("not_yet_valid", "The order is dated in the future; compare the hosts' clocks.")
    if expires_at <= now:
        raise OrderRefused("expired", f"The order expired at {time_to_text(expires_at)}; sign a new one.")
    if order["kind"] == "start":
        _check_start(order, now=now)
    if order["kind"] == "load_test":
        _section(order, "load")


def _check_start(order: Mapping[str, Any], *, now: datetime) -> None:
    decision = order.get("decision")
    if not isinstance(decision, Mapping) or not isinstance(decision.get("id"), str):
        raise OrderRefused("no_decision", "A start order must carry the decision that allows it.")
    if decision.get("environment") not in ENVIRONMENTS:
        raise OrderRefused("no_decision", "The decision's environment must be pilot or production.")
    if time_from_text(decision.get("expires_at"), field="decision.expires_at") <= now:
        raise OrderRefused("expired", "The decision that allows this start has expired.")
    artifact = _section(order, "artifact")
    for name in ("url", "token", "digest", "model_version"):
        _text(artifact, name, prefix="artifact.")
    if not is_digest(artifact["digest"]):
        raise OrderRefused("malformed", "artifact.digest is not sha256:<64 hex digits>.")
    if decision.get("artifact_digest") != artifact["digest"]:
        raise OrderRefused("digest_mismatch", "The decision allows another artifact than the order's.")
    engine = _section(order, "engine")
    _text(engine, "kind", prefix="engine.")
    _section(engine, "options", prefix="engine.")


def is_digest(text: Any) -> bool:
    """Whether `text` is `sha256:` and 64 lower-case hex digits."""
    if not isinstance(text, str) or not text.startswith("sha256:") or len(text) != 71:
        return False
    return all(character in "0123456789abcdef" for character in text[7:])


def _section(value: Mapping[str, Any], name: str, *, prefix: str = "") -> Mapping[str, Any]:
    section = value.get(name)
    if not isinstance(section, Mapping):
        raise OrderRefused("malformed", f"{prefix}{name} is missing or not an object.")
    return section


def _text(value: Mapping[str, Any], name: str, *, prefix: str = "") -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text or len(text) > 16_384:
        raise OrderRefused("malformed", f"{prefix}{name} is missing, empty or not text.")
    return text


def _whole_number(value: Mapping[str, Any], name: str, *, least: int) -> int:
    number = value.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise OrderRefused("malformed", f"{name} must be a whole number of at least {least}.")
    return number


# --- acknowledgements --------------------------------------------------------------------------------


def make_acknowledgement(
    *, report_ids: Sequence[str], audience: str, issued_at: datetime, private_key: Ed25519PrivateKey
) -> dict[str, Any]:
    """The argument of `agent.acknowledge`: control has stored these reports, the agent may forget them.

    Signed, because an agent forgets for good: whoever can merely write to the broker must not make it forget.
    """
    payload = {
        "v": VERSION,
        "purpose": "acknowledgement",
        "audience": audience,
        "issued_at": time_to_text(issued_at),
        "report_ids": list(report_ids),
    }
    return sign(payload, private_key=private_key)


def read_acknowledgement(envelope: Any, *, keys: Mapping[str, Ed25519PublicKey], audience: str) -> list[str]:
    """The report ids of a valid acknowledgement for `audience`. Raises OrderRefused."""
    payload = verify(envelope, keys=keys)
    if payload.get("purpose") != "acknowledgement" or payload.get("audience") != audience:
        raise OrderRefused("misaddressed", f"This is not an acknowledgement for {audience}.")
    report_ids = payload.get("report_ids")
    if not isinstance(report_ids, list) or not all(isinstance(report_id, str) for report_id in report_ids):
        raise OrderRefused("malformed", "report_ids is not a list of text.")
    return report_ids


# --- artifact tokens ------------------------------------------------------------------------------


def make_artifact_token(
    *,
    version_id: str,
    digest: str,
    audience: str,
    expires_at: datetime,
    private_key: Ed25519PrivateKey,
) -> str:
    """A bearer token for one artifact, one host, until `expires_at`: base64url of a signed envelope."""
    envelope = sign(
        {
            "purpose": "artifact",
            "version_id": version_id,
            "digest": digest,
            "audience": audience,
            "expires_at": time_to_text(expires_at),
        },
        private_key=private_key,
    )
    text = json.dumps(envelope, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii")


def read_artifact_token(token: str, keys: Mapping[str, Ed25519PublicKey], now: datetime) -> dict[str, Any]:
    """The payload of a valid token: `purpose, version_id, digest, audience, expires_at`.

    Raises OrderRefused: `malformed`, `unsigned`, `unknown_key`, `bad_signature`, `expired`. The caller
    compares `version_id` and `digest` with what was asked for.
    """
    if not isinstance(token, str) or len(token) > 16_384:
        raise OrderRefused("malformed", "The token is not base64url text of at most 16,384 characters.")
    try:
        envelope = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise OrderRefused("malformed", "The artifact token is not base64url of JSON.") from error
    payload = verify(envelope, keys=keys)
    if payload.get("purpose") != "artifact":
        raise OrderRefused("malformed", "This signed message is not an artifact token.")
    for name in ("version_id", "digest", "audience"):
        _text(payload, name)
    if time_from_text(payload.get("expires_at"), field="expires_at") <= now:
        raise OrderRefused("expired", "The artifact token has expired; wait for the next order.")
    return payload

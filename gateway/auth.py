"""API keys: only their sha256 is known here, and it is compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from gateway.snapshot import Caller, Endpoint

_SCHEME = b"bearer "
_PREFIX = b"ghe_"
_LONGEST = 256


def key_digest(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """sha256 hex of the whole key in `Authorization: Bearer ghe_...`, or None when there is none.

    Two Authorization headers count as none: which one would be meant is anybody's guess.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                return None
            found = value
    if found is None or found[: len(_SCHEME)].lower() != _SCHEME:
        return None
    key = found[len(_SCHEME) :].strip()
    if not key.startswith(_PREFIX) or len(key) > _LONGEST:
        return None
    return hashlib.sha256(key).hexdigest()


def caller(endpoint: Endpoint, digest: str) -> Caller | None:
    """Whose key of the endpoint has this digest; None when it is no key of it. Looks at every key, found or not."""
    found: Caller | None = None
    for known in endpoint.keys:
        if hmac.compare_digest(known.sha256, digest):
            found = known
    return found

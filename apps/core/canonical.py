"""One text for one value: what is hashed and signed."""

import hashlib
import math
import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import rfc8785

from apps.core.clock import iso


def plain(value: Any) -> Any:
    """The value with times, ids and decimals as text, ready for JSON. Not-a-number and infinity become null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, uuid.UUID | Decimal):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bool) or value is None or isinstance(value, str | int | float):
        # RFC 8785 numbers are IEEE doubles: a larger integer travels as text.
        return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 - 1 else value
    return str(value)


def canonical_json(value: Any) -> str:
    """RFC 8785 (JSON canonicalisation scheme) text of `plain(value)`."""
    return rfc8785.dumps(plain(value)).decode()


def sha256_hex(text: str | bytes) -> str:
    """SHA-256 of the text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def digest_of(value: Any) -> str:
    """`sha256:` and the hash of the canonical text."""
    return "sha256:" + sha256_hex(canonical_json(value))

"""Identifiers: time-ordered UUIDs, prefixed secrets, slugs."""

import hashlib
import os
import re
import secrets
import time
import unicodedata
import uuid


def new_id() -> uuid.UUID:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random bits, so that keys arrive in order."""
    millis = time.time_ns() // 1_000_000
    rand = int.from_bytes(os.urandom(10), "big")
    value = (millis & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76 | (rand >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | rand & ((1 << 62) - 1)
    return uuid.UUID(int=value)


def new_secret(prefix: str) -> tuple[str, str, str]:
    """A token as (whole, public part, sha256 hex of the whole); form `prefix_xxxxxxxx_secret`. Only the hash is stored."""
    public = secrets.token_hex(4)
    whole = f"{prefix}_{public}_{secrets.token_urlsafe(32)}"
    return whole, public, secret_hash(whole)


def secret_hash(whole: str) -> str:
    """SHA-256 hex. Enough for 256 random bits; a slow hash is for passwords."""
    return hashlib.sha256(whole.encode()).hexdigest()


def slugify(text: str, limit: int = 60) -> str:
    """Lower-case ASCII words joined by hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:limit].strip("-") or "item"

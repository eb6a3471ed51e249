"""The signing keys on disk: control's order key, and the public ones everybody may read."""

import json
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from celery_worker import orders


class NoOrderKey(Exception):
    """A programming or set-up error: only the control process signs, and it needs GATEHOUSE_ORDER_KEY."""


def order_key() -> Ed25519PrivateKey:
    """Control's private key; read again when the file was replaced. Raises NoOrderKey elsewhere."""
    if not settings.ORDER_KEY:
        raise NoOrderKey("GATEHOUSE_ORDER_KEY is not set: this process does not sign. Only control does.")
    path = Path(settings.ORDER_KEY)
    return _load(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _load(path: str, changed_ns: int) -> Ed25519PrivateKey:
    return orders.load_private_key(path)


def public_key(text: str) -> Ed25519PublicKey:
    """A host's public key from its base64 text. Raises ValueError."""
    return orders.public_from_text(text)


def published(path: str | Path) -> list[dict[str, str]]:
    """Entries `{key_id, public, purpose}` of a file of public keys, each id checked against its key; [] before there is a file.

    Raises ValueError for a file that was edited by hand, or worse.
    """
    file = Path(path)
    if not file.is_file():
        return []
    known = orders.load_public_keys(file)
    return [entry for entry in json.loads(file.read_text("utf-8"))["keys"] if entry["key_id"] in known]

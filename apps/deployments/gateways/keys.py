"""The signing keys on disk: control's order key and its rotation, and the public ones everybody may read."""

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from apps.core.clock import now
from celery_worker import orders, rotation
from celery_worker.rotation import Rotation


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
    """Entries `{key_id, public, purpose}`, with `created_at` and `accepted_until` where they are known, of a file of public keys, those
    that are no longer accepted last; each id checked against its key; [] before there is a file.

    Raises ValueError for a file that was edited by hand, or worse.
    """
    file = Path(path)
    if not file.is_file():
        return []
    known = orders.load_public_keys(file)
    document = json.loads(file.read_text("utf-8"))
    return [entry for entry in document["keys"] if entry["key_id"] in known] + document.get("retired", [])


def signed(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload in an envelope that control signs now, with what a host needs that has not heard of this key. Raises NoOrderKey."""
    return with_handovers(orders.sign(payload, private_key=order_key()))


def with_handovers(envelope: dict[str, Any]) -> dict[str, Any]:
    """The envelope with the hand-overs whose old key is still accepted; they are signed themselves, so they travel outside the signature."""
    found = handovers()
    return {**envelope, "handovers": found} if found else envelope


def handovers() -> list[dict[str, Any]]:
    """Hand-overs of the order key that a host may still take up, oldest first."""
    return rotation.live_handovers(Path(settings.ORDER_PUBLIC_KEYS), now())


def begin_rotation(*, overlap: timedelta) -> Rotation:
    """Make the next order key, have the present one hand over to it, and publish both. The old one signs until `finish_rotation`.

    A rotation that was begun and not finished is gone on with, the overlap counted from now. Raises NoOrderKey.
    """
    order_key()  # says what to do where there is none
    key, public = Path(settings.ORDER_KEY), Path(settings.ORDER_PUBLIC_KEYS)
    return rotation.begin(key=key, public=public, purpose="order", overlap=overlap, moment=now())


def finish_rotation() -> None:
    """Sign with the next key from now on; the old one is gone. Does nothing when there is no next key."""
    rotation.finish(Path(settings.ORDER_KEY))

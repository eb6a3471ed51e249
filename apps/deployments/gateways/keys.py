"""The signing keys on disk: control's order key and its rotation, and the public ones everybody may read."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from apps.core.clock import now
from celery_worker import orders
from celery_worker.handover import make_handover


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
    file = Path(settings.ORDER_PUBLIC_KEYS)
    if not file.is_file():
        return []
    document = json.loads(file.read_text("utf-8"))
    ends = {e["key_id"]: e.get("accepted_until") for e in document["keys"]}
    return [h for h in document.get("handovers", []) if (end := ends.get(h["key_id"])) and datetime.fromisoformat(end) > now()]


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation comes to: ids of the keys, and until when the old one is accepted."""

    old: str
    new: str
    accepted_until: datetime


def begin_rotation(*, overlap: timedelta) -> Rotation:
    """Make the next key, have the present one hand over to it, and publish both. The old one signs until `finish_rotation`.

    A rotation that was begun and not finished is gone on with, the overlap counted from now. Safe at any instruction: whoever reads the public file finds every
    key that signs. Raises NoOrderKey.
    """
    old, pending, public, moment = order_key(), _pending(), Path(settings.ORDER_PUBLIC_KEYS), now()
    old_id = orders.key_id(old.public_key())
    document = json.loads(public.read_text("utf-8"))
    if pending.exists() and not pending.stat().st_size:
        # Left by a kill while it was written: nothing is signed or published with it.
        pending.unlink()
    new = orders.load_private_key(pending) if pending.exists() else _make(pending)
    new_id = orders.key_id(new.public_key())
    entries = {e["key_id"]: e for e in document["keys"]}
    until = moment + overlap
    handover = make_handover(old=old, new=new, issued_at=moment, old_accepted_until=until)
    over = [
        e
        for e in document["keys"]
        if e.get("accepted_until") and datetime.fromisoformat(e["accepted_until"]) <= moment and e["key_id"] != old_id
    ]
    kept = [e for e in document["keys"] if e not in over and e["key_id"] not in (old_id, new_id)]
    first = {**orders.public_entry(new.public_key(), purpose="order"), "created_at": orders.time_to_text(moment)}
    first |= {"created_at": entries[new_id]["created_at"]} if new_id in entries else {}
    last = {**entries.get(old_id, orders.public_entry(old.public_key(), purpose="order")), "accepted_until": orders.time_to_text(until)}
    # A hand-over that is gone on with is told anew: the one from before may be over.
    gone = {e["key_id"] for e in over} | {old_id}
    document |= {
        "keys": [first, last, *kept],
        "handovers": [*(h for h in document.get("handovers", []) if h["key_id"] not in gone), handover],
        "retired": [*document.get("retired", []), *over],
    }
    _write(public, json.dumps(document, indent=1) + "\n", mode=0o644)
    return Rotation(old_id, new_id, until)


def finish_rotation() -> None:
    """Sign with the next key from now on; the old one is gone. Does nothing when there is no next key."""
    if _pending().exists():
        _pending().replace(settings.ORDER_KEY)


def _pending() -> Path:
    path = Path(settings.ORDER_KEY)
    return path.with_name(f"{path.stem}-next{path.suffix}")


def _make(path: Path) -> Ed25519PrivateKey:
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    made = orders.generate_private_key(aside)
    aside.replace(path)
    return made


def _write(path: Path, text: str, *, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)

"""Rotating a signing key on disk: the next key is made and published with the old one's hand-over before it signs. Both sides share this.

Beside the private key `order.pem` stands what everybody may read, `order-public.json`:

    {"keys": [{"key_id", "public", "purpose", "created_at", "accepted_until"}], "handovers": [...], "retired": [...]}
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from celery_worker import orders
from celery_worker.handover import make_handover


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation comes to: ids of the keys, and until when the old one is accepted."""

    old: str
    new: str
    accepted_until: datetime


def begin(*, key: Path, public: Path, purpose: str, overlap: timedelta, moment: datetime) -> Rotation:
    """Make the next key, have the present one hand over to it, and publish both. The old one signs until `finish`.

    A rotation that was begun and not finished is gone on with, the overlap counted from now. Safe at any instruction: whoever reads the
    public file finds every key that signs. Raises OSError, ValueError.
    """
    old, pending = orders.load_private_key(key), pending_of(key)
    old_id = orders.key_id(old.public_key())
    document: dict[str, Any] = json.loads(public.read_text("utf-8"))
    if pending.exists() and not pending.stat().st_size:
        # Left by a kill while it was written: nothing is signed or published with it.
        pending.unlink()
    new = orders.load_private_key(pending) if pending.exists() else _make(pending)
    new_id = orders.key_id(new.public_key())
    entries = {e["key_id"]: e for e in document["keys"]}
    until = moment + overlap
    handover = make_handover(old=old, new=new, issued_at=moment, old_accepted_until=until, key_purpose=purpose)
    over = [e for e in document["keys"] if _is_over(e, moment) and e["key_id"] != old_id]
    kept = [e for e in document["keys"] if e not in over and e["key_id"] not in (old_id, new_id)]
    first = {**orders.public_entry(new.public_key(), purpose=purpose), "created_at": orders.time_to_text(moment)}
    first |= {"created_at": entries[new_id]["created_at"]} if new_id in entries else {}
    last = {**entries.get(old_id, orders.public_entry(old.public_key(), purpose=purpose)), "accepted_until": orders.time_to_text(until)}
    # A hand-over that is gone on with is told anew: the one from before may be over.
    gone = {e["key_id"] for e in over} | {old_id}
    document |= {
        "keys": [first, last, *kept],
        "handovers": [*(h for h in document.get("handovers", []) if h["key_id"] not in gone), handover],
        "retired": [*document.get("retired", []), *over],
    }
    _write(public, json.dumps(document, indent=1) + "\n")
    return Rotation(old_id, new_id, until)


def finish(key: Path) -> None:
    """Sign with the next key from now on; the old one is gone. Does nothing when there is no next key."""
    if pending_of(key).exists():
        pending_of(key).replace(key)


def pending_of(key: Path) -> Path:
    """Where the next key waits."""
    return key.with_name(f"{key.stem}-next{key.suffix}")


def live_handovers(public: Path, moment: datetime) -> list[dict[str, Any]]:
    """Hand-overs whose old key is still accepted, oldest first; [] without a file. Raises ValueError for one that cannot be read."""
    if not public.is_file():
        return []
    document = json.loads(public.read_text("utf-8"))
    ends = {e["key_id"]: e.get("accepted_until") for e in document["keys"]}
    return [h for h in document.get("handovers", []) if (end := ends.get(h["key_id"])) and datetime.fromisoformat(end) > moment]


def _is_over(entry: dict[str, Any], moment: datetime) -> bool:
    return bool(entry.get("accepted_until")) and datetime.fromisoformat(entry["accepted_until"]) <= moment


def _make(path: Path) -> Ed25519PrivateKey:
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    made = orders.generate_private_key(aside)
    aside.replace(path)
    return made


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)

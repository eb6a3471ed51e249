"""Handing the order key over: the old key signs the new one, so who believes the old one can believe the new one.

The message may come from anywhere, over the broker too: nothing but the signature counts. Both sides share this.

    {"v": 1, "purpose": "key_handover", "key_purpose": "order", "old": id, "new": id, "public": base64,
     "issued_at": time, "old_accepted_until": time, "proof": base64}

`proof` is the new key's signature over the ids, which shows that whoever handed over holds it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from celery_worker import orders
from celery_worker.orders import OrderRefused

PURPOSE: Final = "key_handover"
LONGEST_OVERLAP: Final = timedelta(days=30)


@dataclass(frozen=True)
class Handover:
    """Key `old` names `new` as its successor and is itself accepted until `old_accepted_until`."""

    old: str
    new: str
    public: Ed25519PublicKey
    issued_at: datetime
    old_accepted_until: datetime


def _proven(old: str, new: str) -> bytes:
    return orders.canonical({"new": new, "old": old, "purpose": "key_possession"}).encode("ascii")


def make_handover(
    *, old: Ed25519PrivateKey, new: Ed25519PrivateKey, issued_at: datetime, old_accepted_until: datetime, key_purpose: str = "order"
) -> dict[str, Any]:
    """The signed message. Raises ValueError for an overlap that is none, or longer than LONGEST_OVERLAP."""
    if not timedelta(0) < old_accepted_until - issued_at <= LONGEST_OVERLAP:
        raise ValueError(f"The old key is accepted for more than no time and at most {LONGEST_OVERLAP.days} days.")
    old_id, new_id = orders.key_id(old.public_key()), orders.key_id(new.public_key())
    payload = {
        "v": orders.VERSION, "purpose": PURPOSE, "key_purpose": key_purpose, "old": old_id, "new": new_id,
        "public": orders.public_to_text(new.public_key()), "issued_at": orders.time_to_text(issued_at),
        "old_accepted_until": orders.time_to_text(old_accepted_until),
        "proof": base64.b64encode(new.sign(_proven(old_id, new_id))).decode("ascii"),
    }  # fmt: skip
    return orders.sign(payload, private_key=old)


def read_handover(envelope: Any, *, keys: Mapping[str, Ed25519PublicKey], now: datetime, key_purpose: str = "order") -> Handover:
    """A valid hand-over, signed by one of `keys` (those believed now). Raises OrderRefused with the reason."""
    payload = orders.verify(envelope, keys=keys)
    if payload.get("purpose") != PURPOSE or payload.get("key_purpose") != key_purpose or payload.get("v") != orders.VERSION:
        raise OrderRefused("malformed", f"This signed message hands over no {key_purpose} key.")
    old, new = payload.get("old"), payload.get("new")
    if not isinstance(old, str) or old != envelope["key_id"]:
        raise OrderRefused("malformed", "A key is handed over by that very key.")
    try:
        public = orders.public_from_text(str(payload.get("public")))
        proof = base64.b64decode(str(payload.get("proof")), validate=True)
    except (ValueError, binascii.Error) as error:
        raise OrderRefused("malformed", "public or proof is not base64 of the right length.") from error
    if not isinstance(new, str) or new != orders.key_id(public) or new == old:
        raise OrderRefused("malformed", "The new key's id does not belong to it, or it is the old key.")
    try:
        public.verify(proof, _proven(old, new))
    except InvalidSignature as error:
        raise OrderRefused("bad_signature", "The new key has not signed for itself.") from error
    issued_at = orders.time_from_text(payload.get("issued_at"), field="issued_at")
    until = orders.time_from_text(payload.get("old_accepted_until"), field="old_accepted_until")
    if issued_at > now + orders.CLOCK_SKEW:
        raise OrderRefused("not_yet_valid", "The hand-over is dated in the future; compare the hosts' clocks.")
    if until <= now or until - issued_at > LONGEST_OVERLAP:
        raise OrderRefused("expired", "The old key no longer speaks for anybody; give the new one to this host by hand.")
    return Handover(old, new, public, issued_at, until)

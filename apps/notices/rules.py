"""Events, addresses, signatures, pauses between tries. Pure."""

import base64
import hashlib
import hmac
import ipaddress
import json
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from apps.core.actor import Actor
from apps.core.clock import iso
from apps.core.errors import Invalid, NotAllowed

# Every event that is told, and what it means to who receives it.
EVENTS = {
    "gate.requested": "A gate asks for signatures",
    "gate.changed": "The evidence of an open gate changed and was frozen again; earlier signatures are void",
    "gate.signed": "Somebody signed a gate",
    "gate.approved": "A gate was passed",
    "gate.rejected": "A gate was refused",
    "gate.withdrawn": "A gate was taken back",
    "gate.stopped": "A gate ended with its use case stopped",
    "gate.rebuilt": "A gate ended with a successor that is built anew",
    "gate.lapsed": "A gate ended without a decision because signatures were late",
    "gate.overdue": "A gate waits longer than its policy allows",
    "gate.commented": "Somebody wrote on a gate",
    "decision.expiring": "An approval ends soon and has to be renewed",
    "decision.lapsed": "An approval has ended",
    "decision.revoked": "An approval was taken back",
    "decision.held": "An approval is suspended",
    "waiver.asked": "A waiver waits for the risk owner's signature",
    "waiver.answered": "A waiver was signed or refused",
    "waiver.expiring": "A waiver ends soon",
    "tier.asked": "A lower risk tier waits for a risk owner's signature",
    "tier.answered": "A lower risk tier was signed or refused",
    "webhook.test": "Somebody tries whether the address answers",
}
# Pauses after each failed try, as Standard Webhooks advises: about three days in all.
PAUSES = tuple(timedelta(seconds=s) for s in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))
MAIL_PAUSES = PAUSES[:5]
KEY_PREFIX = "whsec_"
ANSWER_CHARACTERS = 500
# How long the old key signs beside the new one.
KEY_OVERLAP = timedelta(hours=24)


def check_may_manage(actor: Actor) -> None:
    """Webhooks carry news of every use case."""
    if not actor.is_admin:
        raise NotAllowed("Webhooks are set up by administrators, because they carry news of every use case. Ask one.")


def check_webhook(*, name: str, url: str, events: Iterable[str], loopback_allowed: bool) -> None:
    """A name, an address that may be called, known events. Raises Invalid naming each field that is wrong."""
    errors: dict[str, list[str]] = {}
    if not name.strip() or len(name) > 100:
        errors["name"] = ["Give a name of at most 100 characters."]
    if problem := address_problem(url, loopback_allowed=loopback_allowed):
        errors["url"] = [problem]
    if unknown := [e for e in events if e not in EVENTS]:
        errors["events"] = [f"Unknown: {', '.join(map(str, unknown))}. Known: {', '.join(EVENTS)}."]
    if errors:
        first = next(iter(errors))
        raise Invalid(f"{first}: {errors[first][0]}", errors=errors)


def address_problem(url: str, *, loopback_allowed: bool) -> str:
    """Why this address is not called; "" when it is. Numbers in it are looked at here, names when they are resolved."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "Give an address such as https://ci.example.org/hooks/gatehouse."
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0 or len(url) > 1000 or any(c.isspace() for c in url):
        return "Give an address such as https://ci.example.org/hooks/gatehouse."
    if parts.username or parts.password:
        return "Leave user and password out of the address; the signature says who calls."
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(parts.hostname)
    except ValueError:
        address = None
    local = parts.hostname == "localhost" or (address is not None and address.is_loopback)
    if local and not loopback_allowed:
        return "This machine itself is not called. Give the address by which others reach the receiver."
    if parts.scheme == "http" and not local:
        return "Use https://: what is told must not be read on the way."
    if address is not None and not local and not callable_address(str(address), loopback_allowed=False):
        return "This address is not called: it is link-local, multicast or reserved."
    return ""


def callable_address(text: str, *, loopback_allowed: bool) -> bool:
    """Whether a resolved IP address is called. Private networks are: that is where receivers live. Cloud metadata is not."""
    address = ipaddress.ip_address(text.split("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if address.is_loopback:
        return loopback_allowed
    return not (address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved)


def new_key() -> str:
    """A signing key of 256 random bits in Standard Webhooks' form."""
    return KEY_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def payload(
    *, event: str, notice_id: str, at: datetime, title: str, text: str, url: str, usecase_id: str | None, data: Mapping[str, Any]
) -> str:
    """The body that a webhook gets: JSON with `type`, `timestamp` and `data`."""
    said = {"id": notice_id, "title": title, "text": text, "url": url, "usecase_id": usecase_id, **data}
    return json.dumps({"type": event, "timestamp": iso(at), "data": said}, ensure_ascii=False, separators=(",", ":"))


def signature(key: str, *, notice_id: str, timestamp: int, body: str) -> str:
    """`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body` (Standard Webhooks 1.0, "Signature scheme")."""
    secret = base64.b64decode(key.removeprefix(KEY_PREFIX))
    mac = hmac.new(secret, f"{notice_id}.{timestamp}.{body}".encode(), hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def headers(keys: Iterable[str], *, notice_id: str, timestamp: int, body: str) -> dict[str, str]:
    """The headers of one call, signed with every key in force."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "Gatehouse-Webhooks/1",
        "webhook-id": notice_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(k, notice_id=notice_id, timestamp=timestamp, body=body) for k in keys),
    }


def next_try(tries: int, moment: datetime, pauses: tuple[timedelta, ...]) -> datetime | None:
    """When to try again after `tries` failed ones; None: give up."""
    return moment + pauses[tries - 1] if 0 < tries <= len(pauses) else None

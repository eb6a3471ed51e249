"""Writes of the trail: record one event; export many, which is one event more."""

import hashlib
import json
import os
import re
import threading
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any

from django.db import transaction

from apps.audit import catalogue, selectors
from apps.audit.bundle import Scope, write_bundle
from apps.audit.models import Event
from apps.audit.sealing import SealBroken
from apps.core import sql
from apps.core.actor import Actor
from apps.core.canonical import canonical_json
from apps.core.clock import iso, now
from apps.core.errors import Conflict, NotAllowed, NotFound
from apps.core.ids import slugify

VERSION = 1
ACTOR_KINDS = frozenset({"user", "token", "agent", "system"})
# NUL and lone surrogates: PostgreSQL's text and UTF-8 hold neither.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SECRET_WORDS = frozenset({"password", "passwd", "passphrase", "secret", "secrets", "credentials", "cookie", "authorization"})
LEFT_OUT = "(left out: the name sounds like a secret)"
_SECRET_ENDS = ("token", "api_key", "apikey", "private_key", "session_key")


class UndeclaredAction(Exception):
    """A programming error: the action is in no catalogue."""


class SecretInAudit(Exception):
    """A programming error: something that looks like a secret was about to be kept for ever."""


class _Ids:
    """UUID version 7 with sub-millisecond time in `rand_a` (RFC 9562, 6.2, method 3), so that one process's events sort as they happened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> uuid.UUID:
        millis, rest = divmod(time.time_ns(), 1_000_000)
        with self._lock:
            # Never twice the same moment, nor back: 60 bits of time, a 4096th of a millisecond each.
            self._last = stamp = max(millis << 12 | rest * 4096 // 1_000_000, self._last + 1)
        random = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
        return uuid.UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random)


_new_event_id = _Ids()


@lru_cache(maxsize=4096)
def _is_secret(key: str) -> bool:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower().replace("-", "_")
    return not _SECRET_WORDS.isdisjoint(name.split("_")) or any(name == end or name.endswith(f"_{end}") for end in _SECRET_ENDS)


class _Clean:
    """Makes a value storable, and notes whether Python's own JSON encoder would write it as RFC 8785 does."""

    def __init__(self) -> None:
        self.plain = True

    def __call__(self, value: Any, where: str) -> Any:
        """The value with unstorable characters replaced; raises SecretInAudit for a key that names a secret and holds a value."""
        kind = type(value)
        if kind is str:
            return _UNSTORABLE.sub("\ufffd", value)
        if value is None or kind is bool or (kind is int and -(2**53) < value < 2**53):
            return value
        if kind is dict:
            out = {}
            for key, item in value.items():
                name = _UNSTORABLE.sub("\ufffd", str(key))
                # "password_changed": true says that something happened; it is not the secret.
                if not (item is None or isinstance(item, bool)) and _is_secret(name):
                    if where in ("before", "after"):
                        raise SecretInAudit(f"{where}.{name} looks like a secret; leave it out of the event")
                    # Deeper keys may be names that people chose (of a feature, a metric): the event happens, without the value.
                    item = LEFT_OUT
                # Beyond ASCII the two sort keys differently.
                self.plain = self.plain and name.isascii()
                out[name] = self(item, f"{where}.{name}")
            return out
        if kind in (list, tuple):
            return [self(item, where) for item in value]
        # Floats, times, ids, decimals, sets, enumerations: the careful encoder knows them.
        self.plain = False
        if isinstance(value, dict):
            return self(dict(value), where)
        if isinstance(value, list | tuple | set | frozenset):
            return self(sorted(value, key=str) if isinstance(value, set | frozenset) else list(value), where)
        # str.__str__ makes a plain string of any subclass; str() may give the same object back.
        return _UNSTORABLE.sub("\ufffd", str.__str__(value)) if isinstance(value, str) else value

    def dump(self, document: dict[str, Any]) -> str:
        """RFC 8785 text of a document whose parts have been cleaned."""
        if self.plain:
            return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return canonical_json(document)


def record(
    action: str,
    *,
    actor: Actor,
    obj_type: str,
    obj_id: str,
    obj_label: str = "",
    usecase_id: str | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
    decision_id: str | None = None,
) -> Event:
    """Write one event in the caller's open transaction: it exists exactly if the change does. One INSERT.

    `before` and `after` hold the changed fields only, as JSON-safe values (times, ids and decimals are turned into text).
    Raises UndeclaredAction, SecretInAudit, ValueError (no actor or object) or RuntimeError (no transaction): all
    programming errors, and all of them end the transaction.
    """
    if not sql.is_open():
        raise RuntimeError("audit.record needs the transaction of the change it speaks of")
    if action not in catalogue.actions():
        raise UndeclaredAction(f"{action} is in no audit_actions.py; declare it with a sentence that says what it means")
    if not actor.id or not actor.label or actor.kind not in ACTOR_KINDS:
        raise ValueError("an event needs an actor with a kind, an id and a label")
    if not obj_type or not str(obj_id):
        raise ValueError("an event needs the type and id of its object")
    event_id, at = _new_event_id(), now()
    clean = _Clean()
    # Version 1 of the format: see docs/reference/audit-trail.md before changing it.
    payload = clean.dump(
        {
            "v": VERSION,
            "id": str(event_id),
            "occurred_at": iso(at),
            "action": action,
            "actor": {
                "kind": actor.kind,
                "id": clean(str(actor.id), "actor"),
                "label": clean(str(actor.label), "actor"),
                "on_behalf_of": clean(str(actor.on_behalf_of), "actor"),
            },
            "object": {
                "type": clean(str(obj_type), "object"),
                "id": clean(str(obj_id), "object"),
                "label": clean(str(obj_label), "object"),
            },
            "usecase_id": None if usecase_id is None else clean(str(usecase_id), "usecase_id"),
            "decision_id": None if decision_id is None else clean(str(decision_id), "decision_id"),
            "request_id": clean(str(actor.request_id), "actor"),
            "before": clean(before, "before"),
            "after": clean(after, "after"),
            "reason": clean(str(reason), "reason"),
        }
    )
    sql.change("INSERT INTO audit_event (id, payload) VALUES ($1, $2)", [event_id, payload])
    return Event(
        id=event_id,
        payload=payload,
        occurred_at=at,
        action=action,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=actor.label,
        on_behalf_of=actor.on_behalf_of,
        object_type=obj_type,
        object_id=str(obj_id),
        object_label=str(obj_label),
        usecase_id=None if usecase_id is None else str(usecase_id),
        decision_id=None if decision_id is None else str(decision_id),
        request_id=actor.request_id,
    )


@dataclass(frozen=True)
class Export:
    """What an export holds. `sha256` is that of the ZIP, as the event says."""

    filename: str
    events: int
    tree_size: int
    sha256: str
    event: Event


@transaction.atomic
def export(*, actor: Actor, target: IO[bytes], usecase_id: str | None = None, left_out: int = 0) -> Export:
    """Write a verifiable ZIP of the sealed events of one use case, or of the whole trail, to `target` (binary, seekable).

    Whole trail: auditors and administrators (NotAllowed). A use case: those who may see it (NotFound). `left_out` is how many
    events were not sealed when it began (`selectors.wait_until_sealed`), told in the manifest. The export is itself an event,
    written before a byte leaves. Raises Conflict before anything was sealed and TrailDamaged when the trail contradicts its seal.
    """
    if usecase_id is None:
        if not actor.sees_everything:
            raise NotAllowed("Only auditors and administrators export the whole trail. Name a use case you may see as `usecase_id`.")
    elif not actor.sees_everything and usecase_id not in {str(u) for u in selectors.visible_usecases(actor)}:
        raise NotFound("There is no such use case, or you may not see it. Check its id.")
    checkpoint = selectors.latest_checkpoint()
    if checkpoint is None:
        raise Conflict("Nothing has been sealed yet. Check that the seal process runs (`./gatehouse doctor`), then try again.")
    moment = now()
    try:
        count = write_bundle(
            target,
            scope=Scope(usecase_id),
            events=selectors.sealed_events(tree_size=checkpoint.tree_size, usecase_id=usecase_id),
            checkpoint=checkpoint,
            manifest={
                "exported_at": iso(moment),
                "exported_by": {"id": actor.id, "label": actor.label},
                "not_yet_sealed": left_out,
            },
        )
    except SealBroken as error:
        raise selectors.TrailDamaged(f"The export was stopped: {error}. Verify the whole trail with the offline verifier.") from error
    if count == 0:
        raise NotFound("There is no sealed event of this use case. Check its id.")
    target.seek(0)
    digest = hashlib.file_digest(target, "sha256").hexdigest()  # type: ignore[arg-type]
    target.seek(0)
    event = record(
        "audit.trail.exported",
        actor=actor,
        obj_type="trail" if usecase_id is None else "usecase",
        obj_id=usecase_id or "trail",
        obj_label="the whole trail" if usecase_id is None else "the trail of one use case",
        usecase_id=usecase_id,
        after={"events": count, "tree_size": checkpoint.tree_size, "root": bytes(checkpoint.root).hex(), "sha256": digest},
    )
    name = f"audit-{slugify(usecase_id or 'trail')}-{moment:%Y%m%dT%H%M%SZ}.zip"
    return Export(filename=name, events=count, tree_size=checkpoint.tree_size, sha256=digest, event=event)

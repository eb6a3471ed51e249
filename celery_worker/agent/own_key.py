"""This host's own key, which signs its reports, and how it is rotated: the old key signs a hand-over to the new one.

    python -m celery_worker.agent.own_key --key agent.pem --overlap 24

The hand-over travels with every report until the overlap is over; the portal believes it because the key that it knows has signed it.
The agent may run meanwhile: it takes up the new key with its next report.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from celery_worker import orders, rotation
from celery_worker.handover import LONGEST_OVERLAP

log = logging.getLogger(__name__)


class RotationRefused(Exception):
    """The key is not rotated; the message says why and what to do."""


def public_file(key: Path) -> Path:
    """The public keys that belong to a private one: `agent-public.json` beside `agent.pem`."""
    return key.with_name(f"{key.stem}-public.json")


class OwnKey:
    """Signs with the key as it is on disk now; a file that was replaced is read again. Safe to use from many threads.

    A rotation that broke off after the portal may have heard of it is finished, or the next key would be the only one believed one day.
    Raises OSError, ValueError, TypeError for a key that cannot be read at the start. Later the one that is known goes on signing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._seen: tuple[int, int] = (0, 0)
        self._key = orders.load_private_key(path)
        self._handovers: list[dict[str, Any]] = []

    def sign(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload in an envelope, with the hand-overs that the portal may not have heard of; those are signed themselves."""
        key, handovers = self._now()
        envelope = orders.sign(payload, private_key=key)
        return {**envelope, "handovers": handovers} if handovers else envelope

    def _now(self) -> tuple[Ed25519PrivateKey, list[dict[str, Any]]]:
        public = public_file(self._path)
        with self._guard:
            try:
                _go_on(self._path)
            except (OSError, ValueError, KeyError, TypeError, orders.OrderRefused) as error:
                log.error("a rotation of the agent's key broke off; run it again as the agent's user: %s", error)
            try:
                seen = (self._path.stat().st_mtime_ns, public.stat().st_mtime_ns if public.exists() else 0)
                if seen != self._seen:
                    self._key = orders.load_private_key(self._path)
                    self._seen = seen
                if seen[1]:
                    self._handovers = _of_key(self._key, rotation.live_handovers(public, datetime.now(UTC)))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.error("the agent's keys cannot be read, the one before goes on signing: %s", error)
            return self._key, self._handovers


def rotate(key: Path, *, overlap: timedelta) -> rotation.Rotation:
    """Rotate it. One rotation at a time; one that broke off is gone on with. Raises RotationRefused, OSError, ValueError."""
    if not timedelta(0) < overlap <= LONGEST_OVERLAP:
        raise RotationRefused(f"overlap: give hours above 0 and at most {LONGEST_OVERLAP.days * 24}.")
    if not key.is_file():
        raise RotationRefused(f"There is no key at {key}. Run this on the serving host, as the agent's user.")
    public, moment = public_file(key), datetime.now(UTC)
    with _alone(key):
        if not public.exists():
            made = orders.load_private_key(key)
            public.write_text(json.dumps({"keys": [orders.public_entry(made.public_key(), purpose="agent")]}, indent=1) + "\n", "utf-8")
        waiting = _of_key(orders.load_private_key(key), rotation.live_handovers(public, moment))
        if waiting and not rotation.pending_of(key).exists():
            until = next(e["accepted_until"] for e in json.loads(public.read_text("utf-8"))["keys"] if e["key_id"] == waiting[-1]["key_id"])
            raise RotationRefused(
                f"The key before this one is accepted until {until}, for reports that still wait here. Rotate again after that; if somebody "
                "else holds the present key, make another and register it with register_host --replace-key."
            )
        done = rotation.begin(key=key, public=public, purpose="agent", overlap=overlap, moment=moment)
        rotation.finish(key)
        return done


def _go_on(key: Path) -> None:
    """Finish a rotation that was published and whose process is gone; one that still runs is left to itself."""
    public, pending = public_file(key), rotation.pending_of(key)
    if not pending.exists() or not public.exists():
        return
    with _alone(key, wait=False) as alone:
        if not alone or not pending.exists():
            return
        document = json.loads(public.read_text("utf-8"))
        mine = orders.key_id(orders.load_private_key(key).public_key())
        told = [json.loads(h["payload"]) for h in document.get("handovers", []) if h["key_id"] == mine]
        if not told or told[-1]["new"] != orders.key_id(orders.load_private_key(pending).public_key()):
            return
        issued, until = (orders.time_from_text(told[-1][name], field=name) for name in ("issued_at", "old_accepted_until"))
        if until <= datetime.now(UTC):
            # Perhaps the portal never heard of it: told anew it is believed, and where it was heard the new key is known already.
            rotation.begin(key=key, public=public, purpose="agent", overlap=until - issued, moment=datetime.now(UTC))
        rotation.finish(key)
        log.warning("a rotation of the agent's key had broken off and is finished: key %s signs now", told[-1]["new"])


def _of_key(key: Ed25519PrivateKey, handovers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that this key signed, or that led to it; what other keys said before it was put here concerns nobody any more."""
    mine = orders.key_id(key.public_key())
    return [h for h in handovers if mine in (h["key_id"], json.loads(h["payload"])["new"])]


@contextmanager
def _alone(key: Path, *, wait: bool = True) -> Iterator[bool]:
    """The only one to rotate this key. Without `wait` it is False where another one does."""
    descriptor = os.open(key.with_name(f".{key.stem}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def main(arguments: list[str] | None = None) -> int:
    """Rotate, and say which keys. Exit status 1 when it is refused."""
    parser = argparse.ArgumentParser(prog="python -m celery_worker.agent.own_key", description="Rotate the key that signs this host's reports.")
    parser.add_argument("--key", type=Path, default=os.environ.get("GATEHOUSE_AGENT_KEY") or None, help="the private key (GATEHOUSE_AGENT_KEY)")
    parser.add_argument("--overlap", type=float, default=24.0, metavar="HOURS", help="hours in which reports of the old key still count (24)")
    options = parser.parse_args(arguments)
    if options.key is None:
        parser.error("--key: name the private key, or set GATEHOUSE_AGENT_KEY.")
    try:
        done = rotate(options.key, overlap=timedelta(hours=options.overlap))
    except (RotationRefused, OSError, ValueError, TypeError, OverflowError) as error:
        print(f"The agent's key is not rotated. {error}", file=sys.stderr)
        return 1
    print(f"Reports are signed with key {done.new} now.")
    print(f"Key {done.old} counts until {done.accepted_until:%Y-%m-%d %H:%M} UTC, and is gone here.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

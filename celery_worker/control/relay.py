"""The relay: claims outbox messages, hands them to the broker, marks them sent. Run as `python -m celery_worker.control.relay`.

Any number may run: a claimed message is skipped by the others. One that dies between sending and marking makes a message come
twice, never get lost. While the broker is away, messages wait in the database.
"""

import logging
import os
import signal
import threading
from typing import Any, Literal

from kombu.exceptions import OperationalError

from celery_worker.control.app import app

from django.db import DatabaseError, close_old_connections  # isort: skip - the app above sets Django up

from apps.outbox import services as outbox  # isort: skip
from celery_worker import faults  # isort: skip
from celery_worker.control import topics  # isort: skip

log = logging.getLogger("gatehouse.relay")

IDLE_S = 0.1
FAILED_S = 1.0
BATCH = 100


class Relay:
    """One relay; `run` until `stop` is set."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def run(self) -> None:
        """Move messages until told to stop; a message in hand is finished first."""
        log.info("relay started")
        while not self.stop.is_set():
            try:
                pause = 0.0 if self.pass_on() else IDLE_S
            except DatabaseError as error:
                log.error("the database is away: %s", type(error).__name__)
                pause = FAILED_S
            close_old_connections()
            if pause:
                self.stop.wait(pause)
        log.info("relay stopped")

    def pass_on(self) -> int:
        """Claim one batch and send it; returns how many messages were claimed."""
        messages = outbox.claim(limit=BATCH)
        if messages:
            faults.reach("relay.claimed", *(message.topic for message in messages))
        away = False
        for message in messages:
            outcome = "away" if away else self.send(message.topic, message.body)
            # Once the broker does not answer, the rest of the batch need not wait for it one by one.
            away = away or outcome == "away"
            if outcome == "sent":
                faults.reach("relay.sent", message.topic)
                outbox.mark_sent([message.id])
            else:
                outbox.mark_failed(message.id)
        return len(messages) if not away else 0

    def send(self, topic: str, body: dict[str, Any]) -> Literal["sent", "away", "unknown"]:
        """Hand one message to the broker: `sent` (or nothing left to say), `away` (the broker), `unknown` (the topic)."""
        try:
            what = topics.route(topic, body)
        except topics.UnknownTopic as error:
            log.error("%s", error)
            return "unknown"
        if what is None:
            return "sent"
        try:
            app.send_task(
                what.task,
                args=list(what.args),
                kwargs=what.kwargs,
                queue=what.queue,
                expires=what.expires_at,
                retry=False,
                ignore_result=True,
            )
        except (OperationalError, OSError) as error:
            log.error("the broker is away, %s waits: %s", topic, type(error).__name__)
            return "away"
        return "sent"


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    os.environ["GATEHOUSE_PROCESS"] = "relay"
    relay = Relay()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop.set())
    relay.run()


if __name__ == "__main__":
    main()

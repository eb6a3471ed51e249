"""The agent's doors: two tasks, each one call. Whatever arrives is material to check, never to trust."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from celery_worker import orders
from celery_worker.agent.app import app, runtime

log = logging.getLogger(__name__)


# Acknowledged early, unlike other tasks: an accepted order is on our own disk and resumed from there after a crash. A
# late acknowledgement would have the broker deliver it again an hour later, to be refused and audited as a replay.
@app.task(name=orders.EXECUTE_TASK, acks_late=False)
def execute(*arguments: Any, **named: Any) -> None:
    """Carry out one signed order. Anything else than one envelope is refused like any other bad order."""
    envelope = arguments[0] if len(arguments) == 1 and not named else None
    runtime.host.execute(envelope)


@app.task(name=orders.ACKNOWLEDGE_TASK)
def acknowledge(*arguments: Any, **named: Any) -> None:
    """Forget the reports that control says, under its signature, to have stored."""
    host = runtime.host
    envelope = arguments[0] if len(arguments) == 1 and not named else None
    try:
        host.trust.learn(envelope)
        report_ids = orders.read_acknowledgement(envelope, keys=host.trust.at(datetime.now(UTC)), audience=host.settings.host)
    except orders.OrderRefused as refusal:
        log.warning("acknowledgement refused: %s", refusal)
        return
    host.reporter.acknowledge(report_ids)

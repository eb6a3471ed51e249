"""One JSON object a line, for processes of the portal and of a serving host alike. Only the standard library."""

from __future__ import annotations

import importlib
import json
import logging
import os
from datetime import UTC, datetime
from typing import Any


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON line; `extra={"event": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Messages must never hold secrets: nothing here could know them."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= self.more()
        event = getattr(record, "event", None)
        if isinstance(event, dict):
            line |= event
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)

    def more(self) -> dict[str, object]:
        """What a process knows about each of its lines."""
        return {}


def configure() -> None:
    """Send every logger's lines, and Python's warnings, to standard error as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.getLogger().handlers = [handler]
    logging.captureWarnings(True)


def say_when_told_to_end() -> None:
    """Celery answers a signal past `logging`, with an empty line and plain text: have it write a line like any other."""
    worker: Any = importlib.import_module("celery.apps.worker")

    def say(message: str, stream: Any = None) -> None:
        # In a signal's handler: the thread it interrupted may hold the lock of `logging`.
        record = logging.makeLogRecord({"name": "celery.worker", "levelno": logging.INFO, "levelname": "INFO", "msg": message})
        os.write(2, JsonFormatter().format(record).encode() + b"\n")

    worker.safe_say = say

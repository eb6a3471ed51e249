"""One JSON object a line on standard output. Callers pass plain fields; nothing secret is ever passed."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

_FLOOD_LINES_PER_S = 50


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """A line: time, level, logger, message, then the fields."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _FloodGate(logging.Filter):
    """Lets so many lines a second pass and counts the rest: refusals must not fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._passed = 0
        self._held_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """False for lines beyond the allowance; the next second's first line tells how many."""
        second = int(time.monotonic())
        if second != self._second:
            if self._held_back:
                record.fields = getattr(record, "fields", {}) | {"lines_held_back": self._held_back}
            self._second, self._passed, self._held_back = second, 0, 0
        self._passed += 1
        if self._passed > _FLOOD_LINES_PER_S and record.levelno < logging.ERROR:
            self._held_back += 1
            return False
        return True


def configure() -> None:
    """Send every logger's lines through the JSON formatter."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonFormatter())
    handler.addFilter(_FloodGate())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)


def event(logger: logging.Logger, level: int, message: str, **fields: Any) -> None:
    """Log `message` with `fields` as members of the line."""
    logger.log(level, message, extra={"fields": fields})

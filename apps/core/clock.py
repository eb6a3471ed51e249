"""The one place that reads the time, so that a test can set it."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime

_fixed: ContextVar[datetime | None] = ContextVar("fixed_now", default=None)


def now() -> datetime:
    """The moment, aware, in UTC."""
    return _fixed.get() or datetime.now(tz=UTC)


@contextlib.contextmanager
def fixed(moment: datetime) -> Iterator[None]:
    """Make `now()` return `moment` inside the block (tests and replays)."""
    token = _fixed.set(moment)
    try:
        yield
    finally:
        _fixed.reset(token)


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds and `Z`, fixed width, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

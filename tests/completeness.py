"""Every test is a test of the trail's completeness: a transaction of ours that changes governed rows records an event.

What is watched is the outermost transaction that code of the portal opens (a door's, or a service's that a test calls): at its end,
if rows of governed tables were changed since its beginning, an event must have been recorded since. Whoever changed nothing, or was
rolled back, owes none.

With `GATEHOUSE_TESTS_BREAK_AUDIT` naming a file, everything of ours that a test's body calls is done twice: first with recording broken
on purpose, and then taken back, so that the test goes on as if nothing had been. Such a first time may only end in that error, or
with no governed row changed. What the test itself asserts says nothing then. The file, to whose name each process adds its number,
lists which of our functions were undone in this way.
"""

import contextlib
import functools
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

OURS = ("apps.", "celery_worker.", "portal.", "demo.")
BROKEN = os.environ.get("GATEHOUSE_TESTS_BREAK_AUDIT", "")
WORDS = "the trail is broken on purpose"
BREAK = f"""
CREATE FUNCTION tests_break() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('tests.broken', true) = 'on' THEN
        RAISE EXCEPTION '{WORDS}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tests_break BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION tests_break();
"""
_BEGUN = "SELECT coalesce(max(id), 0) FROM audit_row"
_CHANGED = """
SELECT array_agg(DISTINCT r.operation || ' of ' || r.table_name || coalesce(' (' ||
         (SELECT string_agg(k, ', ') FROM jsonb_object_keys(CASE WHEN r.operation = 'UPDATE' THEN r.after END) k) || ')', ''))
  FROM audit_row r WHERE r.id > $1 AND r.xid = pg_current_xact_id_if_assigned()
"""
_LAST_EVENT = "SELECT id FROM audit_event WHERE xid = pg_current_xact_id_if_assigned() ORDER BY id DESC LIMIT 1"

untold: list[str] = []
undone: set[str] = set()


def _ask(connection: Any, sql: str, *values: Any) -> Any:
    """One value, past Django, so that no test that counts statements sees it."""
    row = psycopg.RawCursor(connection.connection).execute(sql, values, prepare=False).fetchone()
    return row[0] if row else None


def _opener() -> str:
    """Which code opens the transaction: `module.function`; empty where it is not ours."""
    frame = sys._getframe(2)
    if frame.f_code.co_name == "inner" and "func" in frame.f_locals:
        return _name(frame.f_locals["func"])
    if frame.f_globals.get("__name__") == "apps.core.doors":
        return _name(frame.f_locals.get("function"))
    name = f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_name}"
    return name if name.startswith(OURS) else ""


def _name(function: Any) -> str:
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    return name if name.startswith(OURS) else ""


def _callers(trace: Any) -> set[str]:
    """Our functions through which an error came."""
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    names = {f"{f.f_globals.get('__name__', '')}.{f.f_code.co_qualname}" for f in frames}
    return {name for name in names if name.startswith(OURS)}


def _outermost(connection: Any) -> bool:
    return all(block._from_testcase for block in connection.atomic_blocks)


def _in_transaction(connection: Any) -> bool:
    made = connection.connection
    return made is not None and not connection.needs_rollback and made.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Watch every transaction of this process."""
    from django.db import DEFAULT_DB_ALIAS, connections
    from django.db.transaction import Atomic

    enter, leave = Atomic.__enter__, Atomic.__exit__

    def watched_enter(self: Any) -> None:
        opener = ""
        if self.using in (None, DEFAULT_DB_ALIAS) and self.savepoint and not self._from_testcase:
            connection = connections[DEFAULT_DB_ALIAS]
            if _outermost(connection):
                opener = _opener()
        enter(self)
        marks = self.__dict__.setdefault("_watched", [])
        if opener and _in_transaction(connection):
            marks.append((opener, _ask(connection, _BEGUN), _ask(connection, _LAST_EVENT)))
        else:
            marks.append(None)

    def watched_exit(self: Any, kind: Any, value: Any, trace: Any) -> None:
        mark = self.__dict__["_watched"].pop()
        if mark is not None and kind is None:
            connection = connections[DEFAULT_DB_ALIAS]
            if _in_transaction(connection):
                opener, begun, last = mark
                changed = _ask(connection, _CHANGED, begun)
                if changed and _ask(connection, _LAST_EVENT) == last:
                    where = "".join(traceback.format_stack(limit=12)[:-1])
                    untold.append(f"{opener} changed governed rows and recorded no event: {'; '.join(changed)}\n{where}")
        leave(self, kind, value, trace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Atomic, "__enter__", watched_enter)
        patch.setattr(Atomic, "__exit__", watched_exit)
        yield


@pytest.fixture(scope="session", autouse=True)
def transactions_are_watched() -> Iterator[None]:
    """From the first test to the last."""
    with watching():
        yield


@pytest.fixture(autouse=True)
def every_change_is_told() -> Iterator[None]:
    """Fail the test in which a change escaped the trail."""
    untold.clear()
    yield
    found = list(untold)
    untold.clear()
    assert not found, "\n\n".join(found)


class _Back(Exception):
    """Takes back what was tried."""


_trying: list[bool] = []


def _try_broken(function: Any, /, *args: Any, **kwargs: Any) -> None:
    """Call it without a trail, and take back whatever it did; `untold` says if it changed something."""
    from django.db import connection, transaction

    if (
        _trying != [False]
        or threading.current_thread() is not threading.main_thread()
        or not _outermost(connection)
        or connection.needs_rollback
    ):
        return
    _trying[0] = True
    block = transaction.atomic()
    block._from_testcase = True  # so that a durable one may be inside
    try:
        with block:
            psycopg.RawCursor(connection.connection).execute("SELECT set_config('tests.broken', 'on', true)", prepare=False)
            try:
                function(*args, **kwargs)
            finally:
                error = sys.exc_info()[1]
                while error is not None and WORDS not in str(error):
                    error = error.__cause__ or error.__context__
                undone.update(_callers(error.__traceback__) | {_name(function)} if error is not None else ())
            raise _Back
    except Exception:
        pass
    finally:
        _trying[0] = False


def _twice(function: Any) -> Any:
    """The function, tried without a trail before each call from outside a transaction."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if _name(function):
            _try_broken(function, *args, **kwargs)
        return function(*args, **kwargs)

    return wrapper


if BROKEN:
    # Before the portal's services are imported.
    from django.db.transaction import Atomic as _Atomic

    from apps.core import doors as _doors

    def _decorate(self: Any, function: Any, decorate: Any = _Atomic.__call__) -> Any:
        made = decorate(self, function)

        @functools.wraps(made)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if _name(function):
                _try_broken(made, *args, **kwargs)
            return made(*args, **kwargs)

        return wrapper

    def _durable(function: Any, durable: Any = _doors.durable) -> Any:
        return _twice(durable(function))

    def _call(function: Any, /, *args: Any, call: Any = _doors.call, **kwargs: Any) -> Any:
        _try_broken(functools.partial(call, function), *args, **kwargs)
        return call(function, *args, **kwargs)

    _Atomic.__call__ = _decorate  # type: ignore[method-assign]
    _doors.durable, _doors.call = _durable, _call


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Only when the trail is broken on purpose: run the test's body so, and forget what it says."""
    if not BROKEN:
        return (yield)
    from django.db import connection

    names = getattr(item, "fixturenames", ())
    if "db" not in names or "transactional_db" in names or not connection.in_atomic_block:
        pytest.skip("has no transaction of its own to break the trail in")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED;" + BREAK)
    untold.clear()
    _trying[:] = [False]
    try:
        return (yield)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return None
    finally:
        _trying.clear()
        Path(f"{BROKEN}.{os.getpid()}").write_text("\n".join(sorted(filter(None, undone))))

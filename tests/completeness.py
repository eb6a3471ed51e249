"""Every test is a test of the trail's completeness: a transaction of ours that changes governed rows records an event.

What is watched is the outermost transaction that code of the portal opens (a door's, or a service's that a test calls): at its end,
if rows of governed tables were changed since its beginning, an event must have been recorded since. Whoever changed nothing, or was
rolled back, owes none.

With `GATEHOUSE_TESTS_BREAK_AUDIT` naming a file, recording fails from the moment a test's own body begins. Then what tests assert says
nothing, and only one thing is looked at: no transaction of ours may end well after it has changed a governed row. The file, to whose
name each process adds its number, lists which of our functions were undone in this way (see audit/test_broken_trail.py).
"""

import contextlib
import os
import sys
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
CREATE FUNCTION tests_break() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{WORDS}'; END $$;
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
    if frame.f_code.co_name == "inner" and frame.f_code.co_filename.endswith("contextlib.py"):
        function = frame.f_locals["func"]
        name = f"{function.__module__}.{function.__qualname__}"
    else:
        name = f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_name}"
        if name.startswith("apps.core.doors."):
            function = frame.f_locals.get("function")
            name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', name)}"
    return name if name.startswith(OURS) else ""


def _callers(trace: Any) -> set[str]:
    """Our functions through which an error came."""
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    names = {f"{f.f_globals.get('__name__', '')}.{f.f_code.co_qualname}" for f in frames}
    return {name for name in names if name.startswith(OURS)}


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
            if all(block._from_testcase for block in connection.atomic_blocks):
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
        if BROKEN and WORDS in str(value):
            undone.update(_callers(trace))
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Only when the trail is broken on purpose: break it, run the test, and forget what it says."""
    if not BROKEN:
        return (yield)
    from django.db import connection

    names = getattr(item, "fixturenames", ())
    if "db" not in names or "transactional_db" in names or not connection.in_atomic_block:
        pytest.skip("has no transaction of its own to break the trail in")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED;" + BREAK)
    untold.clear()
    try:
        return (yield)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return None
    finally:
        Path(f"{BROKEN}.{os.getpid()}").write_text("\n".join(sorted(undone)))

"""Statements that a script asks with every call: sent prepared, so that PostgreSQL plans them once a connection.

Composing and planning them anew costs several times what answering them costs. Values are written `$1`, `$2`, as PostgreSQL does.
Whoever watches Django's statements (a test that counts them, `execute_wrapper`) sees these too: then they take Django's own way.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, models, transaction

Rows = list[tuple[Any, ...]]
Change = tuple[str, Sequence[Any]]
Row = TypeVar("Row", bound=models.Model)
_soon: ContextVar[bool] = ContextVar("settled_soon", default=False)
# (name, statement, values) of what `at_once` is about to send.
_gathered: ContextVar[list[tuple[str, str, Sequence[Any]]] | None] = ContextVar("gathered", default=None)
_VALUE = re.compile(r"\$(\d+)")


def ask(sql: str, params: Sequence[Any] = ()) -> Rows:
    """Rows of one statement. On a kept connection that has died since, it is asked once more on a new one: no probe goes before it.

    So outside a transaction it has to be a SELECT.
    """
    db = connections[DEFAULT_DB_ALIAS]
    if db.queries_logged or db.execute_wrappers:
        return _djangos(db, sql, params)
    kept = db.connection is not None and not db.in_atomic_block
    try:
        found = _rows(db, sql, params)
    except DatabaseError:
        if not kept or db.connection is None or not db.connection.closed:
            raise
        db.close()
        found = _rows(db, sql, params)
    # An answer is as good as a probe.
    db.health_check_done = True  # type: ignore[attr-defined]
    return found


def ask_in_turn(*questions: tuple[str, Sequence[Any]] | None) -> list[Rows]:
    """Rows of several statements that go to PostgreSQL in one message; none for None.

    Each sees what has changed while the one before it waited.
    """
    db = connections[DEFAULT_DB_ALIAS]
    if not any(questions):
        return [[] for _ in questions]
    if db.queries_logged or db.execute_wrappers:
        return [_djangos(db, *each) if each else [] for each in questions]
    with together():
        asked = [_cursor(db).execute(each[0], each[1], prepare=True) if each else None for each in questions]
    return [each.fetchall() if each else [] for each in asked]


def change(sql: str, params: Sequence[Any] = (), *, found: Change | None = None) -> None:
    """A statement without an answer, in an open transaction. Inside `together` it is not waited for; `at_once` makes it part of one.

    found: a statement before it, whose rows it reads under this name.
    """
    db = connections[DEFAULT_DB_ALIAS]
    gathered = _gathered.get()
    if gathered is not None:
        if db.in_atomic_block:
            raise RuntimeError("inside sql.at_once no transaction is begun: it would commit before what is gathered, and without it")
        gathered += [("found", *found)] if found else []
        gathered.append((f"part{len(gathered)}", sql, params))
        return
    if found:
        text, given = _joined([("found", *found)], (sql, params))
        change(text, given)
        return
    if db.queries_logged or db.execute_wrappers:
        _djangos(db, sql, params)
        return
    with db.wrap_database_errors:
        _cursor(db).execute(sql, params, prepare=True)


def insert(row: models.Model) -> None:
    """Store a new row whose key is its own, as `save(force_insert=True)` does: one statement, no signals."""
    db = connections[DEFAULT_DB_ALIAS]
    text, fields = _insert(type(row))
    change(text, [f.get_db_prep_save(f.pre_save(row, True), db) for f in fields])
    row._state.adding = False


def part_of(model: type[Row], **values: Any) -> Row:
    """A stored row of which these columns were read; the others are read when they are asked for."""
    # Django takes them in the order of the table, whatever the order of the names.
    fields = [f for f in model._meta.concrete_fields if f.attname in values]
    db = connections[DEFAULT_DB_ALIAS]
    read = [f.from_db_value(values[f.attname], None, db) if hasattr(f, "from_db_value") else values[f.attname] for f in fields]
    return model.from_db(DEFAULT_DB_ALIAS, [f.attname for f in fields], read)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What is changed in here goes to PostgreSQL in one message; the first error is raised at the end.

    Django's own statements do not belong in here: they ask how many rows there were before PostgreSQL has said it.
    """
    db = connections[DEFAULT_DB_ALIAS]
    if db.queries_logged or db.execute_wrappers:
        yield
        return
    db.ensure_connection()
    with db.wrap_database_errors, db.connection.pipeline():
        if _soon.get():
            _soon.set(False)
            change("SET LOCAL synchronous_commit TO off")
        yield


def is_open() -> bool:
    """Whether what is changed now is part of something that happens as a whole; not in a transaction begun inside `at_once`."""
    return connections[DEFAULT_DB_ALIAS].in_atomic_block != (_gathered.get() is not None)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """What is changed in here is one statement, a transaction by itself: all of it or nothing, and once there and back in place of three
    times. When this returns it is committed, on disk unless it is `settled_soon`. Inside a transaction it is part of that.

    Only `change` and `insert` belong in here, and none may rely on what another has done, but by `found`. Constraints are checked at the
    end, those of an index at once. What raises in here leaves nothing behind.
    """
    db = connections[DEFAULT_DB_ALIAS]
    if _gathered.get() is not None:
        # The statement being gathered already takes this in.
        yield
        return
    if db.in_atomic_block:
        with together():
            yield
        return
    if db.queries_logged or db.execute_wrappers:
        with transaction.atomic():
            yield
        return
    gathered: list[tuple[str, str, Sequence[Any]]] = []
    token = _gathered.set(gathered)
    try:
        yield
    finally:
        _gathered.reset(token)
    if gathered:
        settings = "SELECT set_config('synchronous_commit', 'off', true)" if _soon.get() else "SELECT 1"
        _soon.set(False)
        _rows(db, *_joined(gathered, (settings, ())))


def _joined(parts: list[tuple[str, str, Sequence[Any]]], last: Change) -> Change:
    """One statement of several, with its values."""
    text = _joined_text(tuple((name, sql, len(params)) for name, sql, params in parts), last[0])
    return text, [value for _, _, params in parts for value in params] + list(last[1])


@lru_cache(maxsize=256)
def _joined_text(parts: tuple[tuple[str, str, int], ...], last: str) -> str:
    made, before = [], 0

    def moved(sql: str) -> str:
        return _VALUE.sub(lambda m: f"${int(m[1]) + before}", sql)

    for name, sql, count in parts:
        made.append(f"{name} AS ({moved(sql)})")
        before += count
    return f"WITH {', '.join(made)} {moved(last)}"


@contextlib.contextmanager
def settled_soon() -> Iterator[None]:
    """Let the transaction inside commit before the disk has it. For what is found again should the machine lose power."""
    token = _soon.set(True)
    try:
        yield
    finally:
        _soon.reset(token)


@cache
def _insert(model: type[models.Model]) -> tuple[str, list[Any]]:
    fields = [f for f in model._meta.concrete_fields if not isinstance(f, models.AutoField)]
    names = ", ".join(f'"{f.column}"' for f in fields)
    values = ", ".join(f"${i + 1}" for i in range(len(fields)))
    return f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES ({values})', fields  # noqa: S608


def _djangos(db: Any, sql: str, params: Sequence[Any]) -> Rows:
    text = _VALUE.sub("%s", sql.replace("%", "%%"))
    with db.cursor() as cursor:
        cursor.execute(text, [params[int(number) - 1] for number in _VALUE.findall(sql)])
        return cursor.fetchall() if cursor.description else []


def _cursor(db: Any) -> Any:
    # Not Django's cursor, which puts values into the text: PostgreSQL would meet a new statement each time.
    db.validate_no_broken_transaction()
    db.ensure_connection()
    made = db.connection
    if made.prepare_threshold is None:
        # First time on this connection. The plan is kept from the first use on; left alone, PostgreSQL plans anew five times more.
        made.prepare_threshold = 0
        psycopg.RawCursor(made).execute("SET plan_cache_mode = force_generic_plan")
    return psycopg.RawCursor(made)


def _rows(db: Any, sql: str, params: Sequence[Any]) -> Rows:
    with db.wrap_database_errors, _cursor(db) as cursor:
        found: Rows = cursor.execute(sql, params, prepare=True).fetchall()
    return found

"""The one durable transaction a door opens around its one domain call."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import transaction

from apps.core import sql

P = ParamSpec("P")
R = TypeVar("R")


def durable(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a door (view method, task, command): everything inside commits together or not at all.

    Never nested: a door that calls a door raises, because half of it could then survive a rollback.
    Do network calls before or after, never inside.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with transaction.atomic(durable=True):
            return function(*args, **kwargs)

    return wrapper


def call(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Make one service call in its own durable transaction, for a door that also does network work around it."""
    with transaction.atomic(durable=True):
        return _plain(function)(*args, **kwargs)


def at_once(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Make one call of a service whose change is one statement (`sql.at_once`), which is its own transaction: none is opened around it."""
    return function(*args, **kwargs)


def at_once_repairable(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """`at_once` for what `call_repairable` is for."""
    with sql.settled_soon():
        return function(*args, **kwargs)


def call_repairable(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """`call` for what a reconciler makes again from other durable rows: its commit does not wait for the disk.

    A crash of PostgreSQL's machine may lose it, a crash of ours never does; what it committed after is not lost without it.
    """
    with sql.settled_soon():
        return call(function, *args, **kwargs)


def _plain(function: Callable[P, R]) -> Callable[P, R]:
    """A service without its own `atomic`: directly below a door's it would be a savepoint that nobody goes back to."""
    held = getattr(function, "__closure__", None) or ()
    if any(isinstance(cell.cell_contents, transaction.Atomic) for cell in held):
        inner: Callable[P, R] = function.__wrapped__  # type: ignore[attr-defined]
        return inner
    return function

"""The one durable transaction a door opens around its one domain call."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import transaction

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
        return function(*args, **kwargs)

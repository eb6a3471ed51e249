"""Questions asked with every call of the MLflow endpoint: composed once for each kind of actor, then only filled in and asked.

Who sees a model is told in one place, by querysets that lead through use cases and grants. Composing their SQL takes several
milliseconds, asking the database less than one. So the SQL is kept with stand-ins where the person, the names and the moment belong.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet

from apps.core import sql
from apps.core.actor import Actor
from apps.core.clock import fixed, now

Build = Callable[[Actor, list[str]], QuerySet[Any, Any] | list[QuerySet[Any, Any]]]
PERSON = UUID("5f000000-0000-4000-8000-00000000005f")
MARK = "\x01"
MOMENT = datetime(1901, 1, 1, 1, 1, 1, 1, tzinfo=UTC)
# Longer lists are filled up with what they hold already, so that few lengths are composed.
LENGTHS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the person, the moment of asking, or the value of this number, goes."""

    of: str | int


@lru_cache(maxsize=512)
def _composed(
    build: Build, kind: str, roles: frozenset[str], functions: frozenset[str], known: bool, length: int
) -> tuple[str, tuple[Any, ...]] | None:
    """The statement of a build and what goes where: the person and each value once, however often the statement names them."""
    stand_in = Actor(kind=kind, id="-", label="-", user_id=str(PERSON) if known else None, roles=roles, functions=functions)
    places: list[Any] = []
    # Delegations and decisions begin and end: whatever a build compares with the time is compared with that of each call.
    with fixed(MOMENT):
        built = build(replace(stand_in), [f"{MARK}{i}" for i in range(length)])
        if isinstance(built, QuerySet):
            text = _text(built, places)
            return (text, tuple(places)) if text else None
        texts = [_text(each.values("pk")[:1], places) for each in built]
    return f"SELECT {', '.join(f'EXISTS({each})' if each else 'false' for each in texts)}", tuple(places)


def _text(rows: QuerySet[Any, Any], places: list[Any]) -> str:
    """SQL of a queryset, "" for one that is empty whatever is stored; what it needs is added to `places`."""
    try:
        text, params = rows.query.sql_with_params()
    except EmptyResultSet:
        return ""
    pieces = text.split("%s")
    for i, param in enumerate(params):
        place = _place(param)
        if not isinstance(place, _Place) or place not in places:
            places.append(place)
        pieces[i] += f"${places.index(place) + 1 if isinstance(place, _Place) else len(places)}"
    return "".join(pieces).replace("%%", "%")


def _place(param: Any) -> Any:
    if str(param) == str(PERSON):
        return _Place("person")
    if isinstance(param, str) and param.startswith(MARK):
        return _Place(int(param[len(MARK) :]))
    if isinstance(param, datetime):
        if param != MOMENT:
            raise RuntimeError(f"{param.isoformat()} would be kept for every later call; compare with now() itself")
        return _Place("moment")
    return param


def _asked(build: Build, actor: Actor, values: Sequence[Any]) -> tuple[str, list[Any]] | None:
    made = _composed(build, actor.kind, actor.roles, actor.functions, bool(actor.user_id), len(values))
    if made is None:
        return None
    text, places = made
    given = {"person": actor.user_id, "moment": now()}
    return text, [p if not isinstance(p, _Place) else given[p.of] if isinstance(p.of, str) else values[p.of] for p in places]


def rows(build: Build, actor: Actor, values: Sequence[str]) -> list[tuple[Any, ...]]:
    """Rows of `build(actor, values)`, a `values_list` over text values. `build` is a plain function that looks nothing up itself."""
    length = next((n for n in LENGTHS if n >= len(values)), len(values))
    asked = _asked(build, actor, [*values, *[values[-1]] * (length - len(values))])
    return sql.ask(*asked) if asked else []


def exactly(build: Build, actor: Actor, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The same of a build that takes just these values, each of its own kind: a list may be one of them."""
    asked = _asked(build, actor, values)
    return sql.ask(*asked) if asked else []


def several(actor: Actor, *questions: tuple[Build, str], also: sql.Change | None = None) -> tuple[list[sql.Rows], sql.Rows]:
    """Rows of several builds, each about one value, and of one statement more, in one message. A build that gives a list of querysets is
    asked which have a row.
    """
    *found, more = sql.ask_in_turn(*(_asked(build, actor, [value]) for build, value in questions), also)
    return found, more

"""Form fields for pages: what a field is, and how its text becomes a value. Refusals name the field and what to write."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from apps.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form, as templates/components/fields.html draws it.

    kind: an HTML input type, or `select`, `textarea`, `checkbox`. choices: (value, words) of a select. list: id of a datalist without its `-list`.
    """

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    rows: int = 3
    list: str = ""
    value: str = ""
    errors: tuple[str, ...] = ()
    wide: bool = False
    autocomplete: str = ""


def filled(fields: Iterable[Field], values: Mapping[str, Any], errors: Mapping[str, Sequence[str]] | None = None) -> list[Field]:
    """The fields with what was typed (or stored) and what was wrong with it."""
    wrong = errors or {}
    return [replace(f, value=text(values.get(f.name)), errors=tuple(wrong.get(f.name, ()))) for f in fields]


def text(value: Any) -> str:
    """A stored value as the text of an input; None and False become empty, whole numbers lose their `.0`."""
    if value is None or value is False:
        return ""
    if value is True:
        return "on"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def typed(fields: Iterable[Field], post: Mapping[str, Any]) -> dict[str, str]:
    """What was typed into these fields, trimmed; a missing field is empty."""
    return {f.name: str(post.get(f.name) or "").strip() for f in fields}


def number(given: Mapping[str, str], name: str) -> float | None:
    """The number typed into a field, or None when it is empty; raises Invalid naming the field."""
    raw = given.get(name, "").strip().replace("\u2212", "-")
    if not raw:
        return None
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Invalid(f"{name}: write a plain number such as 12.5, without a thousands separator.", errors={name: ["Not a number."]})
    return value


def whole(given: Mapping[str, str], name: str) -> int | None:
    """The whole number typed into a field, or None when it is empty; raises Invalid naming the field."""
    value = number(given, name)
    if value is not None and not value.is_integer():
        raise Invalid(f"{name}: write a whole number.", errors={name: ["Not a whole number."]})
    return None if value is None else int(value)


def moment(given: Mapping[str, str], name: str) -> datetime | None:
    """The date or moment typed into a field, read as UTC when it names no zone; None when empty; raises Invalid naming the field."""
    raw = re.sub(r"\s*UTC$|Z$", "+00:00", given.get(name, "").strip())
    if not raw:
        return None
    try:
        value = datetime.fromisoformat(raw)
    except ValueError as error:
        raise Invalid(f"{name}: write a day as 2026-11-18, or a moment as 2026-11-18 14:00 (UTC).", errors={name: ["Not a date."]}) from error
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def needed(given: Mapping[str, Any], *names: str) -> None:
    """Raise Invalid naming every one of these that is empty."""
    errors = {name: ["Needed."] for name in names if given.get(name) in (None, "")}
    if errors:
        raise Invalid(f"{', '.join(errors)}: needed.", errors=errors)

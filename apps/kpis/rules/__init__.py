"""What KPIs hold to be true. Pure: effects (statistics), value (attainment and money), rows (what may be measured)."""

import math
from typing import Any

from apps.core.actor import Actor
from apps.core.errors import Conflict, Invalid, NotAllowed

DIMENSIONS = ("business", "quality", "technical", "adoption")
DIRECTIONS = ("higher", "lower")
AGGREGATIONS = ("mean", "sum", "ratio", "percentile")
CADENCES = ("hourly", "daily", "weekly", "monthly", "quarterly")
# What a measured KPI may still change; the rest would give its history another meaning.
CHANGEABLE_ONCE_MEASURED = ("name", "question", "target", "floor", "cadence", "owner", "source", "primary")


def check_may_change(may_change: bool) -> None:
    """Whoever may change the use case may define and measure its KPIs."""
    if not may_change:
        raise NotAllowed("You may read these KPIs but not change them. Ask the use case's owner for change access.")


def check_may_set_rates(actor: Actor) -> None:
    """Rate cards belong to administrators."""
    if not actor.is_admin:
        raise NotAllowed("Only an administrator may set a rate card. Ask one.")


def check_definition(fields: dict[str, Any]) -> dict[str, Any]:
    """Words trimmed, choices known, figures finite; raises Invalid naming each field that is wrong. Only given fields are checked."""
    clean, errors = dict(fields), {}
    for name, limit in (("name", 200), ("unit", 50), ("question", 5_000), ("source", 300)):
        if name in clean:
            clean[name] = str(clean[name] or "").strip()
            if (name in ("name", "unit") and not clean[name]) or len(clean[name]) > limit:
                errors[name] = [f"Needed, at most {limit} characters." if name in ("name", "unit") else f"At most {limit} characters."]
    choices = {"dimension": DIMENSIONS, "direction": DIRECTIONS, "aggregation": AGGREGATIONS, "cadence": CADENCES}
    for name, known in choices.items():
        if name in clean and clean[name] not in known:
            errors[name] = [f"Choose one of {', '.join(known)}."]
    for name in ("target", "floor", "scale"):
        value = clean.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)):
            errors[name] = ["Give a finite number."]
    if "scale" in clean and "scale" not in errors and not (clean["scale"] or 0) > 0:
        errors["scale"] = ["Give a number above 0."]
    if errors:
        first = next(iter(errors))
        raise Invalid(f"{first}: {errors[first][0]}", errors=errors)
    return clean


def check_changeable(changed: dict[str, Any], measured: bool) -> None:
    """Unit, direction, aggregation, scale and dimension are fixed by the first measurement."""
    fixed = sorted(set(changed) - set(CHANGEABLE_ONCE_MEASURED))
    if measured and fixed:
        raise Conflict(f"{fixed[0]}: it cannot change once there are measurements. Define a new KPI.", errors={fixed[0]: ["Fixed."]})


def check_rebaseline(note: str, there_is_one: bool) -> str:
    """A new baseline beside an old one needs a reason."""
    if there_is_one and not note.strip():
        raise Invalid("note: there is a baseline already. Say why a new one takes its place.", errors={"note": ["Needed."]})
    return note.strip()

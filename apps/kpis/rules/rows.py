"""Rows of measurements as they arrive: each is good, or has its errors by field. Pure."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from apps.core.canonical import canonical_json, sha256_hex
from apps.core.errors import Invalid

MAX_ROWS = 20_000
OURS_ID, OURS_SOURCE = "monitor:", "portal:"
CLOCKS_DIFFER = timedelta(minutes=5)
FIELDS = (
    "period_start", "period_end", "value", "numerator", "denominator", "n", "variance", "source", "version_label", "external_id",
)  # fmt: skip
MODES = ("all", "good")


@dataclass(frozen=True, slots=True)
class Row:
    """One good row, value computed and in the KPI's unit."""

    period_start: datetime
    period_end: datetime
    value: float
    n: int
    numerator: float | None
    denominator: float | None
    variance: float | None
    source: str
    version_label: str
    external_id: str

    def content(self) -> tuple[Any, ...]:
        """What makes two rows of one external_id the same."""
        return (self.period_start, self.period_end, self.value, self.n, self.numerator, self.denominator, self.variance,
                self.source, self.version_label)  # fmt: skip


def check_mode(mode: str) -> str:
    """all: one bad row refuses the batch. good: the good rows land."""
    if mode not in MODES:
        raise Invalid("mode: all (nothing lands when a row is bad) or good (the good rows land).", errors={"mode": ["Unknown."]})
    return mode


def check_size(rows: Sequence[Any]) -> None:
    """At least one row, not more than a batch holds."""
    if not rows or len(rows) > MAX_ROWS:
        raise Invalid(f"rows: send 1 to {MAX_ROWS:,} rows at a time.", errors={"rows": ["Too few or too many."]})


def _moment(value: Any) -> datetime | str:
    """An aware moment, or what is wrong."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return "Give a moment such as 2026-11-01T00:00:00Z."
    if not isinstance(value, datetime):
        return "Give a moment such as 2026-11-01T00:00:00Z."
    return value if value.tzinfo is not None else "Give the time zone, such as Z."


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _text(row: Mapping[str, Any], name: str, limit: int, errors: dict[str, str]) -> str:
    value = row.get(name, "") or ""
    if not isinstance(value, str) or len(value) > limit or any(ord(c) < 32 for c in value):
        errors[name] = f"Give text of at most {limit} characters."
        return ""
    return value.strip()


def not_theirs(row: Row, moment: datetime) -> dict[str, str]:
    """What a row from outside may not say: the marks of what the portal measures itself, and a period that has not ended."""
    errors: dict[str, str] = {}
    if row.external_id.startswith(OURS_ID):
        errors["external_id"] = f"Names that begin with {OURS_ID} are the portal's own. Use another."
    if row.source.casefold().startswith(OURS_SOURCE):
        errors["source"] = f"Sources that begin with {OURS_SOURCE} are the portal's own. Say where the figure is from."
    if row.period_end > moment + CLOCKS_DIFFER:
        errors["period_end"] = "The period has not ended yet. Send it when it has."
    return errors


def of_known_version(row: Row, known: Collection[str]) -> dict[str, str]:
    """What is wrong with the version a row names; known: labels of all versions of the models linked to the use case."""
    if not row.version_label or row.version_label in known:
        return {}
    if not known:
        return {
            "version_label": "No model version is linked to this use case. Link the model first, or leave it empty for figures without one."
        }
    model = row.version_label.rpartition("/")[0]
    same = sorted((k for k in known if k.rpartition("/")[0] == model), key=lambda k: (len(k), k)) or sorted(known)
    told = ", ".join(same[-5:])
    return {"version_label": f"No version of a model linked to this use case. Use one of them ({told}), or link the model first."}


def read(row: Any, *, aggregation: str, scale: float) -> tuple[Row | None, dict[str, str]]:
    """(row, {}) or (None, {field: what is wrong}).

    mean: value, or numerator with n. sum: value or numerator. ratio: numerator and denominator. percentile: value.
    n defaults to 1 (ratio: also 1; say how many single observations there were).
    """
    if not isinstance(row, Mapping):
        return None, {"row": "Give an object."}
    errors: dict[str, str] = {str(name): "Unknown field." for name in row if name not in FIELDS}
    moments = {name: _moment(row.get(name)) for name in ("period_start", "period_end")}
    errors |= {name: value for name, value in moments.items() if isinstance(value, str)}
    start, end = moments["period_start"], moments["period_end"]
    if isinstance(start, datetime) and isinstance(end, datetime) and end <= start:
        errors["period_end"] = "It must lie after period_start."
    numbers: dict[str, float | None] = {}
    for name in ("value", "numerator", "denominator", "variance"):
        numbers[name] = _number(row[name]) if row.get(name) is not None else None
        if row.get(name) is not None and numbers[name] is None:
            errors[name] = "Give a finite number."
    if numbers["variance"] is not None and numbers["variance"] < 0:
        errors["variance"] = "It cannot be negative."
    n = row.get("n", 1)
    n = 1 if n is None else n
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 2_147_483_647:
        errors["n"] = "Give a whole number, 1 or more."
        n = 1
    texts = {name: _text(row, name, limit, errors) for name, limit in (("source", 300), ("version_label", 300), ("external_id", 200))}
    value = numbers["value"]
    if not errors:
        value, problem = _value(numbers, n, aggregation, scale)
        errors |= problem
    if errors or value is None or not isinstance(start, datetime) or not isinstance(end, datetime):
        return None, errors
    content = {"start": start, "end": end, "n": n, **numbers, "value": value, **texts}
    return (
        Row(
            period_start=start, period_end=end, value=value, n=n, numerator=numbers["numerator"], denominator=numbers["denominator"],
            variance=numbers["variance"], source=texts["source"], version_label=texts["version_label"],
            external_id=texts["external_id"] or f"content:{sha256_hex(canonical_json(content))}",
        ),
        {},
    )  # fmt: skip


def _value(numbers: Mapping[str, float | None], n: int, aggregation: str, scale: float) -> tuple[float | None, dict[str, str]]:
    """The period's value in the KPI's unit, or what is missing for it."""
    value, above, below = numbers["value"], numbers["numerator"], numbers["denominator"]
    if aggregation == "ratio":
        if above is None or below is None:
            name = "numerator" if above is None else "denominator"
            return None, {name: "A ratio needs numerator and denominator."}
        if below <= 0:
            return None, {"denominator": "It must be more than 0."}
        return above / below * scale, {}
    if value is None and above is not None and aggregation in ("mean", "sum"):
        value = above / n if aggregation == "mean" else above
    if value is None:
        return None, {"value": "Needed."}
    return value, {}

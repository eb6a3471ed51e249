"""What each kind of monitor may be told, with defaults and bounds. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.errors import Invalid
from apps.monitoring.rules.costs import METRICS


@dataclass(frozen=True, slots=True)
class Setting:
    """A number with its default, bounds and meaning; None as default means that it must be given."""

    default: float | None
    low: float
    high: float
    meaning: str
    whole: bool = False


_WINDOW = {
    "min_rows": Setting(400, 2, 1e7, "rows a window needs to be judged", whole=True),
    "max_age_s": Setting(86_400, 1, 30 * 86_400, "seconds after which a window is closed even with fewer rows"),
    "settle_s": Setting(3, 0, 3600, "seconds that rows are given to arrive"),
}
SETTINGS: Mapping[str, Mapping[str, Setting]] = {
    "drift": {
        **_WINDOW,
        "psi_bound": Setting(0.2, 0.001, 10, "stability index from which a feature has drifted"),
        "bins": Setting(10, 2, 50, "quantile bins of the reference", whole=True),
        "drifted_share": Setting(0.2, 0.0, 1, "share of drifted features that opens an incident"),
        "confidence": Setting(0.999, 0.5, 0.9999999, "confidence that chance alone raises no feature beyond its bound"),
    },
    "cost": {
        **_WINDOW,
        "miss_cost": Setting(None, 0, 1e12, "money for an event that was not predicted"),
        "false_alarm_cost": Setting(None, 0, 1e12, "money for a prediction in vain"),
        "positive": Setting(1, -1e12, 1e12, "prediction and label that mean the event"),
        "bound_per_1k": Setting(None, 0, 1e15, "how much dearer per 1,000 rows the live version may be than the other"),
        "min_pairs": Setting(400, 2, 1e9, "rows that both versions answered, with a label", whole=True),
        "pool_pairs": Setting(
            1500, 2, 1e9, "newest pairs that are judged together, in whole windows; older ones no longer count", whole=True
        ),
        "confidence": Setting(0.95, 0.5, 0.999999, "confidence of the two-sided interval of the difference"),
        "lookback_s": Setting(30 * 86_400, 60, 400 * 86_400, "how long before its label a prediction may have been made"),
        "auto_roll_back": Setting(1, 0, 1, "1: go back to the other version by itself when the live one is worse", whole=True),
    },
    "latency": {
        **_WINDOW,
        "p99_ms": Setting(0, 0, 3.6e6, "milliseconds at the 99th percentile; 0: what the use case requires"),
    },
}
METRICS_OF = {"drift": (), "cost": METRICS, "latency": ("latency_p99_ms", "latency_mean_ms")}


def check_config(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a monitor with defaults filled in, and `kpis` (metric -> KPI slug). Raises Invalid naming the setting."""
    if kind not in SETTINGS:
        raise Invalid(f"kind: {kind!r} is not one of {', '.join(SETTINGS)}.", errors={"kind": ["Unknown."]})
    known = SETTINGS[kind]
    if unknown := sorted(set(config) - set(known) - {"kpis"}):
        raise Invalid(f"config.{unknown[0]}: unknown. Known: {', '.join(known)}, kpis.", errors={f"config.{unknown[0]}": ["Unknown."]})
    out: dict[str, Any] = {name: _number(name, setting, config.get(name, setting.default)) for name, setting in known.items()}
    kpis = config.get("kpis", {})
    if not isinstance(kpis, Mapping) or not all(isinstance(v, str) for v in kpis.values()):
        raise Invalid("config.kpis: give an object of metric and KPI slug.", errors={"config.kpis": ["Not an object."]})
    if strange := sorted(set(kpis) - set(METRICS_OF[kind])):
        allowed = ", ".join(METRICS_OF[kind]) or "none"
        raise Invalid(f"config.kpis.{strange[0]}: unknown metric. Known: {allowed}.", errors={f"config.kpis.{strange[0]}": ["Unknown."]})
    return out | {"kpis": dict(kpis)}


def _number(name: str, setting: Setting, value: Any) -> float | int:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and setting.low <= value <= setting.high
    if not good or (setting.whole and value != int(value)):
        kind = "a whole number" if setting.whole else "a number"
        raise Invalid(
            f"config.{name}: give {kind} from {setting.low:g} to {setting.high:g} ({setting.meaning}).",
            errors={f"config.{name}": ["Needed, and in range."]},
        )
    return int(value) if setting.whole else float(value)


def check_rows(rows: Any, *, most: int) -> list[dict[str, Any]]:
    """A list of rows of named plain values. Raises Invalid."""
    if not isinstance(rows, list) or not 1 <= len(rows) <= most:
        raise Invalid(f"reference.rows: give 1 to {most:,} rows.", errors={"reference.rows": ["Not such a list."]})
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not row or not all(v is None or isinstance(v, int | float | str | bool) for v in row.values()):
            raise Invalid(
                f"reference.rows[{number}]: give an object of plain values.", errors={f"reference.rows[{number}]": ["Not a row."]}
            )
    return rows


SEVERITIES = ("low", "medium", "high", "critical")


def check_incident(*, severity: str, title: str, detail: str) -> None:
    """What an incident must say. Raises Invalid naming the field."""
    if severity not in SEVERITIES:
        raise Invalid(f"severity: one of {', '.join(SEVERITIES)}.", errors={"severity": ["Unknown."]})
    if not title.strip() or len(title) > 300:
        raise Invalid("title: say in at most 300 characters what is wrong.", errors={"title": ["Needed."]})
    if not detail.strip():
        raise Invalid("detail: say what was seen.", errors={"detail": ["Needed."]})

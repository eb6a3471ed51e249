"""What a load test may ask, and what its figures mean. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from apps.core.errors import Conflict, Invalid

MAX_RATE_RPS = 5_000.0
MAX_REQUESTS = 500_000
MAX_EXAMPLES = 1_000
# A run that got through less than this share of the asked load was not at that load, whatever its latencies.
LEAST_THROUGHPUT_SHARE = 0.95
# Poisson arrivals scatter around the rate: this many standard deviations are not held against the run.
THROUGHPUT_DEVIATIONS = 4.0
LIMITS = {"multiplier": (0.01, 1_000.0), "duration_s": (1.0, 900.0), "max_error_share": (0.0, 1.0)}


def check_number(name: str, value: float) -> float:
    """A finite number within LIMITS; raises Invalid naming the field."""
    low, high = LIMITS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
        raise Invalid(f"{name}: give a number from {low:g} to {high:g}.", errors={name: ["Out of range."]})
    return float(value)


def check_rate(rate_rps: float, duration_s: float) -> None:
    """What the agent's generator can send."""
    if rate_rps > MAX_RATE_RPS or rate_rps * duration_s > MAX_REQUESTS:
        raise Invalid(
            f"multiplier: {rate_rps:g} requests/s for {duration_s:g} s is more than {MAX_RATE_RPS:g}/s or {MAX_REQUESTS:,} requests."
            " Ask for less.",
            errors={"multiplier": ["Too much."]},
        )


def check_examples(examples: Any) -> list[dict[str, Any]]:
    """1 to 1,000 objects of named plain values; an empty list means the model's own input example. Raises Invalid."""
    if not isinstance(examples, list) or len(examples) > MAX_EXAMPLES:
        raise Invalid(f"examples: give a list of at most {MAX_EXAMPLES} rows.", errors={"examples": ["Not such a list."]})
    for number, row in enumerate(examples):
        if not isinstance(row, dict) or not row or not all(isinstance(v, int | float | str | bool) for v in row.values()):
            raise Invalid(
                f"examples[{number}]: give an object of feature names and plain values.", errors={f"examples[{number}]": ["Not a row."]}
            )
    return examples


def check_not_answering(environment: str, weight: int) -> None:
    """Load on an engine that answers production traffic hurts its callers."""
    if environment == "production" and weight > 0:
        raise Conflict("deployment: it answers production traffic. Test the version on a pilot endpoint.")


def rows_of_example(document: Any) -> list[dict[str, Any]]:
    """Rows of an MLflow input example (`serving_input_example.json` or `input_example.json`); [] when it holds no named rows.

    Forms: `{"dataframe_split": {"columns", "data"}}`, `{"columns", "data"}`, `{"dataframe_records": [...]}`, `[{...}]`.
    """
    if isinstance(document, Mapping):
        if "dataframe_split" in document:
            return rows_of_example(document["dataframe_split"])
        if "dataframe_records" in document:
            return rows_of_example(document["dataframe_records"])
        columns, data = document.get("columns"), document.get("data")
        if isinstance(columns, list) and isinstance(data, list) and all(isinstance(r, list) and len(r) == len(columns) for r in data):
            return rows_of_example([dict(zip(map(str, columns), r, strict=True)) for r in data])
        return []
    if not isinstance(document, Sequence) or isinstance(document, str):
        return []
    rows = [r for r in document if isinstance(r, dict) and r and all(isinstance(v, int | float | str | bool) for v in r.values())]
    return rows[:MAX_EXAMPLES]


def cost_per_1k(
    *,
    cpu_cores: float,
    gpus: int,
    memory_gib: float,
    cpu_hour: float,
    gpu_hour: float,
    memory_gib_hour: float,
    per_1k_requests: float,
    throughput_rps: float,
) -> float | None:
    """Cost of 1,000 answers at this throughput: the hourly price of the engine's share over answers an hour, plus the card's own
    price for 1,000 requests. None without throughput."""
    if throughput_rps <= 0:
        return None
    hourly = cpu_cores * cpu_hour + gpus * gpu_hour + memory_gib * memory_gib_hour
    return hourly / (throughput_rps * 3600) * 1000 + per_1k_requests


def verdict(
    *,
    p99_ms: float | None,
    latency_target_ms: float | None,
    error_share: float,
    max_error_share: float,
    sent: int,
    completed: int,
    rate_rps: float,
    duration_s: float,
    interrupted: bool,
) -> tuple[bool, str]:
    """(passed, why not). Passed: the whole load was sent and answered, p99 within the target, errors within their bound."""
    expected = rate_rps * duration_s
    least = max(1.0, min(LEAST_THROUGHPUT_SHARE * expected, expected - THROUGHPUT_DEVIATIONS * math.sqrt(expected)))
    reasons = []
    if interrupted:
        reasons.append("The run was broken off before its end.")
    elif sent < least:
        reasons.append(f"Only {sent} of about {expected:.0f} requests could be sent.")
    if error_share > max_error_share:
        reasons.append(f"{error_share:.2%} of requests failed, at most {max_error_share:.2%} may.")
    if completed == 0 or p99_ms is None:
        reasons.append("Nothing was answered.")
    elif latency_target_ms is not None and p99_ms > latency_target_ms:
        reasons.append(f"p99 was {p99_ms:.1f} ms, at most {latency_target_ms:g} ms was asked.")
    if latency_target_ms is None:
        reasons.append("The use case states no latency to hold. Set its requirements and test again.")
    return not reasons, " ".join(reasons)


def short_of(
    *, rate_rps: float, p99_ms: float | None, completed: int, required_rps: float, latency_target_ms: float, min_requests: int
) -> str:
    """What a run that met its own bounds lacks for the requirements in force, with the remedy; "" when nothing.

    Requirements may have changed since the run, in either direction.
    """
    reasons = []
    # Both are products of the same two floats, perhaps in another order.
    if rate_rps < required_rps * (1 - 1e-9):
        reasons.append(f"It sent {rate_rps:g}/s; today's requirements ask for {required_rps:g}/s. Test again.")
    if p99_ms is None or p99_ms > latency_target_ms:
        reasons.append(f"Today's requirements ask for p99 at most {latency_target_ms:g} ms. Make the engine faster and test again.")
    if completed < min_requests:
        reasons.append(f"Only {completed:,} requests were answered, at least {min_requests:,} are asked. Test for longer.")
    return " ".join(reasons)

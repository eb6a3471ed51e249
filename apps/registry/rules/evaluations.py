"""Evaluations and bias audits: the published schema of a document, and what the portal computes from one. Pure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from apps.core.errors import Invalid

Z95 = 1.959963984540054
MOST_ROWS = 500
MOST_TEXT = 2_000
FOUR_FIFTHS = 0.8

_METRIC = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 200},
        "value": {"type": "number", "description": "Left out when successes and n are given: their share."},
        "successes": {"type": "integer", "minimum": 0, "description": "With n: a share, whose 95% interval is Wilson's."},
        "n": {"type": "integer", "minimum": 1, "description": "Cases behind the figure."},
        "low": {"type": "number", "description": "Lower end of a 95% interval computed elsewhere."},
        "high": {"type": "number", "description": "Upper end of it."},
        "standard_error": {"type": "number", "minimum": 0, "description": "Gives a normal 95% interval."},
        "better": {"enum": ["higher", "lower"], "description": "Which way is better; left out: not known."},
    },
}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Evaluation or bias audit of a model version",
    "type": "object",
    "required": ["kind", "name"],
    "additionalProperties": False,
    "properties": {
        "kind": {"enum": ["evaluation", "bias_audit"]},
        "name": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "A later document of the same kind and name takes its place.",
        },
        "task": {"type": "string", "maxLength": 200, "description": "Such as binary-classification."},
        "note": {"type": "string", "maxLength": MOST_TEXT},
        "dataset": {
            "type": "object",
            "required": ["name", "digest"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 500},
                "digest": {"type": "string", "minLength": 1, "maxLength": 64},
            },
        },
        "metrics": {"type": "array", "maxItems": MOST_ROWS, "items": _METRIC},
        "groups": {
            "type": "array",
            "maxItems": MOST_ROWS,
            "items": {
                "type": "object",
                "required": ["attribute", "group", "n", "selected"],
                "additionalProperties": False,
                "properties": {
                    "attribute": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Such as sex or age band."},
                    "group": {"type": "string", "minLength": 1, "maxLength": 200},
                    "n": {"type": "integer", "minimum": 1, "description": "Cases of the group."},
                    "selected": {"type": "integer", "minimum": 0, "description": "Those given the favourable outcome."},
                    "metrics": {"type": "array", "maxItems": 100, "items": _METRIC},
                },
            },
        },
        "reference": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "attribute -> group the others are compared with; left out: the group selected most often.",
        },
    },
}


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95% interval of a share: E. B. Wilson, JASA 22 (1927), as recommended by Brown, Cai and DasGupta, Statist. Sci. 16 (2001)."""
    share, z2 = successes / n, Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    return low, 1.0 if successes == n else min(1.0, middle + half)


def ratio_of_shares(a: int, n_a: int, b: int, n_b: int) -> tuple[float | None, float, float]:
    """(a/n_a) / (b/n_b) with its 95% interval: Katz et al., Biometrics 34 (1978), on the logarithm.

    Where a count is 0, one half is added to each and one to each size for the interval (Walter, Biometrika 62, 1975). The ratio is
    None when the reference was never selected; then there is nothing to divide by.
    """
    x, nx, y, ny = (float(v) for v in (a, n_a, b, n_b))
    if a == 0 or b == 0:
        x, nx, y, ny = x + 0.5, nx + 1, y + 0.5, ny + 1
    middle = math.log((x / nx) / (y / ny))
    half = Z95 * math.sqrt(max(0.0, 1 / x - 1 / nx + 1 / y - 1 / ny))
    ratio = (a / n_a) / (b / n_b) if b else None
    return ratio, math.exp(middle - half) if a else 0.0, math.exp(middle + half)


def checked(document: Any) -> dict[str, Any]:
    """The document, when it is one in the schema; Invalid names the field and what to write."""
    found = _object("document", document, SCHEMA)
    kind = found.get("kind")
    _distinct("metrics", [m["name"] for m in found.get("metrics", [])])
    for index, metric in enumerate(found.get("metrics", [])):
        _check_metric(f"metrics[{index}]", metric)
    groups = found.get("groups", [])
    _distinct("groups", [(g["attribute"], g["group"]) for g in groups])
    for index, group in enumerate(groups):
        at = f"groups[{index}]"
        if group["selected"] > group["n"]:
            raise _wrong(f"{at}.selected", f"at most n, which is {group['n']}")
        _distinct(f"{at}.metrics", [m["name"] for m in group.get("metrics", [])])
        for number, metric in enumerate(group.get("metrics", [])):
            _check_metric(f"{at}.metrics[{number}]", metric)
    known = {(g["attribute"], g["group"]) for g in groups}
    for attribute, group in found.get("reference", {}).items():
        if (attribute, group) not in known:
            raise _wrong(f"reference.{attribute}", "one of the groups of that attribute")
    if kind == "evaluation" and not found.get("metrics"):
        raise _wrong("metrics", "at least one metric")
    if kind == "bias_audit":
        counts = _attributes(groups)
        if not counts or min(len(v) for v in counts.values()) < 2:
            raise _wrong("groups", "at least two groups of each attribute")
    return found


def _object(at: str, value: Any, schema: Mapping[str, Any]) -> Any:
    """The value as the schema wants it; the little of JSON Schema that ours uses."""
    if "enum" in schema:
        if value not in schema["enum"]:
            raise _wrong(at, f"one of {', '.join(schema['enum'])}")
        return value
    kind = schema["type"]
    if kind == "object":
        return _fields(at, value, schema)
    if kind == "array":
        if not isinstance(value, list) or len(value) > schema["maxItems"]:
            raise _wrong(at, f"a list of at most {schema['maxItems']}")
        return [_object(f"{at}[{i}]", each, schema["items"]) for i, each in enumerate(value)]
    if kind == "string":
        if not isinstance(value, str) or "\x00" in value or not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 200):
            raise _wrong(at, f"text of at most {schema.get('maxLength', 200):,} characters")
        return value
    whole = kind == "integer"
    good = isinstance(value, int) if whole else isinstance(value, int | float)
    if not good or isinstance(value, bool) or not math.isfinite(value) or abs(value) > 1e15:
        raise _wrong(at, "a whole number" if whole else "a plain number")
    if value < schema.get("minimum", -math.inf):
        raise _wrong(at, f"at least {schema['minimum']}")
    return value


def _fields(at: str, value: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
    inside = "" if at == "document" else f"{at}."
    if not isinstance(value, dict):
        raise _wrong(at, "an object of names and values")
    known = schema.get("properties", {})
    if missing := [name for name in schema.get("required", ()) if name not in value]:
        raise _wrong(f"{inside}{missing[0]}", "a value; it is needed")
    out = {}
    for name, each in value.items():
        rule = known.get(name) or schema.get("additionalProperties")
        if not rule or not isinstance(name, str) or len(name) > 200 or "\x00" in name:
            raise _wrong(f"{inside}{str(name)[:60]}", f"nothing; known here: {', '.join(known)}")
        out[name] = _object(f"{inside}{name}", each, rule)
    return out


def _check_metric(at: str, metric: Mapping[str, Any]) -> None:
    """A value, or a share; whole intervals; a share inside its cases."""
    share = "successes" in metric
    if share and "n" not in metric:
        raise _wrong(f"{at}.n", "how many cases the successes are of")
    if share and metric["successes"] > metric["n"]:
        raise _wrong(f"{at}.successes", f"at most n, which is {metric['n']}")
    if share and ({"value", "low", "high", "standard_error"} & set(metric)):
        raise _wrong(f"{at}.value", "nothing beside successes and n: the portal computes the share and its interval")
    if not share and "value" not in metric:
        raise _wrong(f"{at}.value", "a number, or successes and n")
    if ("low" in metric) != ("high" in metric):
        raise _wrong(f"{at}.{'high' if 'low' in metric else 'low'}", "the other end of the interval too")
    if "low" in metric and not metric["low"] <= metric["value"] <= metric["high"]:
        raise _wrong(f"{at}.low", "an interval that holds the value")
    if "low" in metric and "standard_error" in metric:
        raise _wrong(f"{at}.standard_error", "either an interval or a standard error")


def _distinct(at: str, names: list[Any]) -> None:
    if len(set(names)) != len(names):
        raise _wrong(at, "each name once")


def _wrong(at: str, wanted: str) -> Invalid:
    return Invalid(f"{at}: give {wanted}.", errors={at: [f"Give {wanted}."]})


def _attributes(groups: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    out: dict[str, list[Mapping[str, Any]]] = {}
    for group in groups:
        out.setdefault(group["attribute"], []).append(group)
    return out


def metric_figure(metric: Mapping[str, Any]) -> dict[str, Any]:
    """{name, value, low, high, n, method, better} of one metric; low and high are None where no interval is known."""
    row = {"name": metric["name"], "n": metric.get("n"), "better": metric.get("better", ""), "low": None, "high": None, "method": ""}
    if "successes" in metric:
        low, high = wilson(metric["successes"], metric["n"])
        return row | {"value": metric["successes"] / metric["n"], "low": low, "high": high, "method": "Wilson"}
    row["value"] = float(metric["value"])
    if "low" in metric:
        return row | {"low": float(metric["low"]), "high": float(metric["high"]), "method": "given"}
    if "standard_error" in metric:
        half = Z95 * metric["standard_error"]
        return row | {"low": row["value"] - half, "high": row["value"] + half, "method": "normal"}
    return row


def figures_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a checked document amounts to.

    metrics: as metric_figure. groups: [{attribute, group, n, selected, share, low, high, metrics, ratio, ratio_low, ratio_high,
    reference}]; ratio compares the share with the reference's and is None for the reference itself. worst: the row whose ratio is
    furthest from one (of ratio and its inverse the smaller, `least`), or None.
    """
    rows: list[dict[str, Any]] = []
    for attribute, groups in _attributes(document.get("groups", [])).items():
        named = document.get("reference", {}).get(attribute)
        most = max(groups, key=lambda g: (g["selected"] / g["n"], g["n"]))
        base = next((g for g in groups if g["group"] == named), most)
        for group in groups:
            low, high = wilson(group["selected"], group["n"])
            row: dict[str, Any] = {
                "attribute": attribute, "group": group["group"], "n": group["n"], "selected": group["selected"],
                "share": group["selected"] / group["n"], "low": low, "high": high, "reference": base["group"],
                "metrics": [metric_figure(m) for m in group.get("metrics", [])], "ratio": None, "ratio_low": None, "ratio_high": None,
            }  # fmt: skip
            if group is not base:
                row["ratio"], row["ratio_low"], row["ratio_high"] = ratio_of_shares(
                    group["selected"], group["n"], base["selected"], base["n"]
                )
            rows.append(row)
    return {"metrics": [metric_figure(m) for m in document.get("metrics", [])], "groups": rows, "worst": worst(rows)}


def worst(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The comparison furthest from one: {attribute, group, reference, ratio, least, low, high}; None where nothing is compared.

    least: the ratio, or its inverse where the group fares better than the reference; low: the lower end of its interval.
    """
    found = []
    for row in rows:
        if row["group"] == row["reference"]:
            continue
        ratio = row["ratio"]
        if ratio is None:  # the reference was never selected: it fares worse without bound, unless nobody was selected
            least, low, high = (1.0, 0.0, 1.0) if row["selected"] == 0 else (0.0, 0.0, 1 / row["ratio_low"] if row["ratio_low"] else 0.0)
        elif ratio <= 1:
            least, low, high = ratio, row["ratio_low"], row["ratio_high"]
        else:
            least, low, high = 1 / ratio, 1 / row["ratio_high"], 1 / row["ratio_low"] if row["ratio_low"] else math.inf
        found.append({k: row[k] for k in ("attribute", "group", "reference", "ratio")} | {"least": least, "low": low, "high": high})
    return min(found, key=lambda r: (r["least"], r["low"])) if found else None


# Counts that mlflow.evaluate logs for a binary classifier: the shares that follow from them.
CONFUSION = ("true_positives", "true_negatives", "false_positives", "false_negatives")
LOWER_IS_BETTER = ("log_loss", "loss", "error", "rmse", "mse", "mae", "mape")


def from_run(metrics: Mapping[str, float | None], *, prefix: str, name: str, task: str = "") -> dict[str, Any]:
    """A document made of a run's metrics whose names begin with `prefix` (left out of their names).

    Where mlflow.evaluate logged the four counts of a confusion matrix, accuracy, recall and precision become shares of cases, so that
    they have intervals. Other figures are taken as they are, without an interval. Invalid when no metric has the prefix.
    """
    found = {k[len(prefix) :]: float(v) for k, v in metrics.items() if k.startswith(prefix) and v is not None and k != prefix}
    if not found:
        some = ", ".join(sorted(metrics)[:8]) or "none at all"
        raise _wrong("prefix", f"the beginning of metrics the run has logged; it has {some}")
    rows: list[dict[str, Any]] = []
    counts = [found.get(c) for c in CONFUSION]
    if all(c is not None and c >= 0 and float(c).is_integer() for c in counts):
        tp, tn, fp, fn = (int(c) for c in counts if c is not None)
        shares = {"accuracy_score": (tp + tn, tp + tn + fp + fn), "recall_score": (tp, tp + fn), "precision_score": (tp, tp + fp)}
        for share, (good, n) in shares.items():
            if n:
                rows.append({"name": share, "successes": good, "n": n, "better": "higher"})
                found.pop(share, None)
        for count in CONFUSION:
            found.pop(count)
    cases = found.pop("example_count", None)
    for metric, value in sorted(found.items()):
        row: dict[str, Any] = {"name": metric[:200], "value": value}
        if cases and cases >= 1 and float(cases).is_integer():
            row["n"] = int(cases)
        if any(word in metric for word in LOWER_IS_BETTER):
            row["better"] = "lower"
        rows.append(row)
    return {"kind": "evaluation", "name": name, **({"task": task} if task else {}), "metrics": rows[:MOST_ROWS]}

"""What a request says, read once: path, query and body as one set of values. What is decided on here is what goes on.

MLflow reads more than one spelling of the same thing: `experimentId` for `experiment_id`, ` 1 `, `01` and `1_0` for numbers, a
number for a text, the first of two values in a query, the body of a GET. Each of them is brought to one form here, or refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.http import HttpRequest

from apps.core.errors import Invalid
from apps.registry.machine import body as bodies
from apps.registry.machine import paths
from apps.registry.machine.routes import READ, Route

MOST_QUERY_VALUES = 20_000
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,249}")
# Fields that name something, and the one form in which each may be written.
SHAPES: dict[str, tuple[re.Pattern[str], str]] = {
    "experiment_id": (NUMBER, "a number without leading zeros or spaces"),
    "version": (NUMBER, "a number without leading zeros or spaces"),
    "run_id": (re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}"), "the id of a run"),
    "model_id": (re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"), "the id of a logged model"),
    "dataset_id": (re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"), "the id of a dataset"),
    "schema_id": (PLAIN, "the id of a label schema"),
    "queue_id": (PLAIN, "the id of a review queue"),
    "issue_id": (PLAIN, "the id of an issue"),
    "trace_id": (IDENTIFIER, "the id of a trace"),
    "request_id": (IDENTIFIER, "the id of a trace"),
}
MANY = {
    "experiment_ids": "experiment_id",
    "run_ids": "run_id",
    "trace_ids": "trace_id",
    "request_ids": "trace_id",
    "model_ids": "model_id",
    "schema_ids": "schema_id",
}
TEXTS = (
    "name",
    "new_name",
    "alias",
    "source",
    "experiment_name",
    "path",
    "artifact_path",
    "artifact_file_path",
    "key",
    "stage",
    "completed_by",
    "created_by",
)
REPEATED = frozenset({*MANY, "order_by", "stages"})


@dataclass
class Sent:
    """One request. values: what decides. query, body: what goes on, re-written from what was read."""

    values: dict[str, Any] = field(default_factory=dict)
    query: list[tuple[str, str]] = field(default_factory=list)
    body: dict[str, Any] | None = None

    def put(self, name: str, value: Any) -> None:
        """Replace a value in what goes on."""
        self.values[name] = value
        if self.body is not None:
            self.body[name] = value
        else:
            each = value if isinstance(value, list) else [] if value is None else [value]
            self.query = [(n, v) for n, v in self.query if n != name] + [(name, str(v)) for v in each]

    @property
    def query_string(self) -> str:
        """The query as it goes over the wire."""
        return urlencode(self.query)

    @property
    def content(self) -> bytes | None:
        """The body as it goes over the wire."""
        return None if self.body is None else bodies.rewritten(self.body)


def read(request: HttpRequest, route: Route, found: Mapping[str, str]) -> Sent:
    """Everything the request says. Raises Invalid, TooLarge or PathRefused for what could be read in two ways."""
    raw = str(request.META.get("QUERY_STRING", ""))
    if request.method == "GET":
        if request.META.get("CONTENT_LENGTH") not in (None, "", "0") or "Transfer-Encoding" in request.headers:
            raise Invalid("A GET takes its values in the query. Leave the body out.")
        sent = Sent(query=_pairs(raw))
        sent.values = _of_query(sent, route)
    else:
        if raw:
            what = "search" if route.kind == READ else "write"
            raise Invalid(f"A {what} sent as {request.method} takes its values in the body, not in the query.")
        sent = Sent(body=fold(bodies.json_object(request), "the body"))
        sent.values = sent.body  # type: ignore[assignment]
    _one_run(sent)
    _canonical(sent)
    for name, value in found.items():
        if name == "tag_key":
            continue
        if sent.values.get(name) not in (None, "", value):
            raise Invalid(f"{name}: the address says {value!r} and the values say something else. Give it once.")
        shape(name, value)
    sent.values = {**sent.values, **found}
    return sent


def _pairs(raw: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw, keep_blank_values=True, max_num_fields=MOST_QUERY_VALUES)
    except ValueError as error:
        raise Invalid(f"The query names more than {MOST_QUERY_VALUES:,} values. Ask in parts.") from error


def _of_query(sent: Sent, route: Route) -> dict[str, Any]:
    values: dict[str, Any] = {}
    many = REPEATED | ({"run_id"} if route.policy == "each" and route.keys == ("run_id",) else set())
    for name, value in sent.query:
        if name in many:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Invalid(f"{name[:100]}: the query gives it twice. Give it once.")
        else:
            values[name] = value
    return values


def fold(value: dict[str, Any], where: str) -> dict[str, Any]:
    """The same object with its own keys in snake_case; Invalid when two keys are then the same."""
    out: dict[str, Any] = {}
    for key, item in value.items():
        name = re.sub(r"(?<=[a-z0-9])[A-Z]", lambda m: f"_{m[0].lower()}", key)
        if name in out:
            raise Invalid(f"{name[:100]}: {where} gives it twice, in two spellings. Give it once.")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name):
            raise Invalid(f"{key[:100]!r} in {where} is no name of a field. Write names in snake_case.")
        out[name] = item
    return out


def part(value: dict[str, Any], *names: str) -> dict[str, Any]:
    """The object found by going down these keys, each level folded in place; {} when there is none."""
    for name in names:
        inner = value.get(name)
        if inner is None:
            return {}
        if not isinstance(inner, dict):
            raise Invalid(f"{name}: give an object.")
        value[name] = inner = fold(inner, name)
        value = inner
    return value


def _one_run(sent: Sent) -> None:
    """`run_uuid` is the old name of `run_id`."""
    old = sent.values.get("run_uuid")
    if old is None:
        return
    if sent.values.get("run_id") not in (None, "", old):
        raise Invalid("run_id: it differs from run_uuid. Give run_id alone.")
    del sent.values["run_uuid"]
    if sent.body is None:
        sent.query = [(n, v) for n, v in sent.query if n != "run_uuid"]
    if old != "":
        sent.put("run_id", old)


def _canonical(sent: Sent) -> None:
    for name in [n for n in sent.values if n in SHAPES]:
        value = sent.values[name]
        if isinstance(value, list) and name == "run_id" and sent.body is None:
            for each in value:
                shape(name, each)
        elif value is None or value == "":
            del sent.values[name]
            sent.query = [(n, v) for n, v in sent.query if n != name]
        else:
            sent.put(name, shape(name, value))
    for name in [n for n in sent.values if n in MANY]:
        value = sent.values[name]
        if not isinstance(value, list):
            raise Invalid(f"{name}: give a list.")
        sent.put(name, [shape(MANY[name], each) for each in value])
    for name in TEXTS:
        value = sent.values.get(name)
        if value is not None and (not isinstance(value, str) or "\x00" in value):
            raise Invalid(f"{name}: give text.")
        if value and name in {"path", "artifact_path", "artifact_file_path"}:
            paths.normal(value if value.startswith("/") else f"/{value}")


def shape(name: str, value: Any) -> str:
    """The value as text in the one form that names of its kind have."""
    if name not in SHAPES:
        return str(value)
    pattern, words = SHAPES[name]
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise Invalid(f"{name}: {str(value)[:60]!r} is not {words}.")
    return text

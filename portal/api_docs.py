"""The REST API for people: the same schema that scripts read, as a page in the portal's own look."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator

from apps.accounts.web.access import page

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(slots=True)
class Field:
    """One field of a body, or one parameter."""

    name: str
    kind: str
    needed: bool
    says: str


@dataclass(slots=True)
class Operation:
    """One method at one path."""

    method: str
    path: str
    title: str
    says: str
    parameters: list[Field] = field(default_factory=list)
    body: list[Field] = field(default_factory=list)
    answer: list[Field] = field(default_factory=list)
    status: str = ""
    refuses: list[Field] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """A fragment that stays the same between releases."""
        return f"{self.method}-{self.path}".replace("/", "-").replace("{", "").replace("}", "").strip("-")


@cache
def operations() -> dict[str, list[Operation]]:
    """Noun -> operations, from the OpenAPI schema; made once a process, as the routes do not change."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    components = schema.get("components", {}).get("schemas", {})
    found: dict[str, list[Operation]] = {}
    for path, methods in schema["paths"].items():
        for method in METHODS:
            if method in methods:
                found.setdefault(methods[method]["tags"][0], []).append(_operation(method, path, methods[method], components))
    return dict(sorted(found.items()))


def _operation(method: str, path: str, raw: dict[str, Any], components: dict[str, Any]) -> Operation:
    made = Operation(method.upper(), path, raw["summary"], raw.get("description", ""))
    for parameter in raw.get("parameters", []):
        if parameter["in"] in ("query", "path", "header"):
            needed = bool(parameter.get("required"))
            made.parameters.append(Field(parameter["name"], _kind(parameter.get("schema", {})), needed, parameter.get("description", "")))
    made.body = _fields(_content(raw.get("requestBody", {})), components)
    for status, answer in sorted(raw.get("responses", {}).items()):
        if "application/problem+json" in answer.get("content", {}):
            made.refuses.append(Field(status, "", False, answer.get("description", "")))
        elif not made.status:
            made.status, made.answer = status, _fields(_content(answer), components)
    return made


def _content(raw: dict[str, Any]) -> dict[str, Any]:
    return dict(raw.get("content", {}).get("application/json", {}).get("schema", {}))


def _resolve(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    for _ in range(6):
        if "$ref" in schema:
            schema = components.get(schema["$ref"].rsplit("/", 1)[1], {})
        elif schema.get("type") == "array":
            schema = schema.get("items", {})
        elif len(schema.get("allOf", [])) == 1:
            schema = schema["allOf"][0]
        elif "results" in schema.get("properties", {}):
            schema = schema["properties"]["results"]
        else:
            break
    return schema


def _fields(schema: dict[str, Any], components: dict[str, Any]) -> list[Field]:
    resolved = _resolve(schema, components)
    needed = set(resolved.get("required", []))
    return [Field(name, _kind(raw), name in needed, raw.get("description", "")) for name, raw in resolved.get("properties", {}).items()]


def _kind(raw: dict[str, Any]) -> str:
    if "enum" in raw:
        return " | ".join(str(v) for v in raw["enum"])
    if "$ref" in raw:
        return str(raw["$ref"].rsplit("/", 1)[1])
    if raw.get("type") == "array":
        return f"list of {_kind(raw.get('items', {}))}"
    for key in ("allOf", "oneOf", "anyOf"):
        if raw.get(key):
            return " or ".join(_kind(one) for one in raw[key])
    return str(raw.get("format") or raw.get("type") or "any")


@page
def docs(request: HttpRequest) -> HttpResponse:
    """Every operation, grouped by noun."""
    return render(request, "dashboard/api_docs.html", {"nouns": operations()})

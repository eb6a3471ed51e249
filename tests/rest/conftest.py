"""Every operation of the REST API, walked."""

import re
from typing import Any, NamedTuple

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator

WRITES = ("post", "put", "patch", "delete")
SAMPLES = {"uuid": "0190f3c2-7b1e-7c3a-9d54-2f6b8a1c0e77", "int": "1", "str": "x", "slug": "x"}


class Op(NamedTuple):
    """One operation: how to call it (with made-up ids), what its method takes, and what the schema says."""

    method: str
    address: str
    function: Any
    view: Any
    said: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.address}"


def _routes(rows: Any, prefix: str = "") -> Any:
    for row in rows:
        route = prefix + str(row.pattern)
        if isinstance(row, URLResolver):
            yield from _routes(row.url_patterns, route)
        elif isinstance(row, URLPattern):
            yield "/" + route, row.callback


def walk() -> list[Op]:
    """All of them, in the schema's order."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    views = {}
    for route, view in _routes(get_resolver().url_patterns):
        if route.startswith("/api/v1/"):
            known = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)
            views[known] = (re.sub(r"<(\w+):\w+>", lambda m: SAMPLES[m[1]], route), view)
    return [
        Op(method, views[path][0], getattr(views[path][1].view_class, method), views[path][1].view_class, said)
        for path, methods in schema["paths"].items()
        for method, said in methods.items()
    ]


@pytest.fixture(scope="session")
def ops() -> list[Op]:
    return walk()

"""The list of the endpoint against the installed MLflow server's own table: an upgrade that adds an address fails here."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from apps.registry import rules
from apps.registry.machine import routes
from apps.registry.machine.routes import READ, ROUTES, WRITE, refused
from apps.registry.rules import access

ROOT = Path(__file__).resolve().parents[2]
# Both are answered by the endpoint to anybody who asks, whatever MLflow would say.
NEVER = {"HEAD", "OPTIONS"}


@pytest.fixture(scope="session")
def served():
    """{(method, path with {} for its parts): {"api", "ajax", "plain"}} of the installed server."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "tests/registry_endpoint/served.py")], capture_output=True, text=True, check=True
    )
    found = {}
    for _, method, path in json.loads(done.stdout):
        if method not in NEVER:
            plain = re.sub(r"<(?:\w+:)?\w+>|\{\w+(?::path)?\}", "{}", path)
            kind = "ajax" if plain.startswith("/ajax-api") else "api" if plain.startswith("/api") else "plain"
            found.setdefault((method, re.sub(r"^/ajax-api", "/api", plain)), set()).add(kind)
    return found


def plain(route):
    return route.method, re.sub(r"\{\w+\}", "{}", route.pattern)


def test_every_address_of_the_server_is_admitted_or_refused_by_name(served):
    assert len(served) > 200
    known = {plain(r) for r in ROUTES} | {line for name in refused.NAMED for line in refused.lines(name)}
    assert sorted(set(served) - known) == []


def test_nothing_is_listed_that_the_server_does_not_serve(served):
    ours = {plain(r) for r in ROUTES if r.policy == "ours"}
    listed = {plain(r) for r in ROUTES} | {line for name in refused.NAMED for line in refused.lines(name)}
    assert sorted(listed - set(served) - ours) == []


def test_each_admitted_address_is_admitted_where_the_server_has_it(served):
    kinds = {"both": {"api", "ajax"}, "ajax": {"ajax"}, "plain": {"plain"}}
    wrong = [r.name for r in ROUTES if plain(r) in served and kinds[r.served] != served[plain(r)]]
    assert wrong == []


def test_nothing_is_listed_twice():
    lines = [plain(r) for r in ROUTES] + [line for name in refused.NAMED for line in refused.lines(name)]
    assert len(lines) == len(set(lines))


def test_each_line_says_which_right_which_object_and_which_event():
    for route in ROUTES:
        assert route.verb in access.VERBS and route.obj in access.OBJ_TYPES, route.name
        assert route.action == ("registry.mlflow.written" if route.kind == WRITE else ""), route.name
        assert route.keys or route.policy in {"page", "narrow", "ours"} or route.obj == "none", route.name
        assert route.kind == READ or route.policy in {"pass", "each"}, route.name


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: r.name)
def test_an_admitted_path_finds_its_own_line_and_no_other(route):
    path = re.sub(r"\{(\w+)\}", lambda m: "1/a/b" if m[1] == "path" else "x1", route.pattern)
    prefixed = path.replace("/api/", "/ajax-api/", 1)
    found = routes.match(route.method, prefixed)
    assert found is not None and found[0] is route
    assert routes.upstream(route, prefixed) == (prefixed if route.served == "ajax" else path)
    if route.served == "ajax":
        assert routes.match(route.method, path) is None


def test_the_list_says_for_which_version_of_the_server_it_was_written():
    pinned = re.findall(r"^mlflow==(\S+)$", (ROOT / "requirements.in").read_text(), re.MULTILINE)
    assert pinned == [rules.MLFLOW_VERSION] and version("mlflow") == rules.MLFLOW_VERSION

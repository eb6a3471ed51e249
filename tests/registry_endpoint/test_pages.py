"""Filtered searches: together the pages are exactly what may be seen, each once, each page as long as was asked."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.errors import Invalid
from apps.registry.machine import pages
from apps.registry.machine.routes import ROUTES
from apps.registry.machine.sent import Sent
from tests.registry.conftest import text
from tests.registry_endpoint.governed import govern

ROUTE = next(r for r in ROUTES if r.name == "GET /api/2.0/mlflow/registered-models/search")
DATASETS = next(r for r in ROUTES if r.name == "POST /api/3.0/mlflow/datasets/search")
EXPERIMENTS = next(r for r in ROUTES if r.name == "POST /api/2.0/mlflow/experiments/search")


class Upstream:
    """MLflow's paging: a token is an offset."""

    def __init__(self, field, rows):
        self.field, self.rows, self.calls = field, rows, 0

    def __call__(self, sent):
        self.calls += 1
        values = dict(sent.query) if sent.body is None else {k: v for k, v in sent.body.items() if v is not None}
        at, size = int(values.get("page_token") or 0), int(values["max_results"])
        assert size <= pages.MOST_ROWS
        body = {self.field: self.rows[at : at + size]}
        if at + size < len(self.rows):
            body["next_page_token"] = str(at + size)
        return Answer(json.dumps(body).encode())


class Answer:
    status = 200
    headers = {"Content-Type": "application/json"}

    def __init__(self, data):
        self.data = data

    def read(self, most):
        return self.data

    def close(self):
        pass


class Seen:
    everything = False

    def __init__(self, allowed):
        self.allowed = set(allowed)

    def models(self, names):
        return self.allowed & set(names)

    experiments = models


def walk(route, upstream, seen, size, **more):
    """Every page of a search, as a client follows them."""
    token, out = "", []
    while True:
        values = {"max_results": size, **more} | ({"page_token": token} if token else {})
        sent = Sent(query=[(k, str(v)) for k, v in values.items()], values=dict(values)) if route.method == "GET" else Sent(body=values, values=values)
        said = json.loads(text(pages.serve(upstream, route, sent, seen)))
        out.append(said.get(upstream.field, []))
        token = said.get("next_page_token", "")
        if not token:
            return out
        assert len(out) < 500


@settings(max_examples=150, deadline=None)
@given(st.lists(st.booleans(), max_size=60), st.integers(1, 25), st.sampled_from([ROUTE, EXPERIMENTS]))
def test_pages_together_are_what_may_be_seen(visible, size, route):
    key = "name" if route is ROUTE else "experiment_id"
    rows = [{key: f"m{i}"} for i in range(len(visible))]
    allowed = [f"m{i}" for i, ok in enumerate(visible) if ok]
    upstream = Upstream(pages.ROWS_OF[route.obj], rows)
    found = walk(route, upstream, Seen(allowed), size)
    assert [r[key] for page in found for r in page] == allowed
    assert all(len(page) == size for page in found[:-1]) and len(found[-1]) <= size
    if not all(visible):
        hidden_last = len(found) > 1 and not found[-1]
        assert not hidden_last or all(visible[: size * (len(found) - 1)]), "an empty page says that something is hidden"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.sampled_from("abc"), max_size=3), max_size=30), st.sets(st.sampled_from("abc")), st.integers(1, 7))
def test_a_dataset_is_seen_by_those_who_see_all_of_its_experiments(linked, allowed, size):
    rows = [{"dataset_id": f"d{i}", "experiment_ids": sorted(each) or ["x"]} for i, each in enumerate(linked)]
    found = walk(DATASETS, Upstream("datasets", rows), Seen(allowed), size)
    expected = [f"d{i}" for i, each in enumerate(linked) if each and each <= allowed]
    assert [r["dataset_id"] for page in found for r in page] == expected


def test_few_calls_are_made_when_much_is_hidden():
    rows = [{"name": f"m{i}"} for i in range(5_000)]
    upstream = Upstream("registered_models", rows)
    found = walk(ROUTE, upstream, Seen({"m4999", "m17"}), 100)
    assert [[r["name"] for r in page] for page in found] == [["m17", "m4999"]] and upstream.calls <= 6


@pytest.mark.parametrize("token", ["gh.", "gh.####", "gh.W10", "gh." + "A" * 50, "gh.WyIiLC0xLDBd", "gh.WyIiLDEwMDAwMDAsMF0"])
def test_a_token_that_was_never_given_is_refused(token):
    with pytest.raises(Invalid, match="page_token"):
        pages.Place.read(token)


@pytest.mark.parametrize("asked", [0, -1, "many", 1.5, True, 10**9])
def test_a_size_that_is_none_is_refused(asked):
    with pytest.raises(Invalid, match="max_results"):
        pages.serve(lambda sent: pytest.fail("MLflow was asked"), EXPERIMENTS, Sent(body={}, values={"max_results": asked}), Seen([]))


@pytest.mark.django_db
def test_a_token_gives_no_right_to_anybody(endpoint, register, name):
    owner, other = endpoint(), endpoint()
    names = [f"{name}-{i}" for i in range(4)]
    for each in names:
        owner.ok("POST", "registered-models/create", {"name": each})
    govern(names[1], names[3])
    mine = f"filter=name%20LIKE%20%27{name}-%25%27&max_results=1"

    def follow(caller, token=""):
        seen = []
        while True:
            said = caller.ok("GET", f"registered-models/search?{mine}" + (f"&page_token={token}" if token else ""))
            seen += [m["name"] for m in said.get("registered_models", [])]
            token = said.get("next_page_token", "")
            if not token:
                return seen

    assert follow(owner) == names and follow(other) == [names[0], names[2]]
    first = owner.ok("GET", f"registered-models/search?{mine}")["next_page_token"]
    assert follow(other, first) == [names[2]]
    raw = json.dumps(["", 1000, 1])
    import base64

    forged = "gh." + base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")
    assert follow(other, forged) == [names[2]]
    assert endpoint("auditor").ok("GET", f"registered-models/search?{mine}&page_token={forged}")["registered_models"][0]["name"] == names[1]


@pytest.mark.django_db
def test_versions_and_experiments_are_filtered_alike(endpoint, register, name):
    owner, other = endpoint(), endpoint()
    first, second = register(owner, model=f"{name}-a"), register(owner, model=f"{name}-b")
    govern(second.name)
    for caller, expected in ((owner, {first.name, second.name}), (other, {first.name})):
        versions = caller.ok("GET", f"model-versions/search?filter=name%20LIKE%20%27{name}-%25%27&max_results=100")
        assert {v["name"] for v in versions["model_versions"]} == expected
        found = caller.ok("POST", "experiments/search", {"filter": f"name LIKE '{name}-%'", "max_results": 5})
        assert {e["name"] for e in found["experiments"]} == expected

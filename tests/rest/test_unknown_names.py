"""What the API does not know it refuses by name: a typing mistake is never lost."""

import pytest

from apps.core.rest import View
from tests.rest.conftest import WRITES

pytestmark = pytest.mark.django_db
ODD = "no_such_field"


def test_every_operation_stands_on_the_base_that_refuses(ops):
    for op in ops:
        assert issubclass(op.view, View), f"{op.name}: derive {op.view.__name__} from apps.core.rest.View or ListView"
        assert op.method == "get" or hasattr(op.function, "takes"), f"{op.name}: decorate it with apps.core.rest.operation"


def test_every_write_names_a_field_it_does_not_take(ops, api, make_user):
    client = api(make_user("admin"))
    walked = 0
    for op in ops:
        if op.method in WRITES:
            answer = getattr(client, op.method)(op.address, {ODD: 1})
            assert answer.status_code == 400 and ODD in answer.json()["errors"], (op.name, answer.content)
            assert answer.json()["detail"].startswith(f"{ODD}: "), op.name
            walked += 1
    assert walked > 40


def test_every_operation_names_a_query_parameter_it_does_not_take(ops, api, make_user):
    client = api(make_user("admin"))
    for op in ops:
        answer = getattr(client, op.method)(f"{op.address}?{ODD}=1")
        assert answer.status_code == 400 and ODD in answer.json()["errors"], (op.name, answer.content)


def test_an_unknown_field_deep_in_the_body_is_named_with_its_place_and_the_known_ones(api, make_user):
    body = {"name": "A", "problem": "B", "risk_tier": "high", "integrations": [{"name": "CRM", "direction": "in", "colour": "red"}]}
    answer = api(make_user("stakeholder")).post("/api/v1/usecases/", body).json()
    assert list(answer["errors"]) == ["integrations[0].colour"]
    assert "Known: name, direction, kind, owner, note." in answer["detail"]


def test_a_field_that_the_portal_sets_is_refused_and_not_ignored(api, make_user):
    body = {"name": "A", "problem": "B", "risk_tier": "high", "integrations": [{"id": "1", "name": "CRM", "direction": "in"}]}
    answer = api(make_user("stakeholder")).post("/api/v1/usecases/", body).json()
    assert answer["errors"] == {"integrations[0].id": ["The portal sets it. Leave it out."]}


def test_an_operation_without_a_body_says_so(api, make_user):
    answer = api(make_user("admin")).post("/api/v1/usecases/x/resume/", {"reason": "x"})
    assert answer.status_code == 400 and "takes no body" in answer.json()["detail"]


@pytest.mark.parametrize("body", [[1], "x", 7])
def test_a_body_that_is_no_object_is_refused_by_what_it_should_be(api, make_user, body):
    answer = api(make_user("admin")).post("/api/v1/tokens/", body, format="json")
    assert answer.status_code == 400 and "a JSON object with name, scopes, expires_at" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "name", "remedy"),
    [
        ("page_size=0", "page_size", "from 1 to 500"),
        ("page_size=501", "page_size", "from 1 to 500"),
        ("page_size=ten", "page_size", "from 1 to 500"),
        ("page_size=-1", "page_size", "from 1 to 500"),
        ("cursor=nonsense", "cursor", "leave it out"),
        ("cursor=cD1ub25zZW5zZQ%3D%3D", "cursor", "leave it out"),
        ("state=sealed", "state", "choose one of"),
        ("waiting_on=you", "waiting_on", "choose one of me"),
        ("state=open&state=draft", "state", "once"),
        ("state=", None, ""),
    ],
)
def test_a_bad_query_parameter_is_named_with_its_remedy(api, make_user, query, name, remedy):
    answer = api(make_user("admin")).get(f"/api/v1/gates/?{query}")
    if name is None:
        assert answer.status_code == 200
        return
    assert answer.status_code == 400 and list(answer.json()["errors"]) == [name]
    assert remedy in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/api/v1/load-tests/?deployment=x", "/api/v1/incidents/?open=maybe", "/api/v1/audit/checkpoints/consistency/?from=1"])
def test_typed_and_needed_parameters_are_named_too(api, make_user, path):
    answer = api(make_user("admin")).get(path)
    assert answer.status_code == 400 and len(answer.json()["errors"]) == 1


def test_pages_still_follow_each_other(api, make_user):
    client = api(make_user("admin"))
    for number in range(4):
        client.post("/api/v1/tokens/", {"name": f"t{number}", "scopes": ["read"]})
    seen, address = [], "/api/v1/tokens/?page_size=2"
    while address:
        answer = client.get(address).json()
        seen += [row["id"] for row in answer["results"]]
        address = answer["next"]
    assert len(seen) == len(set(seen)) == 5


def test_a_stranger_learns_nothing_before_signing_in(ops, api):
    for op in ops:
        assert getattr(api(), op.method)(f"{op.address}?{ODD}=1").status_code == 401, op.name

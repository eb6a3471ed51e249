"""The list of registered models over REST: rows that go out as they are, the same as the serializer would make them, in few statements."""

import json

import pytest
from guardian.shortcuts import assign_perm
from rest_framework.renderers import JSONRenderer

from apps.core.clock import now
from apps.registry import selectors
from apps.registry.api.serializers import ModelSerializer
from apps.registry.models import RegisteredModel, governance
from apps.registry.selectors import listing
from apps.registry.selectors.access import usecases_of
from apps.usecases import services as usecases
from tests.registry.world import make_version
from tests.registry_endpoint.governed import govern

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("governed", ["", "&governed=true", "&governed=false"])
@pytest.mark.parametrize("role", ["ml_engineer", "stakeholder", "auditor", "approver:risk"])
def test_the_list_says_of_each_model_what_the_serializer_says(make_user, actor_of, api, role, governed):
    for number in range(7):
        make_version(f"model-{number}", author_user=None)
    RegisteredModel.objects.filter(name="model-1").update(
        owner=make_user("ml_engineer"), tags={"team": "care"}, registered_at=now(), description='"é"'
    )
    seen_case, other_case = govern("model-1"), govern("model-2")
    RegisteredModel.objects.filter(name="model-3").update(gone_at=now())
    person = make_user(role)
    usecases.give_access(actor=actor_of(seen_case.owner), usecase_id=seen_case.id, user=person, level="view")
    assign_perm("view_registeredmodel", person, RegisteredModel.objects.get(name="model-4"))
    flag = {"": None, "&governed=true": True, "&governed=false": False}[governed]
    rows = selectors.models(actor_of(person), governed=flag)
    refs = usecases_of(actor_of(person), [m.id for m in rows])
    expected = json.loads(JSONRenderer().render(ModelSerializer(rows, many=True, context={"usecases": refs}).data))
    client, found = api(person), []
    path = f"/api/v1/models/?page_size=2{governed}"
    while path:
        answer = client.get(path).json()
        assert len(answer["results"]) <= 2
        found += answer["results"]
        path = answer["next"]
    assert found == expected and (role != "stakeholder" or {m["name"] for m in found} <= {"model-1", "model-4"})
    assert any(m["usecases"] for m in found) == (flag is not False) and other_case.slug


def names(client, path="/api/v1/models/"):
    return [m["name"] for m in client.get(path).json()["results"]]


@pytest.mark.parametrize(("role", "statements"), [("auditor", 2), ("ml_engineer", 3), ("stakeholder", 4)])
def test_it_takes_as_many_statements_for_many_models_as_for_one(api, make_user, django_assert_num_queries, role, statements):
    client, person = api(make_user(role)), None
    client.get("/api/v1/models/")
    RegisteredModel.objects.bulk_create(RegisteredModel(name=f"m{n}") for n in range(40))
    with django_assert_num_queries(statements):
        assert len(names(client)) == (0 if role == "stakeholder" else 40)
    person = make_user(role)
    client = api(person)
    client.get("/api/v1/models/")
    govern(*(f"m{n}" for n in range(20)), person=person if role != "auditor" else None)
    # One more: which use cases they serve.
    with django_assert_num_queries(statements + 1):
        assert len(names(client)) == (20 if role == "stakeholder" else 40)


def test_what_somebody_may_see_is_asked_anew_each_time(api, make_user, actor_of):
    make_version("model-1"), make_version("model-2")
    case = govern("model-1", "model-2")
    person = make_user("stakeholder")
    client = api(person)
    assert names(client) == []
    usecases.give_access(actor=actor_of(case.owner), usecase_id=case.id, user=person, level="view")
    assert names(client) == ["model-2", "model-1"]
    usecases.take_access(actor=actor_of(case.owner), usecase_id=case.id, user_id=person.id)
    assert names(client) == []
    other = make_user("stakeholder")
    assign_perm("view_registeredmodel", other, RegisteredModel.objects.get(name="model-2"))
    assert names(api(other)) == ["model-2"] and names(client) == []


def test_whoever_sees_more_models_than_are_named_gets_the_same_list(api, make_user, monkeypatch):
    for number in range(4):
        make_version(f"model-{number}")
    person = make_user("stakeholder")
    govern("model-0", "model-1", "model-2", person=person)
    client = api(person)
    few = names(client)
    for module in (listing, governance):
        monkeypatch.setattr(module, "MOST_NAMED", 1)
    assert names(client) == few == ["model-2", "model-1", "model-0"]


@pytest.mark.parametrize("cursor", ["zzz", "cD1ub3QtYW4taWQ=", "bz05OTk5OTk5OTk5OTk="])
def test_a_cursor_that_was_never_given_is_refused_or_empty(api, make_user, cursor):
    make_version("model-1")
    answer = api(make_user("auditor")).get(f"/api/v1/models/?cursor={cursor}")
    assert (answer.status_code, answer.json().get("errors", {}).keys() or {"cursor"}) == (400, {"cursor"}) or answer.json()["results"] == []


def test_pages_lead_back_as_they_lead_on(api, make_user):
    for number in range(5):
        make_version(f"model-{number}")
    client = api(make_user("auditor"))
    first = client.get("/api/v1/models/?page_size=2").json()
    second = client.get(first["next"]).json()
    third = client.get(second["next"]).json()
    assert [m["name"] for m in third["results"]] == ["model-0"] and third["next"] is None
    assert client.get(third["previous"]).json()["results"] == second["results"]
    assert client.get(second["previous"]).json()["results"] == first["results"]

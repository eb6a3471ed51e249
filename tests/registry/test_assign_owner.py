"""Models that no use case uses are listed, and an owner is asked for."""

import pytest

from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.registry.models import RegisteredModel
from apps.registry.services import assign_owner, findings
from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db


@pytest.fixture
def loose(db):
    return RegisteredModel.objects.create(name="loose", author="Emil Engineer")


@pytest.fixture
def used(system, make_user, actor_of):
    """A governed model and the person whose use case uses it."""
    model, olga = RegisteredModel.objects.create(name="used"), make_user("stakeholder")
    usecase = usecases.create_usecase(actor=actor_of(olga), name="Care", problem="Calls reach the wrong ones.", risk_tier="high")
    usecases.link_model(actor=system, usecase_id=usecase.id, model_name="used")
    return model, usecase, olga


def test_the_ungoverned_are_listed_apart(api, make_user, loose, used):
    client = api(make_user("admin"))
    rows = {m["name"]: m for m in client.get("/api/v1/models/").json()["results"]}
    assert rows["loose"]["governed"] is False and rows["loose"]["usecases"] == [] and rows["loose"]["author"] == "Emil Engineer"
    assert rows["used"]["governed"] is True and [u["slug"] for u in rows["used"]["usecases"]] == [used[1].slug]
    for asked, names in (("false", ["loose"]), ("true", ["used"])):
        assert [m["name"] for m in client.get(f"/api/v1/models/?governed={asked}").json()["results"]] == names
    assert client.get("/api/v1/models/?governed=maybe").status_code == 400
    assert client.get("/api/v1/models/used/").json()["governed"] is True


def test_use_cases_out_of_sight_are_not_named(api, make_user, used, system):
    from apps.accounts import services as accounts

    engineer = make_user("ml_engineer")
    accounts.grant(actor=system, user=engineer, permission="registry.view_registeredmodel", subject=used[0])
    body = api(engineer).get("/api/v1/models/used/").json()
    assert body["governed"] is True and body["usecases"] == []


def test_the_list_asks_the_same_few_questions_for_many_models(api, make_user, loose, django_assert_max_num_queries):
    client = api(make_user("ml_engineer"))
    client.get("/api/v1/models/")
    RegisteredModel.objects.bulk_create(RegisteredModel(name=f"m{n}") for n in range(40))
    with django_assert_max_num_queries(8):
        assert len(client.get("/api/v1/models/").json()["results"]) == 41


def test_any_engineer_takes_what_is_nobodys_and_then_the_owner_hands_it_on(api, make_user, loose, events):
    first, second, third = make_user("ml_engineer"), make_user("ml_engineer"), make_user("ml_engineer")
    done = api(first).put("/api/v1/models/loose/owner/", {"owner": first.email})
    assert done.status_code == 200 and done.json()["owner"] == first.email
    assert api(first).put("/api/v1/models/loose/owner/", {"owner": first.email}).status_code == 200
    assert api(third).put("/api/v1/models/loose/owner/", {"owner": third.email}).status_code == 403
    assert api(first).put("/api/v1/models/loose/owner/", {"owner": second.email}).json()["owner"] == second.email
    told = events("registry.model.owned", "loose")
    assert [(e.facts["before"]["owner"], e.facts["after"]["owner"]) for e in told] == [(None, first.email), (first.email, second.email)]


def test_an_owner_is_an_active_engineer(make_user, actor_of, loose, api):
    admin = make_user("admin")
    with pytest.raises(Invalid, match="active ML engineer"):
        assign_owner(actor=actor_of(admin), name="loose", owner=make_user("stakeholder"))
    assert api(admin).put("/api/v1/models/loose/owner/", {"owner": "nobody@example.org"}).json()["errors"] == {"owner": ["Unknown."]}


def test_out_of_sight_is_not_there_and_readers_do_not_assign(make_user, actor_of, used):
    engineer = make_user("ml_engineer")
    with pytest.raises(NotFound):
        assign_owner(actor=actor_of(engineer), name="used", owner=engineer)
    with pytest.raises(NotAllowed):
        assign_owner(actor=actor_of(used[2]), name="used", owner=engineer)


def test_findings_are_listed_to_those_who_see_the_model(api, make_user, used, loose, system):
    for model in (used[0], loose):
        findings.raise_finding(
            actor=system, kind="tag", model=model, detail=f"{model.name} differs.", expected={}, found={"a": "1"}, hold=False
        )
    engineer = api(make_user("ml_engineer"))
    assert [f["model"] for f in engineer.get("/api/v1/findings/").json()["results"]] == ["loose"]
    owner = api(used[2]).get("/api/v1/findings/?open=true&model=used").json()["results"]
    assert [(f["kind"], f["detail"], f["found"], f["closed_at"]) for f in owner] == [("tag", "used differs.", {"a": "1"}, None)]
    assert engineer.get(f"/api/v1/findings/{owner[0]['id']}/").status_code == 404
    assert api(used[2]).get(f"/api/v1/findings/{owner[0]['id']}/").json() == owner[0]
    findings.close_open(actor=system, kind="tag", model_id=used[0].id, key="", because="The tags are gone.")
    assert api(used[2]).get("/api/v1/findings/?open=true").json()["results"] == []

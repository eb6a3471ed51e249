"""The registry over REST."""

import pytest
from guardian.shortcuts import assign_perm

from apps.outbox.models import Message
from apps.registry import rules

pytestmark = pytest.mark.django_db


def test_a_version_shows_everything_about_itself(ready, api, make_user):
    row = ready()
    client = api(make_user("auditor"))
    body = client.get(f"/api/v1/models/{row.model.name}/versions/1/").json()
    assert body["artifact_digest"] == row.artifact_digest and body["label"] == f"{row.model.name}/1" and body["status"] == "ready"
    assert body["feature_names"] == ["age", "visits"] and body["requirements"].startswith("scikit-learn==") and body["unpinned"] == []
    assert body["params"] == {"depth": "3"} and body["metrics"]["recall"] == 0.75
    assert [n["kind"] for n in body["lineage"]["nodes"]] == ["dataset", "dataset", "run", "version"]
    assert {e["how"] for e in body["lineage"]["edges"]} == {"training", "validation", "logged"}
    assert body["card"]["missing"] and body["decisions"] == [] and body["aliases"] == []
    assert client.get(f"/api/v1/models/{row.model.name}/versions/1/lineage/").json() == body["lineage"]


def test_models_and_versions_are_listed_newest_first(endpoint, ready, api, make_user):
    caller = endpoint()
    first, second = ready(caller), ready(caller)
    client = api(make_user("ml_engineer"))
    listed = client.get(f"/api/v1/models/?search={first.model.name[:12]}").json()["results"]
    assert [(m["name"], m["version_count"], m["latest_version"]) for m in listed] == [(first.model.name, 2, 2)]
    versions = client.get(f"/api/v1/models/{first.model.name}/versions/").json()["results"]
    assert [v["version"] for v in versions] == [second.version, first.version]
    assert client.get(f"/api/v1/models/{first.model.name}/").json()["aliases"] == []
    assert client.get(f"/api/v1/models/{first.model.id}/").json()["name"] == first.model.name


def test_a_stakeholder_sees_only_models_that_were_granted(ready, api, make_user):
    row, person = ready(), make_user("stakeholder")
    client, where = api(person), f"/api/v1/models/{row.model.name}/"
    assert client.get(where).status_code == 404 and client.get("/api/v1/models/").json()["results"] == []
    assert client.get(f"{where}versions/1/").status_code == 404
    assign_perm("registry.view_registeredmodel", person, row.model)
    assert client.get(where).status_code == 200 and len(client.get("/api/v1/models/").json()["results"]) == 1
    assert client.get(f"{where}versions/1/").json()["version"] == 1


@pytest.mark.parametrize("path", ["no-such/", "no-such/versions/", "no-such/versions/1/", "no-such/versions/1/card/"])
def test_what_is_not_there_is_a_404(api, make_user, path):
    assert api(make_user("admin")).get(f"/api/v1/models/{path}").status_code == 404


def test_a_card_is_saved_over_rest_and_what_it_lacks_is_said(ready, endpoint, api, make_user):
    engineer = make_user("ml_engineer")
    row = ready(endpoint(engineer))
    client, where = api(engineer), f"/api/v1/models/{row.model.name}/versions/1/card/"
    assert client.get(where).json()["revision"] == 0
    saved = client.put(where, {"intended_use": "rank members for outreach", "revision": 0}).json()
    assert saved["revision"] == 1 and "limitations" in saved["missing"] and 0 < saved["completeness"] < 1
    full = client.patch(where, dict.fromkeys(rules.CARD_FIELDS, "as agreed with care managers")).json()
    assert full["missing"] == [] and full["completeness"] == 1
    assert client.put(where, {"intended_use": "x", "revision": 0}).status_code == 409
    wrong = client.put(where, {"intention": "x"})
    assert wrong.status_code == 400 and "intention" in wrong.json()["errors"]
    assert api(make_user("auditor")).put(where, {"intended_use": "x"}).status_code == 403
    assert api().get(where).status_code == 401


def test_a_fresh_reading_is_asked_for_once_a_key(ready, api, make_user, events):
    row = ready()
    client, where = api(make_user("ml_engineer")), f"/api/v1/models/{row.model.name}/versions/1/sync/"
    Message.objects.all().delete()
    for _ in range(2):
        assert client.post(where, headers={"Idempotency-Key": "once"}).status_code == 202
    assert Message.objects.filter(topic="registry.sync").count() == 1 and len(events("registry.sync.requested", row.label)) == 1
    assert api(make_user("approver:risk")).post(where).status_code == 403


def test_lists_take_a_constant_number_of_queries(endpoint, ready, api, make_user, django_assert_max_num_queries):
    caller = endpoint()
    row = ready(caller)
    ready(caller)
    client = api(make_user("auditor"))
    with django_assert_max_num_queries(9):
        client.get("/api/v1/models/")
    with django_assert_max_num_queries(11):
        client.get(f"/api/v1/models/{row.model.name}/versions/")


def _usecase(actor_of, owner, name, model):
    from apps.usecases import services
    from apps.usecases.models import UsedModel

    made = services.create_usecase(actor=actor_of(owner), name=name, problem="Calls reach the wrong members.", risk_tier="limited")
    UsedModel.objects.create(usecase=made, model=model)
    return made


def test_a_stakeholder_reads_the_models_of_a_use_case_and_only_its_decisions(ready, api, make_user, actor_of, system):
    import uuid

    from apps.decisions import services as decisions

    row, owner = ready(), make_user("stakeholder")
    mine = _usecase(actor_of, owner, "Mine", row.model)
    theirs = _usecase(actor_of, make_user("stakeholder"), "Theirs", row.model)
    for usecase in (mine, theirs):
        decisions.issue(
            actor=system, usecase_id=usecase.id, kind="deploy", stage_to="", environment="pilot", model_version_id=row.id,
            model_version_label=row.label, artifact_digest=row.artifact_digest, gate_id=uuid.uuid4(), evidence_digest="sha256:" + "e" * 64,
            valid_days=30,
        )  # fmt: skip
    client, where = api(owner), f"/api/v1/models/{row.model.name}/"
    assert [m["name"] for m in client.get("/api/v1/models/").json()["results"]] == [row.model.name]
    for path in ("", "versions/", "versions/1/", "versions/1/card/", "versions/1/lineage/"):
        assert client.get(where + path).status_code == 200, path
    assert [d["usecase_id"] for d in client.get(f"{where}versions/1/").json()["decisions"]] == [str(mine.id)]
    assert len(api(make_user("auditor")).get(f"{where}versions/1/").json()["decisions"]) == 2
    assert api(make_user("stakeholder")).get(where).status_code == 404

"""Pages of the registry beside those of a model: comparison, card, failure modes, evaluations."""

import json

import pytest

from apps.registry import services
from apps.registry.models import Evaluation, FailureMode
from tests.deployments_web.conftest import words
from tests.registry.world import make_version

pytestmark = pytest.mark.django_db
MODEL = "/models/visit-risk/"
AT = f"{MODEL}versions/1/"
PAGES = [f"{MODEL}compare/", f"{MODEL}compare/?versions=1,2", f"{AT}card/", f"{AT}card.html", f"{AT}card.md", f"{MODEL}failure-modes/", f"{AT}evaluations/"]


@pytest.fixture
def two():
    """Two versions of a model."""
    return make_version("visit-risk", 1), make_version("visit-risk", 2)


@pytest.fixture
def elena_browser(page_of, make_user):
    """An engineer's browser."""
    return page_of(make_user("ml_engineer"))


@pytest.mark.parametrize("path", PAGES)
def test_who_may_read_them(client, page_of, make_user, two, path):
    assert client.get(path).status_code == 302
    for role in ("ml_engineer", "auditor", "admin"):
        assert page_of(make_user(role)).get(path).status_code == 200, role
    assert page_of(make_user("stakeholder")).get(path).status_code == 404


def test_comparing_says_first_what_differs(elena_browser, two):
    text = words(elena_browser.get(f"{MODEL}compare/?versions=1&versions=2"))
    assert "They differ in metrics, parameters, requirements." in text and "Nobody has said which way a figure is better" in text
    assert "==2.1.0" in text and "+0.01" in text
    assert "versions: name 2 to 4" in words(elena_browser.get(f"{MODEL}compare/?versions=1"))


def test_comparing_says_better_and_worse_where_an_evaluation_does(elena_browser, two, system):
    for row, good in zip(two, (80, 60), strict=True):
        document = {"kind": "evaluation", "name": "held out", "metrics": [{"name": "recall", "successes": good, "n": 100, "better": "higher"}]}
        services.attach_evaluation(actor=system, version_id=row.id, document=document)
    text = words(elena_browser.get(f"{MODEL}compare/?versions=1,2"))
    assert "0 figures better, 1 worse" in text and '<span class="state fail">worse</span>' in text


def test_a_card_shows_its_history_and_what_changed(elena_browser, two, system):
    services.save_card(actor=system, version_id=two[0].id, limitations="weak on weekends")
    services.save_card(actor=system, version_id=two[0].id, limitations="weak on holidays")
    text = words(elena_browser.get(f"{AT}card/?from=1&to=2"))
    assert "<del>weekends</del><ins>holidays</ins>" in text and "revision 2" in text and "recall" in text
    old = words(elena_browser.get(f"{AT}card/?revision=1"))
    assert "This is revision 1, not the newest." in old and "weak on weekends" in old
    assert elena_browser.get(f"{AT}card/?revision=9").status_code == 404
    answer = elena_browser.get(f"{AT}card.html")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="visit-risk-1-card-2.html"'


def test_a_failure_mode_is_written_and_changed_on_the_page(elena_browser, page_of, make_user, two):
    given = {"title": "Night calls", "condition": "After midnight", "effect": "Random order", "severity": "high", "kind": "edge case", "state": "open", "since_version": "2"}
    assert elena_browser.post(f"{MODEL}failure-modes/", {**given, "title": ""}).status_code == 400
    assert elena_browser.post(f"{MODEL}failure-modes/", given).status_code == 302
    row = FailureMode.objects.get()
    text = words(elena_browser.get(f"{MODEL}failure-modes/"))
    assert "1 of 1 is open." in text and "Night calls" in text and "2 to now" in text
    at = f"{MODEL}failure-modes/{row.id}/"
    changed = {**given, "state": "handled", "handling": "The desk is closed.", "revision": "1"}
    assert elena_browser.post(at, changed).status_code == 302 and elena_browser.post(at, {**changed, "title": "Other"}).status_code == 409
    assert "Write one down" not in words(page_of(make_user("auditor")).get(f"{MODEL}failure-modes/"))
    assert "Night calls" in words(elena_browser.get(MODEL))


def test_an_audit_is_uploaded_and_judged_in_words(elena_browser, two):
    groups = [{"attribute": "sex", "group": "male", "n": 200, "selected": 100}, {"attribute": "sex", "group": "female", "n": 100, "selected": 35}]
    document = json.dumps({"kind": "bias_audit", "name": "by sex", "groups": groups})
    assert "document: this is no JSON" in words(elena_browser.post(f"{AT}evaluations/", {"document": "{"}))
    assert elena_browser.post(f"{AT}evaluations/", {"document": document}).status_code == 302
    text = words(elena_browser.get(f"{AT}evaluations/"))
    assert "Of sex, “female” is selected less than four fifths as often as “male”: ratio 0.7." in text and "0.52 to 0.95" in text


def test_the_run_is_the_source_of_an_evaluation(elena_browser, two):
    at = f"{AT}evaluations/from-run/"
    assert "prefix: give the beginning" in words(elena_browser.post(at, {"name": "x", "prefix": "nothing_"}))
    assert elena_browser.post(at, {"name": "held-out data", "prefix": ""}).status_code == 302
    assert Evaluation.objects.get().source == "run" and "from the run" in words(elena_browser.get(f"{AT}evaluations/"))


def test_a_dataset_says_who_saw_it_and_what_nobody_has_said(elena_browser, page_of, make_user, two):
    assert "2 datasets, 2 without an owner" in words(elena_browser.get("/datasets/"))
    at = f"/datasets/{two[0].inputs.get(context='training').dataset_id}/"
    text = words(elena_browser.get(at))
    assert "No version that saw it is admitted to production." in text and "Nobody has said its owner, permissions, retention, sensitivity." in text
    assert text.count("<rect") == 5 and "visit-risk/2" in text
    assert elena_browser.post(at, {"sensitivity": "personal", "retention": "Two years", "revision": "0"}).status_code == 302
    assert "Nobody has said its owner, permissions." in words(elena_browser.get(at))
    assert elena_browser.post(at, {"sensitivity": "public", "revision": "0"}).status_code == 409
    assert page_of(make_user("stakeholder")).get(at).status_code == 404


def test_the_lineage_of_a_version_is_a_drawing_and_a_table(elena_browser, linked, browser, versions, stage, two):
    text = words(elena_browser.get(f"{AT}lineage/"))
    assert "It rests on 2 datasets, and is deployed nowhere you see." in text and text.count("<path") == 3 and "registered as" in text


def test_lineage_goes_on_to_deployments_that_the_reader_may_see(browser, page_of, make_user, linked, versions, decide, stage):
    decide(1, "production")
    live = stage.live(1)
    assert live.endpoint.name in words(browser.get("/models/care-outreach/versions/1/lineage/"))
    assert live.endpoint.name in words(page_of(make_user("auditor")).get("/models/care-outreach/versions/1/lineage/"))


def test_the_scan_of_a_version_says_first_whether_to_load_it(elena_browser, two, system):
    at = f"{AT}scan/"
    assert "Its files have not been scanned." in words(elena_browser.get(at)) and elena_browser.post(at).status_code == 302
    found = [{"path": "model.pkl", "level": "unsafe", "what": "posix.system would be imported and may run anything."}]
    files = [{"path": "model.pkl", "size": 10, "kind": "pickle", "safe": False}]
    services.record_scan(actor=system, version_id=two[0].id, digest=two[0].artifact_digest, files=files, findings=found, signature={"state": "none"})
    text = words(elena_browser.get(at))
    assert "Do not load it: 1 finding may run anything." in text and "posix.system" in text and "No signature is among the files." in text


def test_the_search_page_leads_to_what_it_found(elena_browser, page_of, make_user, two):
    text = words(elena_browser.get("/search/?q=visit-risk"))
    assert 'href="/models/visit-risk/"' in text and "/datasets/" not in words(elena_browser.get("/search/?q=zebra"))
    assert "visit-risk/" not in words(page_of(make_user("stakeholder")).get("/search/?q=visit"))
    assert elena_browser.get(f"/search/?q={'x' * 201}").status_code == 400


def test_pages_say_since_when_mlflow_does_not_answer(elena_browser, two):
    from apps.core.clock import now
    from apps.registry.models import MlflowContact

    row = MlflowContact.objects.create(reached_at=now())
    assert "In step with MLflow" in words(elena_browser.get("/models/"))
    MlflowContact.objects.filter(id=row.id).update(failing_since=now(), detail="MLflow did not answer in time.")
    for path in ("/models/", MODEL, AT):
        assert "MLflow has not answered since" in words(elena_browser.get(path)), path


def test_the_history_tells_what_happened_and_who_may_do_what(elena_browser, make_user, page_of, two, system, api):
    services.save_card(actor=system, version_id=two[0].id, limitations="weak on holidays")
    services.attach_from_run(actor=system, version_id=two[0].id, name="as logged")
    text = words(elena_browser.get(f"{AT}history/"))
    assert "Card saved as revision 1" in text and "Evaluation “as logged” attached" in text and "Registered" in text
    assert "no use case uses it and nobody owns it" in text and "Who may do what" in text
    client = api(make_user("auditor"))
    told = client.get("/api/v1/models/visit-risk/versions/1/timeline/").json()["results"]
    assert {m["kind"] for m in told} == {"registered", "card", "evaluation"} and told == sorted(told, key=lambda m: m["at"], reverse=True)
    rights = client.get("/api/v1/models/visit-risk/versions/1/rights/").json()["results"]
    assert all(r["may"]["read"] and not r["may"]["delete"] for r in rights)
    assert page_of(make_user("stakeholder")).get(f"{AT}history/").status_code == 404


def test_history_goes_on_to_gates_decisions_and_deployments_in_sight(browser, linked, versions, decide, stage):
    decide(1, "production")
    stage.live(1)
    text = words(browser.get("/models/care-outreach/versions/1/history/"))
    assert "it may run in production" in text and "Deployed to" in text and "may change a use case that uses it" in text

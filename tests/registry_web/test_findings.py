"""What is not as it was decided, and models that nobody answers for, as pages."""

import pytest

from apps.decisions.models import Hold
from apps.registry.models import RegisteredModel
from apps.registry.services import findings as services
from tests.registry.world import make_version
from tests.registry_endpoint.governed import govern

pytestmark = pytest.mark.django_db


@pytest.fixture
def found(decide, linked, versions, system):
    """A finding about a version that a live decision names."""
    version = versions(1)
    decide(1, "pilot")
    return services.raise_finding(
        actor=system, kind="facts", model=version.model, version=version, detail=f"{version.label} differs: metrics (recall).",
        expected={"metrics": {"recall": 0.75, "auc": 0.8}, "signature": None}, found={"metrics": {"recall": 0.99}, "signature": {"inputs": []}},
        actor_label="Mallory",
    )  # fmt: skip


def test_an_open_finding_says_what_differs_since_when_by_whom_and_what_it_holds(page_of, make_user, found, usecase):
    assert Hold.objects.filter(source_id=str(found.id), lifted_at=None).count() == 1
    text = page_of(make_user("auditor")).get("/findings/").content.decode()
    assert "1 open finding." in text and "by Mallory" in text and found.detail in text
    assert "<del>0.75</del>" in text and "<ins>0.99</ins>" in text
    assert '<td>metrics: auc</td><td data-label="expected"><del>0.8</del></td><td data-label="found">not there</td>' in text
    assert f'<a href="/usecases/{usecase.slug}/">' in text and "It holds" in text
    assert f'href="/models/{found.model.name}/versions/1/"' in text


def test_the_pages_of_the_version_and_its_model_say_so_while_it_is_open(page_of, make_user, found, system):
    client = page_of(make_user("auditor"))
    for path in (f"/models/{found.model.name}/", f"/models/{found.model.name}/versions/1/"):
        assert f'href="/findings/#finding-{found.id}"' in client.get(path).content.decode()
    services.close_finding(actor=system, finding=found, because="It was put back.")
    assert "Not as it was frozen" not in client.get(path).content.decode()


def test_a_closed_finding_stands_below_with_its_reason(page_of, make_user, found, system):
    services.close_finding(actor=system, finding=found, because="It was put back.")
    text = page_of(make_user("auditor")).get("/findings/").content.decode()
    assert "Everything is as it was frozen and decided" in text and "It was put back." in text
    assert text.index("Closed") < text.index("It was put back.")


def test_findings_about_models_out_of_sight_are_not_shown_nor_counted(page_of, make_user, found, usecase):
    browser = page_of(make_user("ml_engineer"))
    text = browser.get("/findings/").content.decode()
    assert "Mallory" not in text and found.model.name not in text
    assert 'href="/findings/"' not in browser.get("/models/").content.decode()


def test_the_rail_names_findings_while_some_are_open(page_of, make_user, found, system):
    browser = page_of(make_user("auditor"))
    rail = " ".join(browser.get("/models/").content.decode().split())
    assert '<a href="/findings/" >Findings <span class="count">1</span></a>' in rail
    services.close_finding(actor=system, finding=found, because="It was put back.")
    assert 'href="/findings/"' not in browser.get("/models/").content.decode()
    assert 'href="/notices/"' in rail and 'href="/webhooks/"' not in rail
    admin = page_of(make_user("admin")).get("/models/").content.decode()
    assert all(f'href="{path}"' in admin for path in ("/datasets/", "/webhooks/", "/people/", "/notices/"))


def test_the_ungoverned_are_apart_and_an_owner_is_asked_for(page_of, make_user):
    make_version("loose"), make_version("used")
    govern("used")
    engineer = make_user("ml_engineer")
    text = page_of(engineer).get("/models/?governed=false").content.decode()
    assert "1 model that no use case uses, 1 of them nobody" in text and "/models/used/" not in text
    assert 'action="/models/loose/owner/"' in text and f'value="{engineer.email}"' in text
    reader = page_of(make_user("approver:risk")).get("/models/?governed=false").content.decode()
    assert "nobody yet" in reader and "/models/loose/owner/" not in reader


def test_an_engineer_takes_a_model_and_hands_it_on(page_of, make_user):
    make_version("loose")
    first, second = make_user("ml_engineer"), make_user("ml_engineer")
    assert page_of(first).post("/models/loose/owner/", {"owner": first.email}).status_code == 302
    assert RegisteredModel.objects.get(name="loose").owner == first
    assert page_of(second).post("/models/loose/owner/", {"owner": second.email}).status_code == 403
    assert RegisteredModel.objects.get(name="loose").owner == first
    assert page_of(first).post("/models/loose/owner/", {"owner": make_user("auditor").email}).status_code == 400
    assert page_of(first).post("/models/loose/owner/", {"owner": second.email}).status_code == 302
    assert RegisteredModel.objects.get(name="loose").owner == second
    assert page_of(make_user("stakeholder")).get("/models/loose/owner/").status_code == 404


def test_every_page_that_tells_of_mlflow_works_without_it_and_says_how_old_it_is(page_of, make_user, settings):
    from datetime import timedelta

    from apps.core.clock import now
    from apps.registry.models import Dataset, MlflowContact

    settings.MLFLOW_URL = "http://127.0.0.1:1"
    make_version()
    make_version(number=2)
    MlflowContact.objects.create(
        reached_at=now() - timedelta(hours=3), failing_since=now() - timedelta(hours=2), detail="MLflow cannot be heard."
    )
    client, dataset = page_of(make_user("auditor")), Dataset.objects.get(name="visits-training")
    model = "/models/care-outreach/"
    for path in (
        "/models/", "/models/?governed=false", "/findings/", model, f"{model}compare/?versions=1,2", f"{model}versions/2/",
        f"{model}versions/2/lineage/", "/datasets/", f"/datasets/{dataset.id}/", "/search/?q=care",
    ):  # fmt: skip
        answer = client.get(path)
        text = " ".join(answer.content.decode().split())
        assert answer.status_code == 200 and "MLflow has not answered since" in text and "as of" in text, path


def test_what_could_not_be_read_is_said_to_be_not_comparable(page_of, make_user, api, versions, system):
    version = versions(1)
    row = services.raise_finding(
        actor=system, kind="beside", model=version.model, version=version, detail=f"Files beside {version.label} cannot be compared.",
        expected={"beside_digest": "sha256:1"}, found={"beside_unread": "they could not be listed or read"},
    )  # fmt: skip
    client, unread = page_of(make_user("auditor")), "Files beside a version, in the folder of its run, cannot be compared with those that were frozen"
    assert f"<strong>{unread}.</strong>" in client.get("/findings/").content.decode()
    of_model = client.get(f"/models/{version.model.name}/").content.decode()
    assert "It cannot be compared with what was frozen." in of_model and "Not as it was frozen" not in of_model
    assert api(make_user("auditor")).get(f"/api/v1/findings/{row.id}/").json()["says"] == unread
    other = services.raise_finding(actor=system, kind="beside", key="2", model=version.model, expected={"beside": {"a": 1}}, found={}, detail="One is gone.")
    assert other.says == "Files beside a version, in the folder of its run, are not those that were frozen" and not other.unread


def test_the_owner_of_a_model_that_is_nobodys_is_whoever_logged_it(page_of, make_user):
    elena, visitor = make_user("ml_engineer"), make_user("ml_engineer")
    make_version("logged-here", author_user=elena)
    make_version("brought-along", author_user=visitor, tags={"imported.from": "http://old", "mlflow.user": elena.email.partition("@")[0]})
    make_version("by-nobody-here", tags={"mlflow.user": "root"})
    make_version("by-no-engineer", author_user=make_user("auditor"))
    text = page_of(visitor).get("/models/?governed=false").content.decode()
    for name, address in {"logged-here": elena, "brought-along": elena, "by-nobody-here": visitor, "by-no-engineer": visitor}.items():
        form = text[text.index(f'action="/models/{name}/owner/"') :]
        assert f'value="{address.email}"' in form[: form.index("</form>")], name
        assert f'value="{address.email}"' in page_of(visitor).get(f"/models/{name}/owner/").content.decode(), name


def test_a_server_of_another_version_is_said_where_models_are(page_of, make_user):
    from apps.core.clock import now
    from apps.registry.models import MlflowContact

    row = MlflowContact.objects.create(reached_at=now(), server_version="3.17.2")
    client = page_of(make_user("auditor"))
    assert "The MLflow server is version" not in client.get("/models/").content.decode()
    MlflowContact.objects.filter(id=row.id).update(server_version="3.18.0")
    for path in ("/models/", "/models/?governed=false", "/findings/"):
        assert "The MLflow server is version 3.18.0, not 3.17.2." in client.get(path).content.decode(), path

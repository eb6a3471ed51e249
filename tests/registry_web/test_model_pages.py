"""Pages of models: the registry, one model, one version with its card, decisions and where it runs."""

import pytest

from apps.accounts.services import grant
from apps.core.clock import now
from apps.registry.models import AliasRecord, Dataset, ModelVersion, RegisteredModel, RunInput
from tests.deployments_web.conftest import words

pytestmark = pytest.mark.django_db
CARD = {
    "intended_use": "Suggest whom the desk calls.", "out_of_scope": "Pricing and refusing care.", "limitations": "Learned from old records only.",
    "training_data": "Renewal years of the register.", "evaluation": "Held-out rows, recall of 0.81.", "explainability": "",
    "ethical": "A nurse may skip any call.", "owner_contact": "engineer at example.org please",
}  # fmt: skip


@pytest.fixture
def version(versions):
    made = versions(1)
    ModelVersion.objects.filter(id=made.id).update(
        author="Elena Engineer", run_id="a1" * 16, run_name="logistic", metrics={"recall": 0.81}, params={"C": "1.0"}, requirements="numpy==2.4.6",
        registered_at=now(), size_bytes=2048, flavor="sklearn", description="Calls.",
    )  # fmt: skip
    dataset = Dataset.objects.create(name="register-train", digest="d506dc2d", profile={"num_rows": 3048})
    RunInput.objects.create(version=made, dataset=dataset, context="training")
    return ModelVersion.objects.get(id=made.id)


@pytest.fixture
def sponsor(make_user, elena, usecase, linked):
    """A stakeholder who may see the use case."""
    from apps.usecases import services

    user = make_user("stakeholder")
    services.give_access(actor=elena, usecase_id=usecase.id, user=user, level="view")
    return user


AT = "/models/care-outreach/versions/1/"


@pytest.mark.parametrize("path", ["/models/", "/models/care-outreach/", AT])
def test_who_may_see_models(client, page_of, make_user, sponsor, version, path):
    assert client.get(path).status_code == 302
    for role in ("auditor", "admin"):
        assert "care-outreach" in words(page_of(make_user(role)).get(path)), role
    assert "care-outreach" in words(page_of(sponsor).get(path))
    for role in ("ml_engineer", "approver:risk", "stakeholder"):
        stranger = page_of(make_user(role)).get(path)
        assert stranger.status_code == 404 or "care-outreach" not in words(stranger), role


def test_the_list_is_searched_by_name(browser, version):
    RegisteredModel.objects.create(name="letter-routing")
    assert "2 registered models." in words(browser.get("/models/"))
    found = words(browser.get("/models/?q=LETTER"))
    assert "letter-routing" in found and "/models/care-outreach/" not in found
    assert "No model has “zebra” in its name." in words(browser.get("/models/?q=zebra"))


def test_an_empty_registry_says_how_to_register(page_of, make_user):
    text = words(page_of(make_user("ml_engineer")).get("/models/"))
    assert "No model yet." in text and "MLFLOW_TRACKING_URI" in text and "Get a token" in text


def test_many_models_take_no_more_queries_than_one(browser, version, django_assert_max_num_queries):
    for number in range(30):
        model = RegisteredModel.objects.create(name=f"m-{number}")
        made = ModelVersion.objects.create(model=model, version=1)
        AliasRecord.objects.create(model=model, alias="production", version=made, set_at=now())
    with django_assert_max_num_queries(14):
        assert "31 registered models." in words(browser.get("/models/"))


def test_a_model_shows_its_versions_aliases_and_the_use_cases_it_serves(browser, linked, version):
    AliasRecord.objects.create(model=version.model, alias="production", version=version, set_at=now(), set_by="registry alias")
    text = words(browser.get("/models/care-outreach/"))
    assert "1 version." in text and "@production" in text and "<strong>now</strong>" in text
    assert 'It serves <a href="/usecases/care-outreach/">Care outreach</a>.' in text
    assert browser.get("/models/none-such/").status_code == 404


def test_a_version_without_a_decision_may_run_nowhere(browser, linked, version):
    text = words(browser.get(AT))
    assert "It may run nowhere: no decision is live for it." in text and "No decision names it." in text and "Begin a gate" in text
    assert "register-train" in text and "3,048 rows" in text and "numpy==2.4.6" in text and "0.81" in text and "age" in text
    assert browser.get("/models/care-outreach/versions/9/").status_code == 404


def test_a_version_says_where_it_may_run_and_where_it_answers(browser, linked, version, decide, stage):
    decide(1, "production")
    assert "It may run in production, and answers nowhere." in words(browser.get(AT))
    live = stage.live(1)
    text = words(browser.get(AT))
    assert f"It answers {live.endpoint.name}." in text and f'href="/endpoints/{live.endpoint.slug}/"' in text


def test_a_decision_that_is_on_hold_says_so(browser, linked, version, decide, elena):
    from apps.decisions import services

    decision = decide(1, "pilot")
    services.place_hold(actor=elena, decision_id=decision.id, reason="Incident: odd", source_type="test", source_id="1")
    text = words(browser.get(AT))
    assert "not in force" in text and "The decision is on hold. Incident: odd. Close what caused it" in text


def test_decisions_and_deployments_of_use_cases_out_of_sight_stay_there(page_of, make_user, linked, version, decide, stage, system):
    decide(1, "production")
    live = stage.live(1)
    engineer = make_user("ml_engineer")
    grant(actor=system, user=engineer, permission="registry.view_registeredmodel", subject=version.model)
    text = words(page_of(engineer).get(AT))
    assert live.endpoint.name not in text and "No decision names it." in text


def test_changed_files_are_the_first_thing_said(browser, version):
    ModelVersion.objects.filter(id=version.id).update(status="changed", observed_digest="sha256:" + "f" * 64)
    text = words(browser.get(AT))
    assert "Its files are not those that were recorded: do not use it." in text and "f" * 64 in text


def test_the_card_is_saved_and_counted(browser, version):
    assert "not begun" in words(browser.get(AT))
    said = words(browser.post(AT, CARD | {"revision": "0"}, follow=True))
    assert "The card is saved." in said and "complete" in said and "Learned from old records only." in said
    version.refresh_from_db()
    assert version.card.updated_by == "Elena Engineer"


def test_a_card_somebody_saved_meanwhile_is_not_overwritten_and_nothing_typed_is_lost(browser, version):
    browser.post(AT, CARD | {"revision": "0"})
    refused = browser.post(AT, CARD | {"limitations": "Mine alone, surely.", "revision": "0"})
    text = words(refused)
    assert refused.status_code == 409 and "the card was saved by Elena Engineer meanwhile" in text
    assert "Mine alone, surely.</textarea>" in text
    version.refresh_from_db()
    assert version.card.limitations == CARD["limitations"]


def test_only_engineers_edit_the_card(page_of, make_user, version):
    auditor = page_of(make_user("auditor"))
    assert "Edit the card" not in words(auditor.get(AT))
    assert auditor.post(AT, CARD | {"revision": "0"}).status_code == 403
    assert not hasattr(ModelVersion.objects.get(id=version.id), "card")

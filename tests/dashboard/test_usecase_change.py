"""Change a use case on its page: each form, happy, refused and forbidden."""

import pytest

from apps.usecases import services
from apps.usecases.models import UseCase

pytestmark = pytest.mark.django_db
PATH = "/usecases/care-outreach/edit/"
KPI = {
    "name": "Recall", "unit": "share", "direction": "higher", "dimension": "quality", "aggregation": "ratio", "cadence": "weekly", "target": "0.6",
    "floor": "0.4",
}  # fmt: skip


@pytest.fixture
def reader(make_user, owner, actor_of, usecase):
    person = make_user("stakeholder")
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=person, level="view")
    return person


def test_the_page_is_for_those_who_may_change(page_of, owner, engineer, reader, make_user, usecase):
    assert page_of(owner).get(PATH).status_code == 200
    assert page_of(engineer).get(PATH).status_code == 200
    assert page_of(reader).get(PATH).status_code == 403
    assert page_of(make_user("stakeholder")).get(PATH).status_code == 404


@pytest.mark.parametrize(
    ("what", "data"),
    [("words", {"name": "x", "problem": "y", "risk_tier": "high"}), ("requirements", {"latency_p99_ms": "9"}),
     ("integrations", {"name": "s", "direction": "in"}), ("kpis", KPI), ("people", {"user": "a@example.org", "level": "view"}),
     ("models", {"model": "outreach"}), ("hold", {"reason": "r"}), ("stop", {"lesson": "l"}), ("fall-back", {"reason": "r"}), ("resume", {})],
)  # fmt: skip
def test_a_reader_is_refused_every_change(page_of, reader, usecase, what, data):
    before = list(UseCase.objects.values_list("name", "stage"))
    assert page_of(reader).post(f"{PATH}{what}/", data).status_code in (400, 403)
    assert list(UseCase.objects.values_list("name", "stage")) == before
    assert not usecase.kpis.exists()


def test_the_description_is_saved(page_of, owner, usecase):
    answer = page_of(owner).post(f"{PATH}words/", {"name": "Care calls", "problem": "p", "risk_tier": "limited", "owner": "", "currency": "USD"})
    assert answer.status_code == 302 and answer["Location"] == f"{PATH}#words"
    usecase.refresh_from_db()
    assert (usecase.name, usecase.risk_tier, usecase.currency, usecase.owner) == ("Care calls", "limited", "USD", owner)


def test_requirements_are_saved_and_wrong_ones_named(page_of, owner, usecase):
    browser = page_of(owner)
    browser.post(f"{PATH}requirements/", {"latency_p99_ms": "80", "availability_pct": "99.9"})
    usecase.refresh_from_db()
    assert usecase.requirements.latency_p99_ms == 80.0
    answer = browser.post(f"{PATH}requirements/", {"latency_p99_ms": "80", "availability_pct": "101"})
    assert answer.status_code == 400 and 'value="101"' in answer.content.decode() and "from 0 to 100" in answer.content.decode()


def test_a_kpi_is_defined_and_a_second_of_its_name_refused(page_of, engineer, usecase, owner):
    browser = page_of(engineer)
    assert browser.post(f"{PATH}kpis/", KPI).status_code == 302
    made = usecase.kpis.get()
    assert (made.name, made.target, made.owner, made.primary) == ("Recall", 0.6, owner, False)
    again = browser.post(f"{PATH}kpis/", KPI)
    assert again.status_code == 409 and "Taken." in again.content.decode()
    backwards = browser.post(f"{PATH}kpis/", KPI | {"name": "Other", "floor": "0.9"})
    assert backwards.status_code == 400 and "Better than the target." in backwards.content.decode()


def test_a_system_a_person_and_a_model_are_added(page_of, owner, make_user, usecase):
    friend, browser = make_user("stakeholder"), page_of(owner)
    assert browser.post(f"{PATH}integrations/", {"name": "Claims", "direction": "out", "note": "nightly"}).status_code == 302
    assert browser.post(f"{PATH}people/", {"user": friend.email, "level": "view", "part": "desk lead"}).status_code == 302
    assert page_of(friend).get("/usecases/care-outreach/").status_code == 200
    assert browser.post(f"{PATH}people/", {"user": "", "level": "view"}).status_code == 400
    missing = browser.post(f"{PATH}models/", {"model": "nothing"})
    assert missing.status_code == 404 and "no registered model" in missing.content.decode()


def test_hold_resume_and_stop(page_of, owner, usecase):
    browser = page_of(owner)
    assert browser.post(f"{PATH}hold/", {"reason": ""}).status_code == 400
    assert browser.post(f"{PATH}hold/", {"reason": "Waiting for the register."})["Location"] == "/usecases/care-outreach/"
    usecase.refresh_from_db()
    assert usecase.stage == "on_hold"
    assert "Take it off hold" in browser.get(PATH).content.decode()
    browser.post(f"{PATH}resume/")
    usecase.refresh_from_db()
    assert usecase.stage == "proposal"
    assert browser.post(f"{PATH}stop/", {"lesson": ""}).status_code == 400
    browser.post(f"{PATH}stop/", {"lesson": "Not ours to automate."})
    usecase.refresh_from_db()
    assert (usecase.stage, usecase.lesson) == ("stopped", "Not ours to automate.")


def test_falling_back_is_offered_from_production_alone(page_of, owner, usecase, at_stage):
    browser = page_of(owner)
    assert "Take it back to pilot" not in browser.get(PATH).content.decode()
    assert browser.post(f"{PATH}fall-back/", {"reason": "r"}).status_code == 409
    at_stage("production")
    assert "Take it back to pilot" in browser.get(PATH).content.decode()
    browser.post(f"{PATH}fall-back/", {"reason": "It drifts."})
    usecase.refresh_from_db()
    assert usecase.stage == "pilot"


def test_an_unknown_change_is_no_page(page_of, owner, usecase):
    assert page_of(owner).post(f"{PATH}delete/").status_code == 404
    assert page_of(owner).get(f"{PATH}words/").status_code == 405

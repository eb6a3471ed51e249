"""Write down a use case on the page."""

import pytest

from apps.usecases.models import UseCase

pytestmark = pytest.mark.django_db


def form(**more: str) -> dict[str, str]:
    return {
        "name": "Pump failure early warning", "problem": "Pumps fail unseen.", "risk_tier": "limited", "currency": "eur",
        "latency_p99_ms": "60", "projected_rps": "12.5", "concurrent_users": "40", "peak_factor": "",
        "integration-0-name": "Sensor store", "integration-0-direction": "in", "integration-1-direction": "in",
    } | more  # fmt: skip


def test_one_post_writes_it_with_requirements_and_systems(page_of, make_user):
    person = make_user("stakeholder")
    sponsor = make_user("stakeholder")
    answer = page_of(person).post("/usecases/new/", form(sponsor=sponsor.email.upper()))
    assert answer.status_code == 302 and answer["Location"] == "/usecases/pump-failure-early-warning/"
    made = UseCase.objects.get()
    assert (made.owner, made.sponsor, made.currency) == (person, sponsor, "EUR")
    assert (made.requirements.latency_p99_ms, made.requirements.projected_rps, made.requirements.peak_factor) == (60.0, 12.5, 10.0)
    assert [p.name for p in made.integrations.all()] == ["Sensor store"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("name", " ", "Needed."), ("risk_tier", "", "Needed."), ("latency_p99_ms", "1,000", "Not a number."), ("latency_p99_ms", "-1", "number from"),
     ("concurrent_users", "1.5", "Not a whole number."), ("owner", "nobody@example.org", "No such account."), ("currency", "E1", "three-letter")],
)  # fmt: skip
def test_a_refusal_names_the_field_and_keeps_what_was_typed(page_of, make_user, field, value, words):
    answer = page_of(make_user("stakeholder")).post("/usecases/new/", form(**{field: value}))
    text = answer.content.decode()
    assert answer.status_code == 400 and words in text
    assert "Pumps fail unseen." in text and "Sensor store" in text
    assert not UseCase.objects.exists()


def test_an_auditor_may_not(page_of, make_user):
    browser = page_of(make_user("auditor"))
    assert browser.get("/usecases/new/").status_code == 403
    assert browser.post("/usecases/new/", form()).status_code == 403
    assert not UseCase.objects.exists()


def test_a_second_of_the_same_name_gets_its_own_address(page_of, make_user):
    browser = page_of(make_user("stakeholder"))
    browser.post("/usecases/new/", form())
    assert browser.post("/usecases/new/", form())["Location"] == "/usecases/pump-failure-early-warning-2/"

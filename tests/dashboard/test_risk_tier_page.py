"""The page of a risk tier: what it follows from, what it asks for, and the signature that lowers it."""

import pytest

from apps.usecases import services
from apps.usecases.models import TierException
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture
def risk(make_user):
    return make_user("approver:risk", name="Rita Risk")


@pytest.fixture
def said(owner, actor_of):
    return services.create_usecase(actor=actor_of(owner), name="Triage", problem="P.", exposure="medium", purpose="vital")


def test_it_says_what_the_tier_follows_from_and_what_the_gates_ask(page_of, owner, usecase, said, policies):
    text = page_of(owner).get("/usecases/triage/tier/").content.decode()
    assert "materiality of 12, which makes high" in text and "test-poc_pilot 1" in text and "12, this use case" in text
    unsaid = page_of(owner).get(f"/usecases/{usecase.slug}/tier/").content.decode()
    assert "are not said yet" in unsaid and "Ask for the lower tier" not in unsaid
    assert "are not said yet" in page_of(owner).get(f"/usecases/{usecase.slug}/").content.decode()
    assert "medium exposure and “vital”" in page_of(owner).get("/usecases/triage/").content.decode()


def test_a_lower_one_is_asked_for_waits_for_the_risk_owner_and_is_signed(page_of, owner, risk, said):
    path = "/usecases/triage/tier/"
    assert page_of(risk).get(path).status_code == 404
    silent = page_of(owner).post(path, {"tier": "limited", "reason": " "})
    assert silent.status_code == 400 and "Needed." in silent.content.decode() and not TierException.objects.exists()
    assert page_of(owner).post(path, {"tier": "limited", "reason": "Nurses see all."}).status_code == 302
    row = TierException.objects.get()
    assert "Sign: lower it" not in page_of(owner).get(path).content.decode()
    assert "risk tier high to limited" in page_of(risk).get("/portfolio/").content.decode()
    assert "1 lower risk tier waits for your signature" in page_of(risk).get("/inbox/").content.decode()
    browser, sign = page_of(risk), f"{path}{row.id}/"
    wrong = browser.post(sign, {"answer": "grant", "password": "wrong"})
    assert wrong.status_code == 403 and "nothing was signed" in wrong.content.decode()
    own = page_of(owner).post(sign, {"answer": "grant", "password": PASSWORD})
    assert own.status_code == 403 and own.content.decode().count('role="alert"') == 1
    done = browser.post(sign, {"answer": "grant", "password": PASSWORD, "comment": "Seen."}, follow=True).content.decode()
    assert "The lower tier holds" in done and "Rita Risk signed the lower tier" in done
    said.refresh_from_db()
    assert said.risk_tier == "limited"


def test_the_form_writes_exposure_and_purpose_and_the_tier_follows(page_of, owner):
    answer = page_of(owner).post(
        "/usecases/new/", {"name": "Loans", "problem": "P.", "exposure": "small", "purpose": "vital", "currency": "EUR"}
    )
    assert answer.status_code == 302
    page = page_of(owner)
    lower = page.post(
        "/usecases/loans/edit/words/", {"name": "Loans", "problem": "P.", "exposure": "small", "purpose": "vital", "risk_tier": "limited"}
    )
    assert lower.status_code == 409 and "risk owner" in lower.content.decode()
    grown = {"name": "Loans", "problem": "P.", "exposure": "large", "purpose": "informs", "risk_tier": "high"}
    assert page.post("/usecases/loans/edit/words/", grown).status_code == 302

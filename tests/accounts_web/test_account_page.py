"""My account: who I am here, and tokens for scripts."""

import pytest

from apps.accounts.models import ApiToken
from tests.conftest import PASSWORD
from tests.deployments_web.conftest import words

pytestmark = pytest.mark.django_db


def test_it_says_in_which_roles_one_is_here(page_of, make_user):
    text = words(page_of(make_user("approver:risk", "ml_engineer")).get("/account/"))
    assert "as approver for risk and ML engineer." in text or "as ML engineer and approver for risk." in text
    assert "You have no role yet: ask an administrator." in words(page_of(make_user()).get("/account/"))


def test_a_token_is_shown_once_and_revoked_by_name(page_of, make_user):
    browser = page_of(make_user("ml_engineer"))
    answer = browser.post("/account/", {"name": "nightly", "scopes": ["read", "mlflow"]})
    token = ApiToken.objects.get()
    assert f"ghp_{token.prefix}_" in words(answer) and "shown this once" in words(answer) and answer.headers["Cache-Control"] == "no-store"
    assert "shown this once" not in words(browser.get("/account/"))
    said = words(browser.post(f"/account/tokens/{token.id}/revoke/", follow=True))
    assert "The token “nightly” no longer works." in said and "revoked" in said


def test_a_token_without_scopes_is_refused_in_words(page_of, make_user):
    answer = page_of(make_user("ml_engineer")).post("/account/", {"name": "x"})
    assert answer.status_code == 400 and "scopes: none given." in words(answer) and not ApiToken.objects.exists()


def test_another_persons_token_is_not_found(page_of, make_user):
    owner, other = make_user("ml_engineer"), make_user("ml_engineer")
    page_of(owner).post("/account/", {"name": "mine", "scopes": ["read"]})
    assert page_of(other).post(f"/account/tokens/{ApiToken.objects.get().id}/revoke/").status_code == 404
    assert ApiToken.objects.get().revoked_at is None


def test_a_visitor_is_sent_to_sign_in(client):
    assert client.get("/account/")["Location"] == "/sign-in/?next=/account/"


@pytest.mark.parametrize("path", ["/none/such/", "/endpoints/none-such/"])
def test_what_is_not_there_is_said_in_words(page_of, make_user, path):
    answer = page_of(make_user("admin")).get(path)
    assert answer.status_code == 404 and "Go to my home page" in words(answer)


def test_a_new_password_needs_the_current_one_ends_other_sessions_and_keeps_this_one(page_of, client, make_user):
    person, new = make_user("stakeholder"), "another horse battery staple"
    browser, other = page_of(person), page_of(person)
    refused = browser.post("/account/password/", {"current": "wrong", "password": new})
    assert refused.status_code == 403 and "The password is not right." in words(refused)
    assert browser.post("/account/password/", {"current": PASSWORD, "password": "short"}).status_code == 400
    assert "Your password is changed." in words(browser.post("/account/password/", {"current": PASSWORD, "password": new}, follow=True))
    assert browser.get("/account/").status_code == 200 and other.get("/account/").status_code == 302
    assert client.post("/sign-in/", {"email": person.email, "password": new}).status_code == 302

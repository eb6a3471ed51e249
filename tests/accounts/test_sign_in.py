"""Sign in on the page: happy, wrong, guessed too often, closed account, open redirect."""

import pytest

from apps.accounts import services
from apps.accounts.models import SignInAttempt
from apps.audit.models import Event
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def post(client, email, password, **extra):
    return client.post("/sign-in/", {"email": email, "password": password, **extra})


def test_the_right_password_opens_a_session_and_is_in_the_trail(client, make_user):
    user = make_user("stakeholder")
    assert post(client, user.email.upper(), PASSWORD).status_code == 302
    assert Event.objects.filter(action="accounts.session.opened").count() == 1


def test_a_wrong_password_is_refused_counted_and_in_the_trail(client, make_user):
    user = make_user("stakeholder")
    answer = post(client, user.email, "wrong")
    assert answer.status_code == 403
    assert "not right" in answer.content.decode()
    assert SignInAttempt.objects.count() == 1
    assert Event.objects.filter(action="accounts.session.refused").count() == 1


def test_an_unknown_address_gets_the_same_words(client, make_user):
    known = post(client, make_user("stakeholder").email, "wrong").content
    unknown = post(client, "nobody@example.org", "wrong").content
    assert b"not right" in known and b"not right" in unknown


def test_the_eleventh_try_in_a_quarter_of_an_hour_is_refused_even_with_the_right_password(client, make_user):
    user = make_user("stakeholder")
    for _ in range(10):
        post(client, user.email, "wrong")
    answer = post(client, user.email, PASSWORD)
    assert answer.status_code == 403
    assert "Wait 15 minutes" in answer.content.decode()


def test_a_closed_account_cannot_sign_in(client, make_user, system):
    user = make_user("stakeholder")
    services.deactivate_user(actor=system, user_id=user.id)
    assert post(client, user.email, PASSWORD).status_code == 403


def test_next_never_leads_to_another_host(client, make_user):
    user = make_user("stakeholder")
    answer = post(client, user.email, PASSWORD, next="https://evil.example/")
    assert answer["Location"] == "/"


def test_signing_out_ends_the_session(client, make_user):
    user = make_user("stakeholder")
    post(client, user.email, PASSWORD)
    client.post("/sign-out/")
    assert client.get("/account/").status_code == 302
    assert Event.objects.filter(action="accounts.session.closed").count() == 1


def test_the_right_password_begins_a_new_count(client, make_user):
    user = make_user("stakeholder")
    for _ in range(9):
        post(client, user.email, "wrong")
    assert post(client, user.email, PASSWORD).status_code == 302
    assert SignInAttempt.objects.count() == 0

"""Sign in on the page: happy, wrong, guessed too often, closed account, open redirect."""

from datetime import timedelta

import pytest

from apps.accounts import rules, services
from apps.accounts.models import SignInAttempt
from apps.audit.models import Event
from apps.core import clock
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
    assert answer.status_code == 429 and 0 < int(answer["Retry-After"]) <= 900
    text = answer.content.decode()
    assert "too many failed tries for this account. Wait 15 minutes" in text and 'role="alert"' in text
    with clock.fixed(clock.now() + timedelta(minutes=16)):
        assert post(client, user.email, PASSWORD).status_code == 302


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


def test_one_address_cannot_try_many_accounts(client, make_user):
    user = make_user("stakeholder")
    for number in range(rules.MAX_FAILURES_OF_ADDRESS):
        services.record_failure(email=f"person{number}@example.org", ip="203.0.113.7")
    answer = client.post("/sign-in/", {"email": user.email, "password": PASSWORD}, REMOTE_ADDR="203.0.113.7")
    assert answer.status_code == 429 and "from your network address" in answer.content.decode()
    assert client.post("/sign-in/", {"email": user.email, "password": PASSWORD}, REMOTE_ADDR="203.0.113.8").status_code == 302


def test_addresses_of_one_network_count_together_where_a_caller_has_many(db):
    assert rules.address_key("2001:db8:1:2:3:4:5:6") == rules.address_key("2001:db8:1:2::9") != rules.address_key("2001:db8:1:3::9")
    assert rules.address_key("::ffff:203.0.113.7") == "203.0.113.7" and rules.address_key("nonsense") == ""


def test_behind_the_proxy_only_the_address_that_it_appended_counts(client, make_user, settings):
    user = make_user("stakeholder")
    headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}
    client.post("/sign-in/", {"email": user.email, "password": "wrong"}, headers=headers)
    settings.BEHIND_PROXY = True
    client.post("/sign-in/", {"email": user.email, "password": "wrong"}, headers=headers)
    assert sorted(SignInAttempt.objects.values_list("ip", flat=True)) == ["127.0.0.1", "203.0.113.9"]


def test_strangers_who_fail_to_sign_in_block_no_password_given_again(client, api, make_user):
    user = make_user("stakeholder")
    for _ in range(rules.MAX_FAILURES + 5):
        services.record_failure(email=user.email, ip="203.0.113.7")
    services.verify_again(user=user, password=PASSWORD)
    assert post(client, user.email, PASSWORD).status_code == 429


def test_a_password_given_again_is_limited_on_its_own_and_says_when_to_come_back(client, make_user):
    user = make_user("stakeholder")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    path, body = f"/api/v1/users/{user.id}/password/", {"password": "another horse battery staple", "current": "wrong"}
    for _ in range(rules.MAX_FAILURES):
        assert client.post(path, body, content_type="application/json").status_code == 403
    answer = client.post(path, body | {"current": PASSWORD}, content_type="application/json")
    assert answer.status_code == 429 and 0 < int(answer["Retry-After"]) <= 900
    assert answer.json()["retry_after_s"] == int(answer["Retry-After"]) and "Wait 15 minutes" in answer.json()["detail"]
    client.post("/sign-out/")
    assert post(client, user.email, PASSWORD).status_code == 302

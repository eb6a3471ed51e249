"""Closing accounts, changing roles and passwords: administrators, and one's own password with the current one."""

import pytest

from apps.accounts.models import User
from apps.audit.models import Event
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
NEW = "another horse battery staple"


def test_an_administrator_closes_an_account_and_others_may_not(api, make_user):
    person = make_user("stakeholder")
    client = api(person)
    assert api(make_user("auditor")).delete(f"/api/v1/users/{person.id}/").status_code == 403
    assert api(make_user("admin")).delete(f"/api/v1/users/{person.id}/").json()["is_active"] is False
    assert client.get("/api/v1/me/").status_code == 401


def test_a_role_is_given_and_taken_away_and_ends_at_once(api, make_user):
    admin, person = api(make_user("admin")), make_user("stakeholder")
    role = {"role": "approver", "function": "risk"}
    assert admin.post(f"/api/v1/users/{person.id}/roles/", role).status_code == 201
    assert admin.delete(f"/api/v1/users/{person.id}/roles/", role).json()["roles"] == [{"role": "stakeholder", "function": ""}]
    assert Event.objects.filter(action="accounts.role.removed").count() == 1
    assert api(person).post(f"/api/v1/users/{person.id}/roles/", role).status_code == 403


def test_an_administrator_gives_a_new_password_and_the_lock_is_lifted(api, client, make_user):
    person = make_user("stakeholder")
    for _ in range(10):
        client.post("/sign-in/", {"email": person.email, "password": "wrong"})
    answer = api(make_user("admin")).post(f"/api/v1/users/{person.id}/password/", {"password": NEW})
    assert answer.status_code == 200 and Event.objects.filter(action="accounts.password.changed").count() == 1
    assert client.post("/sign-in/", {"email": person.email, "password": NEW}).status_code == 302


def test_ones_own_password_needs_the_current_one(client, make_user):
    person = make_user("stakeholder")
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    path = f"/api/v1/users/{person.id}/password/"
    wrong = client.post(path, {"password": NEW, "current": "wrong"}, content_type="application/json")
    assert wrong.status_code == 403 and Event.objects.filter(action="accounts.session.refused").count() == 1
    right = client.post(path, {"password": NEW, "current": PASSWORD}, content_type="application/json")
    assert right.status_code == 200 and User.objects.get(id=person.id).check_password(NEW)


def test_a_token_cannot_change_its_owners_password(api, make_user):
    person = make_user("stakeholder")
    answer = api(person).post(f"/api/v1/users/{person.id}/password/", {"password": NEW, "current": PASSWORD})
    assert answer.status_code == 403


def test_a_weak_password_is_refused_by_name(api, make_user):
    answer = api(make_user("admin")).post(f"/api/v1/users/{make_user('stakeholder').id}/password/", {"password": "short"})
    assert answer.status_code == 400 and "password" in answer.json()["errors"]

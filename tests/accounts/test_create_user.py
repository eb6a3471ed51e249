"""Making accounts: only administrators, every bad field named, nothing stored by halves."""

import pytest

from apps.accounts.models import User
from apps.audit.models import Event
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
NEW = {"email": "new@example.org", "full_name": "New Person", "password": PASSWORD, "roles": [{"role": "approver", "function": "risk"}]}


def test_an_administrator_makes_an_account_with_roles_in_one_step(api, make_user):
    answer = api(make_user("admin")).post("/api/v1/users/", NEW)
    assert answer.status_code == 201
    assert answer.json()["roles"] == [{"role": "approver", "function": "risk"}]
    assert Event.objects.filter(action="accounts.role.assigned", object_id=answer.json()["id"]).count() == 1


def test_others_may_not(api, make_user):
    assert api(make_user("ml_engineer")).post("/api/v1/users/", NEW).status_code == 403
    assert not User.objects.filter(email=NEW["email"]).exists()


def test_an_address_is_taken_whatever_its_case(api, make_user):
    make_user("stakeholder", email="new@example.org")
    answer = api(make_user("admin")).post("/api/v1/users/", NEW | {"email": "NEW@example.org"})
    assert answer.status_code == 409
    assert "email" in answer.json()["errors"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"password": "short"}, "password"),
        ({"full_name": " "}, "full_name"),
        ({"email": "nonsense"}, "email"),
        ({"roles": [{"role": "king"}]}, "role"),
        ({"roles": [{"role": "approver"}]}, "function"),
        ({"roles": [{"role": "auditor", "function": "risk"}]}, "function"),
    ],
)
def test_bad_fields_are_named_and_nothing_is_stored(api, make_user, change, field):
    answer = api(make_user("admin")).post("/api/v1/users/", NEW | change)
    assert answer.status_code == 400
    assert field in answer.json()["errors"]
    assert not User.objects.filter(full_name="New Person").exists()

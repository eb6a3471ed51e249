"""People, for administrators: list, make, give and take roles, close; what is taken away ends at once."""

import pytest

from apps.accounts import services
from apps.accounts.models import RoleAssignment, User
from apps.audit.models import Event
from tests.conftest import PASSWORD
from tests.deployments_web.conftest import words

pytestmark = pytest.mark.django_db
NEW = {"full_name": "Nora New", "email": "nora@example.org", "password": PASSWORD, "role": "approver:risk"}


@pytest.fixture
def admin(make_user):
    return make_user("admin")


def test_only_administrators_see_the_pages_and_the_place(page_of, make_user, admin):
    person = make_user("stakeholder")
    for role in ("stakeholder", "auditor", "ml_engineer", "approver:risk"):
        browser = page_of(make_user(role))
        assert browser.get("/people/").status_code == 403 and 'href="/people/"' not in browser.get("/account/").content.decode()
        for path in ("roles/", "roles/remove/", "close/"):
            assert browser.post(f"/people/{person.id}/{path}", {"role": "admin"}).status_code in (403, 404)
    assert 'href="/people/"' in page_of(admin).get("/account/").content.decode()
    assert User.objects.get(id=person.id).is_active and list(person.role_assignments.values_list("role", flat=True)) == ["stakeholder"]


def test_an_account_is_made_with_its_role_and_can_sign_in(page_of, client, admin):
    browser = page_of(admin)
    answer = browser.post("/people/", NEW)
    made = User.objects.get(email="nora@example.org")
    assert answer["Location"] == f"/people/{made.id}/"
    assert "approver for risk" in words(browser.get(answer["Location"]))
    assert client.post("/sign-in/", {"email": made.email, "password": PASSWORD}).status_code == 302


@pytest.mark.parametrize(("change", "said"), [({"email": "nonsense"}, "Not an email address."), ({"password": "short"}, "too short"), ({"role": "king"}, "not a role")])
def test_a_refused_account_keeps_what_was_typed_but_the_password_and_stores_nothing(page_of, admin, change, said):
    answer = page_of(admin).post("/people/", NEW | change)
    text = answer.content.decode()
    assert answer.status_code == 400 and said in text and 'value="Nora New"' in text and PASSWORD not in text
    assert not User.objects.filter(full_name="Nora New").exists()


def test_people_are_found_by_a_part_of_name_or_address_closed_ones_too(page_of, admin, make_user, system):
    gone = make_user("stakeholder", name="Gesa Gone", email="gesa@example.org")
    services.deactivate_user(actor=system, user_id=gone.id)
    text = words(page_of(admin).get("/people/?search=gesa"))
    assert "Gesa Gone" in text and "closed" in text
    assert "Nobody like that." in words(page_of(admin).get("/people/?search=zzz"))


def test_a_role_is_given_and_taken_away_and_both_are_in_the_trail(page_of, admin, make_user):
    person, browser = make_user("stakeholder"), page_of(admin)
    browser.post(f"/people/{person.id}/roles/", {"role": "ml_engineer"})
    assert RoleAssignment.objects.filter(user=person, role="ml_engineer").exists()
    browser.post(f"/people/{person.id}/roles/remove/", {"role": "ml_engineer"})
    assert not RoleAssignment.objects.filter(user=person, role="ml_engineer").exists()
    assert Event.objects.filter(action="accounts.role.removed").count() == 1
    assert browser.post(f"/people/{person.id}/roles/", {"role": ""}).status_code == 400


def test_a_closed_account_loses_its_sessions_and_tokens_at_once(page_of, api, admin, make_user):
    person = make_user("stakeholder")
    theirs, script = page_of(person), api(person)
    assert theirs.get("/account/").status_code == 200 and script.get("/api/v1/me/").status_code == 200
    assert "Its sessions and tokens ended at once." in words(page_of(admin).post(f"/people/{person.id}/close/", follow=True))
    assert theirs.get("/account/").status_code == 302 and theirs.get("/api/v1/me/").status_code == 401
    assert script.get("/api/v1/me/").status_code == 401


def test_there_is_always_an_administrator_and_nobody_closes_their_own_account(page_of, api, admin, make_user, system):
    browser = page_of(admin)
    assert browser.post(f"/people/{admin.id}/close/").status_code == 409
    answer = browser.post(f"/people/{admin.id}/roles/remove/", {"role": "admin"})
    assert answer.status_code == 409 and "last administrator" in words(answer)
    with pytest.raises(Exception, match="last administrator"):
        services.deactivate_user(actor=system, user_id=admin.id)
    other = make_user("admin")
    assert api(other).delete(f"/api/v1/users/{admin.id}/").status_code == 200
    assert api(other).delete(f"/api/v1/users/{other.id}/roles/", {"role": "admin"}).status_code == 409


def test_the_api_reads_one_account_and_lists_closed_ones_for_administrators_only(api, admin, make_user, system):
    gone, client = make_user("stakeholder"), api(admin)
    services.deactivate_user(actor=system, user_id=gone.id)
    assert client.get(f"/api/v1/users/{gone.id}/").json()["is_active"] is False
    assert str(gone.id) in {u["id"] for u in client.get("/api/v1/users/?closed=true").json()["results"]}
    assert str(gone.id) not in {u["id"] for u in client.get("/api/v1/users/").json()["results"]}
    other = api(make_user("stakeholder"))
    assert other.get("/api/v1/users/?closed=true").status_code == 403 and other.get(f"/api/v1/users/{gone.id}/").status_code == 404
    assert client.post(f"/api/v1/users/{gone.id}/roles/", {"role": "auditor"}).status_code == 409

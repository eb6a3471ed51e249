"""Take access away: by whoever may give it, at once, in the trail; and addresses that no use case may take."""

import re

import pytest
from django.urls import URLPattern, get_resolver

from apps.audit.models import Event
from apps.usecases import rules, services
from apps.usecases.models import Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def guest(make_user, owner, actor_of, usecase):
    person = make_user("ml_engineer")
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=person, level="change", part="model owner")
    return person


def where(usecase, user=None):
    return f"/api/v1/usecases/{usecase.slug}/access/" + (f"{user.id}/" if user else "")


def test_the_owner_lists_gives_and_takes_and_it_ends_at_once(api, owner, guest, usecase):
    client, theirs = api(owner), api(guest)
    assert [(r["user"]["email"], r["part"], r["level"]) for r in client.get(where(usecase)).json()["results"]] == [
        (guest.email, "model owner", "change")
    ]
    assert theirs.get(f"/api/v1/usecases/{usecase.slug}/").status_code == 200
    assert client.delete(where(usecase, guest)).json()["email"] == guest.email
    assert theirs.get(f"/api/v1/usecases/{usecase.slug}/").status_code == 404
    assert client.get(where(usecase)).json()["results"] == [] and not Person.objects.exists()
    assert Event.objects.filter(action="accounts.grant.removed").count() == 2
    taken = Event.objects.get(action="usecases.access.taken")
    assert taken.facts["before"] == {"user": guest.email, "level": "change", "parts": ["model owner"]}
    assert client.delete(where(usecase, guest)).status_code == 404


def test_an_administrator_may_and_readers_and_strangers_may_not(api, make_user, owner, actor_of, guest, usecase):
    reader = make_user("stakeholder")
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=reader, level="view")
    assert api(reader).delete(where(usecase, guest)).status_code == 403
    assert api(make_user("stakeholder")).delete(where(usecase, guest)).status_code == 404
    assert api(make_user("auditor")).delete(where(usecase, guest)).status_code == 403
    assert api(make_user("admin")).delete(where(usecase, guest)).status_code == 200


def test_the_owner_keeps_access_until_another_owns_it(api, make_user, owner, actor_of, usecase):
    services.give_access(actor=actor_of(owner), usecase_id=usecase.id, user=owner, level="change")
    answer = api(make_user("admin")).delete(where(usecase, owner))
    assert answer.status_code == 409 and "Name another owner first" in answer.json()["detail"]


def test_a_closed_account_loses_its_access_too(api, owner, guest, usecase, system):
    from apps.accounts import services as accounts

    accounts.deactivate_user(actor=system, user_id=guest.id)
    assert api(owner).delete(where(usecase, guest)).status_code == 200
    assert not rules.level_of(guest_permissions(usecase, guest))


def guest_permissions(usecase, user):
    from apps.usecases import selectors

    return selectors.grants(usecase).get(user.id, [])


def test_the_page_lists_people_and_takes_access_away(client, owner, guest, usecase):
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    path = f"/usecases/{usecase.slug}/edit/"
    assert f"Take access away<span class=\"hidden\"> from {guest.full_name}" in client.get(path).content.decode()
    answer = client.post(f"{path}take-access/", {"person": str(guest.id)})
    assert answer.status_code == 302 and answer["Location"] == f"{path}#people"
    assert "Take access away" not in client.get(path).content.decode()
    refused = client.post(f"{path}take-access/", {"person": "nobody"})
    assert refused.status_code == 400 and "choose a person of the list" in refused.content.decode()


def _literals(start: str) -> set[str]:
    rows = get_resolver().url_patterns
    found = set()
    stack = [("", row) for row in rows]
    while stack:
        prefix, row = stack.pop()
        route = prefix + str(row.pattern)
        if isinstance(row, URLPattern):
            if match := re.match(rf"{start}/([a-z0-9-]+)/$", route):
                found.add(match[1])
        else:
            stack += [(route, each) for each in row.url_patterns]
    return found


def test_every_page_beside_the_use_cases_is_reserved():
    from apps.deployments import rules as deployments

    assert _literals("usecases") == set(rules.RESERVED_SLUGS)
    assert _literals("endpoints") == set(deployments.RESERVED_SLUGS)


@pytest.mark.parametrize("name", ["New", "new!", "NEW"])
def test_no_use_case_takes_the_address_of_a_page(owner, actor_of, name):
    made = services.create_usecase(actor=actor_of(owner), name=name, problem="p", risk_tier="limited")
    assert made.slug == "new-2"


def test_a_name_that_is_an_id_can_still_be_visited(api, owner, actor_of):
    made = services.create_usecase(actor=actor_of(owner), name="0190f3c2-7b1e-7c3a-9d54-2f6b8a1c0e77", problem="p", risk_tier="limited")
    assert api(owner).get(f"/api/v1/usecases/{made.slug}/").status_code == 200

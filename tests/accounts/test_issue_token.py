"""API tokens: shown once, hashed, scoped, expiring, revocable."""

from datetime import timedelta

import pytest

from apps.accounts import services
from apps.accounts.models import ApiToken
from apps.core import clock

pytestmark = pytest.mark.django_db


def test_the_secret_is_in_the_answer_once_and_never_in_the_database(api, make_user):
    answer = api(make_user("ml_engineer")).post("/api/v1/tokens/", {"name": "ci", "scopes": ["read"]})
    assert answer.status_code == 201
    secret = answer.json()["token"]
    row = ApiToken.objects.get(id=answer.json()["id"])
    assert secret.startswith("ghp_") and secret not in row.token_hash
    assert "token" not in api(row.user).get("/api/v1/tokens/").json()["results"][0]


def test_a_read_token_cannot_write(api, make_user):
    client = api(make_user("admin"), scopes=("read",))
    answer = client.post("/api/v1/tokens/", {"name": "x", "scopes": ["read"]})
    assert answer.status_code == 403
    assert "scope 'write'" in answer.json()["detail"]


def test_unknown_scopes_are_named(api, make_user):
    answer = api(make_user("admin")).post("/api/v1/tokens/", {"name": "x", "scopes": ["everything"]})
    assert answer.status_code == 400
    assert "everything" in answer.json()["detail"] and "scopes" in answer.json()["errors"]


def test_a_token_stops_working_when_it_expires(api, make_user):
    client = api(make_user("ml_engineer"))
    assert client.get("/api/v1/me/").status_code == 200
    with clock.fixed(clock.now() + timedelta(days=91)):
        assert client.get("/api/v1/me/").status_code == 401


def test_a_revoked_token_stops_working_at_once_and_revoking_twice_is_quiet(api, make_user):
    user = make_user("ml_engineer")
    client = api(user)
    token = user.tokens.get()
    assert client.delete(f"/api/v1/tokens/{token.id}/").status_code == 200
    assert client.get("/api/v1/me/").status_code == 401


def test_nobody_revokes_another_persons_token(api, make_user):
    mine = make_user("ml_engineer")
    api(mine)
    assert api(make_user("ml_engineer")).delete(f"/api/v1/tokens/{mine.tokens.get().id}/").status_code == 404


def test_no_token_is_a_401_with_a_remedy(api):
    answer = api().get("/api/v1/me/")
    assert answer.status_code == 401
    assert answer["Content-Type"].startswith("application/problem+json")
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_made_up_token_is_refused(api):
    client = api()
    client.credentials(HTTP_AUTHORIZATION="Bearer ghp_00000000_nonsense")
    assert client.get("/api/v1/me/").status_code == 401


def test_deactivating_a_person_ends_their_tokens(api, make_user, system):
    user = make_user("ml_engineer")
    client = api(user)
    services.deactivate_user(actor=system, user_id=user.id)
    assert client.get("/api/v1/me/").status_code == 401


def test_routing_is_for_gateways_and_not_for_people(api, make_user):
    answer = api(make_user("admin")).post("/api/v1/tokens/", {"name": "x", "scopes": ["routing"]})
    assert answer.status_code == 403 and "gateways" in answer.json()["detail"]


def test_a_token_hands_on_no_more_than_it_has_and_for_no_longer(api, make_user):
    client = api(make_user("ml_engineer"), scopes=("write",))
    assert client.post("/api/v1/tokens/", {"name": "x", "scopes": ["write", "mlflow"]}).status_code == 403
    later = (clock.now() + timedelta(days=300)).isoformat()
    assert client.post("/api/v1/tokens/", {"name": "x", "scopes": ["write"], "expires_at": later}).status_code == 403
    assert client.post("/api/v1/tokens/", {"name": "x", "scopes": ["write"]}).status_code == 201

"""MLflow's own pages, signed in, below /mlflow/."""

import json

import pytest
from django.test import Client

from tests.registry.conftest import text
from tests.registry_endpoint.governed import govern

pytestmark = pytest.mark.django_db
SEARCH = "/mlflow/ajax-api/2.0/mlflow/experiments/search?max_results=2"
HERE = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def person(make_user, mlflow_is_up):
    """person("ml_engineer") -> a browser in which somebody of that role is signed in."""

    def make(role="ml_engineer", user=None):
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(user or make_user(role), backend="django.contrib.auth.backends.ModelBackend")
        return browser

    return make


def test_a_visitor_is_sent_to_the_sign_in_page_and_back(client):
    assert client.get("/mlflow").headers["Location"] == "/mlflow/"
    answer = client.get("/mlflow/", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 302 and answer.headers["Location"] == "/sign-in/?next=%2Fmlflow%2F"
    assert client.get("/mlflow/", headers={"Accept": "*/*"}).status_code == 401
    for path in ("/mlflow/graphql", "/mlflow/static-files/favicon.ico", SEARCH):
        assert client.get(path, headers={"Accept": "text/html,*/*"}).status_code == 401


def test_the_page_is_mlflows_with_a_way_back_and_its_own_policy(person):
    answer = person().get("/mlflow/")
    said = answer.content.decode()
    assert answer.status_code == 200 and '<div id="root"' in said and 'class="gh-bar"' in said and 'href="/models/"' in said
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy and "connect-src 'self';" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy and policy.count("unsafe-inline") == 1 and "style-src 'self' 'unsafe-inline'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY" and answer.headers["Cache-Control"] == "private, no-store"


def test_files_of_the_page_come_from_mlflow(person):
    browser = person()
    page = browser.get("/mlflow/").content.decode()
    script = page.split('src="static-files/', 1)[1].split('"', 1)[0]
    answer = browser.get(f"/mlflow/static-files/{script}")
    assert answer.status_code == 200 and "javascript" in answer.headers["Content-Type"] and "Content-Disposition" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and "max-age" in answer.headers["Cache-Control"]
    assert browser.get("/mlflow/static-files/nothing.js").status_code == 404
    assert browser.get("/mlflow/static-files/../../../etc/passwd").status_code in {400, 404}


def test_the_portal_says_who_somebody_is(person, make_user):
    user = make_user("admin")
    for prefix in ("api", "ajax-api"):
        said = person(user=user).get(f"/mlflow/{prefix}/2.0/mlflow/users/current").json()
        assert said["user"] == {"id": str(user.id), "username": str(user), "is_admin": True} and said["is_basic_auth"] is False
    assert person().get("/mlflow/ajax-api/3.0/mlflow/ui-telemetry").json()["disable_ui_telemetry"] is True


def test_a_person_sees_in_mlflows_pages_what_they_may_see(person, endpoint, register):
    made = register(endpoint())
    path = f"/mlflow/ajax-api/2.0/mlflow/runs/get?run_id={made.run_id}"
    browser = person()
    assert browser.get(path).status_code == 200
    govern(made.name)
    assert browser.get(path).status_code == 404
    assert person("auditor").get(path).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://testserver.evil.example", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://testserver", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Referer": "http://testserver/mlflow/"},
    ],
)
def test_a_write_from_elsewhere_is_refused(person, headers, events, name):
    browser = person()
    body = json.dumps({"name": name})
    path = "/mlflow/ajax-api/2.0/mlflow/registered-models/create"
    answer = browser.post(path, body, content_type="application/json", headers=headers)
    assert answer.status_code == 403 and "page of this portal" in text(answer)
    assert browser.post(path, body, content_type="application/json", headers=HERE).status_code == 200
    event = events("registry.mlflow.written", name)[-1]
    assert json.loads(event.payload)["actor"]["kind"] == "user"


def test_a_read_that_another_site_makes_in_the_background_is_refused(person):
    browser = person()
    assert browser.get(SEARCH, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert browser.get(SEARCH, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert browser.get("/mlflow/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status_code == 200


def test_a_token_of_another_scope_is_not_helped_by_a_session(person, endpoint):
    token = endpoint(scopes=("read",)).token
    assert person("admin").get(SEARCH, headers={"Authorization": f"Bearer {token}"}).status_code == 403
    assert person("admin").get(SEARCH, headers={"Authorization": "Basic YTpi"}).status_code == 401

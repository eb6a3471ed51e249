"""What every answer carries: an id, a strict policy, refusals in words."""

import re

import pytest
from django.http import HttpResponse
from django.urls import get_resolver

from portal.middleware import ContentSecurityPolicyMiddleware

pytestmark = pytest.mark.django_db


def test_alive_and_ready_say_so(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200 and ready.json()["checks"]["database"] == "ok"


def test_a_well_formed_request_id_is_kept_and_another_is_replaced(client):
    assert client.get("/healthz", headers={"X-Request-Id": "abcdefgh-1"})["X-Request-Id"] == "abcdefgh-1"
    assert client.get("/healthz", headers={"X-Request-Id": "<script>"})["X-Request-Id"] != "<script>"


def test_scripts_and_styles_come_from_the_portal_alone(client):
    policy = client.get("/sign-in/")["Content-Security-Policy"]
    assert "script-src 'self';" in policy and "style-src 'self';" in policy and "unsafe" not in policy
    assert re.search(r"default-src 'none'", policy)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/mlflow/", True), ("/mlflow/static-files/main.css", True), ("/mlflow/api/2.0/mlflow/runs/get", False), ("/mlflow", False),
        ("/mlflow/\n", False), ("/x/mlflow/", False), ("/portfolio/", False),
    ],
)  # fmt: skip
def test_an_answers_own_looser_policy_counts_at_the_listed_addresses_alone(rf, path, kept):
    own = "default-src 'none'; style-src 'unsafe-inline'"
    request = rf.get("/")
    request.path = path
    answer = ContentSecurityPolicyMiddleware(lambda _: HttpResponse(headers={"Content-Security-Policy": own}))(request)
    assert (answer["Content-Security-Policy"] == own) is kept and ("unsafe" in answer["Content-Security-Policy"]) is kept


def test_an_answers_own_stricter_policy_stays(rf):
    answer = ContentSecurityPolicyMiddleware(lambda _: HttpResponse(headers={"Content-Security-Policy": "sandbox"}))(rf.get("/portfolio/"))
    assert answer["Content-Security-Policy"] == "sandbox"


def test_pages_hold_no_inline_script_or_style_and_name_no_other_host():
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    bad = re.compile(r"""\sstyle=["']|\son[a-z]+=["']|<style|javascript:|src=["']https?:|<link[^>]+href=["']https?:""", re.I)
    guilty = [str(p.relative_to(root)) for p in (root / "templates").rglob("*.html") if bad.search(p.read_text())]
    # The first page of an evidence pack is no page of the portal: it opens from a folder, without a network, with its style in it.
    assert guilty == ["templates/dashboard/pack.html"]


def test_every_page_sends_visitors_to_the_sign_in_page(client):
    from django.urls import NoReverseMatch, reverse

    open_to_all = {"accounts:sign-in"}
    named = ["home", "portfolio", "accounts:account", "approvals:inbox", "registry:models", "deployments:endpoints", "deployments:hosts", "audit:explorer"]
    for name in named:
        if name in open_to_all:
            continue
        try:
            url = reverse(name)
        except NoReverseMatch:
            pytest.fail(f"{name} has no address")
        answer = client.get(url)
        assert answer.status_code == 302 and answer["Location"].startswith("/sign-in/"), name
    assert get_resolver()


def test_the_schema_describes_every_public_operation(client, make_user, api):
    answer = api(make_user("ml_engineer")).get("/api/schema/?format=json")
    assert answer.status_code == 200
    paths = answer.json()["paths"]
    assert all(p.startswith("/api/v1/") for p in paths)
    for wanted in ("/api/v1/usecases/", "/api/v1/gates/", "/api/v1/deployments/", "/api/v1/kpis/", "/api/v1/audit/events/", "/api/v1/models/"):
        assert wanted in paths


def test_a_page_that_is_not_there_says_so_in_words(client):
    answer = client.get("/nowhere/")
    assert answer.status_code == 404 and "There is nothing here" in answer.content.decode()


def test_an_api_address_that_is_not_visible_is_a_404_in_problem_details(api, make_user):
    answer = api(make_user("stakeholder")).get("/api/v1/usecases/not-there/")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("application/problem+json") and answer.json()["code"] == "not-found"


def test_the_docs_page_names_every_operation_of_the_schema(client, make_user, api):
    user = make_user("ml_engineer")
    paths = api(user).get("/api/schema/?format=json").json()["paths"]
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    text = client.get("/api/docs/").content.decode()
    for path, methods in paths.items():
        for method in methods:
            assert f"<strong>{method.upper()}</strong> {path}</code>" in text


@pytest.mark.parametrize("path", ["/api/v1/models/a%00b/", "/api/v1/audit/events/?usecase=a%00", "/api/v1/usecases/?search=%00"])
def test_a_nul_character_is_refused_in_words(api, make_user, path):
    answer = api(make_user("auditor")).get(path)
    assert answer.status_code == 400 and "NUL" in answer.json()["detail"]


def test_json_that_is_nested_too_deeply_is_refused(api, make_user):
    answer = api(make_user("ml_engineer")).post("/api/v1/usecases/", data="[" * 100_000, content_type="application/json")
    assert answer.status_code == 400


def test_a_missing_slash_is_a_404_and_not_a_redirect_that_loses_the_body(api, make_user):
    answer = api(make_user("ml_engineer")).post("/api/v1/usecases", {"name": "x"})
    assert answer.status_code == 404 and "slash" in answer.json()["detail"]


def test_a_pickle_in_redis_is_never_loaded(client, settings):
    import pickle

    import redis

    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('loaded')",))

    store = redis.Redis.from_url(settings.REDIS_URL)
    for key in ("web:1:readyz", ":1:readyz", "readyz"):
        store.set(key, pickle.dumps(Trap()), ex=5)
    assert client.get("/readyz").status_code == 200

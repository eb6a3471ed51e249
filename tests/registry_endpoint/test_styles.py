"""Which answers allow inline styles: every address of the portal is asked, and MLflow's page and its files alone do."""

import re
from pathlib import Path

import pytest
from django.test import Client
from django.urls import URLResolver, get_resolver

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
GIVEN = {"uuid": "01900000-0000-7000-8000-0000000000aa", "int": "1", "slug": "a", "str": "a", "path": "a", None: "a"}


def addresses(rows, prefix=""):
    """Every route with something in place of each of its parts."""
    for row in rows:
        route = prefix + str(row.pattern)
        if isinstance(row, URLResolver):
            yield from addresses(row.url_patterns, route)
        elif not re.search(r"[\^(\\]", route):
            yield "/" + re.sub(r"<(?:(\w+):)?\w+>", lambda part: GIVEN.get(part[1], "a"), route)


def test_inline_styles_are_allowed_on_mlflows_page_and_its_files_and_nowhere_else(make_user, mlflow_is_up):
    browser = Client(raise_request_exception=False)
    browser.force_login(make_user("admin"), backend="django.contrib.auth.backends.ModelBackend")
    page = browser.get("/mlflow/").content.decode()
    files = [f"/mlflow/{name}" for name in re.findall(r'(?:src|href)="(static-files/[^"]+\.(?:js|css))"', page)]
    asked = [
        *addresses(get_resolver().url_patterns),
        "/mlflow",
        "/mlflow/",
        "/mlflow/ajax-api/2.0/mlflow/experiments/search",
        *files,
        "/nowhere/",
    ]
    assert len(asked) > 200 and len(files) >= 2
    loose, whole = set(), 0
    for address in asked:
        answer = browser.get(address)
        policy = answer.headers["Content-Security-Policy"]
        whole += answer.status_code == 200
        assert "unsafe" not in re.sub(r"style-src [^;]*", "", policy), address
        if "unsafe-inline" in policy:
            loose.add(address)
    assert whole > 40
    assert loose == {"/mlflow/", *files}


def test_one_template_brings_a_policy_of_its_own():
    """The page of an evidence pack, which is opened from a disk: no answer of the portal is made from it."""
    templates = ROOT / "templates"
    assert [str(p.relative_to(templates)) for p in templates.rglob("*.html") if "unsafe-" in p.read_text()] == ["dashboard/pack.html"]
    assert (
        "script-src" not in (templates / "dashboard/pack.html").read_text()
        and "default-src 'none'" in (templates / "dashboard/pack.html").read_text()
    )
    users = [str(p.relative_to(ROOT)) for p in (ROOT / "apps").rglob("*.py") if "dashboard/pack.html" in p.read_text()]
    assert users == ["apps/dashboard/selectors_pack.py"]

"""Nobody is offered what would be refused: every link and form that a page shows is tried as the person who sees it."""

import re
from urllib.parse import urlsplit

import pytest
from django.db import transaction

from apps.usecases import services as usecases

pytestmark = pytest.mark.django_db
ROLES = ("stakeholder", "approver:business", "ml_engineer", "auditor", "admin")
FILES = (".csv", ".json")


def _inside(text: str) -> str:
    return text.partition('class="frame"')[2] or text


def _links(text: str) -> set[str]:
    found = re.findall(r'<a [^>]*href="(/[^"#]*)', _inside(text))
    return {a.replace("&amp;", "&") for a in found if not a.startswith(("/static/", "/api/")) and not a.endswith(FILES)}


def _forms(text: str) -> set[str]:
    found = re.findall(r'<form[^>]*method="post"[^>]*action="([^"#]*)', _inside(text))
    return {a for a in found if a not in ("/sign-out/", "")}


def _walk(browser) -> tuple[dict[str, int], dict[str, str]]:
    """(page -> status, form -> page it stands on) of all that can be reached from home."""
    pages, forms, waiting = {}, {}, {"/", "/account/"}
    while waiting and len(pages) < 150:
        path = waiting.pop()
        answer = browser.get(path)
        pages[path] = answer.status_code
        if answer.status_code == 302:
            waiting |= {answer["Location"]} - pages.keys()
            continue
        if answer.status_code != 200 or "text/html" not in answer["Content-Type"]:
            continue
        text = answer.content.decode()
        forms |= dict.fromkeys(_forms(text), path)
        # Every event of the trail is a page of its own; a few stand for all, and a search only repeats them.
        new = {p for p in _links(text) if not urlsplit(p).path.startswith("/trail/") or p == "/trail/"}
        waiting |= new - pages.keys()
    return pages, forms


@pytest.fixture(params=[(role, level) for role in ROLES for level in ("", "view", "change")], ids=lambda p: f"{p[0]}-{p[1] or 'stranger'}")
def browser(request, make_user, page_of, elena, world):
    """A person of each role: a stranger to the use case, a reader of it, and one who may change it."""
    role, level = request.param
    person = make_user(role)
    if level:
        usecases.give_access(actor=elena, usecase_id=world.usecase.id, user=person, level=level)
    return page_of(person)


@pytest.mark.long
def test_no_page_offers_what_is_refused(browser, world):
    pages, forms = _walk(browser)
    # The world's decisions were issued without gates, so their gates' pages are not there.
    real = {p: s for p, s in pages.items() if not re.match(r"/gates/[0-9a-f-]{36}/", p) or str(world.gate.id) in p}
    assert {path: status for path, status in real.items() if status not in (200, 302)} == {}
    # What a select has chosen already; the rest stays empty, so that most are refused for that, which is not what is looked for.
    chosen = {"deployment": str(world.standby.id), "version": str(world.version.id)}
    for form, page in forms.items():
        with transaction.atomic():
            # Marked as the test's own, so that doors may open their durable transactions inside.
            transaction.get_connection().atomic_blocks[-1]._from_testcase = True
            answer = browser.post(form, chosen)
            transaction.set_rollback(True)
        # A wrong password is refused with 403 too, at its form.
        wrong = answer.status_code in (404, 405, 500) or (answer.status_code == 403 and 'type="password"' not in answer.content.decode())
        assert not wrong, f"{page} offers {form}, which answers {answer.status_code}"


@pytest.mark.parametrize(
    ("path", "roles", "sentence"),
    [
        ("/endpoints/new/", {"ml_engineer", "admin"}, "Only an ML engineer or an administrator"),
        (
            "/usecases/new/",
            {"stakeholder", "approver:business", "ml_engineer", "admin"},
            "needs one of the roles stakeholder, approver or ML engineer",
        ),
        ("/gates/new/?usecase=care-outreach", {"admin"}, "Ask its owner for change access"),
        ("/usecases/care-outreach/edit/", {"admin"}, "Ask its owner for change access"),
    ],
)
def test_a_direct_visit_says_who_may(page_of, make_user, elena, world, path, roles, sentence):
    for role in ROLES:
        person = make_user(role)
        usecases.give_access(actor=elena, usecase_id=world.usecase.id, user=person, level="change" if path == "/endpoints/new/" else "view")
        answer = page_of(person).get(path)
        assert answer.status_code == (200 if role in roles else 403), role
        if role not in roles:
            assert sentence in answer.content.decode(), role

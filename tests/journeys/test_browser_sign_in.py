"""Signing in and out as people do it."""

import pytest
from playwright.sync_api import expect

from demo import story
from tests.journeys import hands
from tests.journeys.browser import MARKS
from tests.journeys.portals import RunningPortal
from tests.journeys.visits import Visit

pytestmark = MARKS


@pytest.mark.parametrize(
    ("part", "path", "heading"),
    [
        ("sponsor", "/portfolio/", "Portfolio"),
        ("risk", "/inbox/", "Inbox"),
        ("engineer", "/endpoints/", "Endpoints"),
        ("auditor", "/trail/", ""),
    ],
)
def test_each_role_lands_on_the_page_that_answers_its_question(
    visit: Visit, portal: RunningPortal, part: str, path: str, heading: str
) -> None:
    visitor, account = visit(), portal.ctx.account(part)
    page = visitor.sign_in(account["email"], account["password"])
    page.wait_for_url(f"**{path}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
    expect(page.get_by_role("navigation")).to_contain_text(story.PEOPLE[part].name)


def test_a_wrong_password_is_refused_in_words_and_keeps_the_address(visit: Visit, portal: RunningPortal) -> None:
    email = portal.ctx.account("sponsor")["email"]
    page = visit().sign_in(email, "not the password")
    expect(hands.refused(page)).to_contain_text("password")
    expect(page.locator("[name=email]")).to_have_value(email)
    expect(page.locator("[name=password]")).to_have_value("")
    refusal = hands.refused(page).inner_text()
    page.fill("[name=email]", "nobody@gatehouse.example")
    page.fill("[name=password]", "not the password")
    page.keyboard.press("Enter")
    page.wait_for_load_state()
    expect(page.locator("[name=email]")).to_have_value("nobody@gatehouse.example")
    assert hands.refused(page).inner_text() == refusal, "the answer does not tell whether an account exists"
    assert page.goto("/portfolio/") and page.url.endswith("/sign-in/?next=/portfolio/")


def test_a_visitor_signs_in_by_keyboard_alone_and_comes_where_they_wanted_to_go(visit: Visit, portal: RunningPortal) -> None:
    account, wanted = portal.ctx.account("sponsor"), f"/usecases/{portal.ctx['usecase']}/"
    page = visit().page
    page.goto(wanted)
    expect(page.locator("[name=email]")).to_be_focused()
    page.keyboard.type(account["email"])
    page.keyboard.press("Tab")
    page.keyboard.type(account["password"])
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{wanted}")
    expect(page.get_by_role("heading", level=1)).to_have_text(portal.ctx["usecase_name"])


def test_after_signing_in_nobody_is_sent_to_another_host(visit: Visit, portal: RunningPortal) -> None:
    account = portal.ctx.account("sponsor")
    page = visit().go("/sign-in/?next=https://elsewhere.example/")
    page.fill("[name=email]", account["email"])
    page.fill("[name=password]", account["password"])
    page.click("main button")
    page.wait_for_url("**/portfolio/")
    assert page.url.startswith(portal.base_url)


def test_after_signing_out_the_pages_ask_again(visit: Visit, portal: RunningPortal) -> None:
    account = portal.ctx.account("auditor")
    page = visit().sign_in(account["email"], account["password"])
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in/")
    page.goto("/trail/")
    expect(page.locator("[name=password]")).to_be_visible()

"""Every page, for the person who comes to it: in a wide and a narrow window, light and dark, by keyboard."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import MARKS, NARROW, WIDE, Visitor
from tests.journeys.page_checks import CONTRAST, FOCUS, INSIDE, NAMES, STRUCTURE, findings, settle
from tests.journeys.portals import RunningPortal
from tests.journeys.visits import Visit

pytestmark = MARKS
WIDTHS = (WIDE, (1200, 900), (1024, 900), (768, 1024), NARROW)


def first(rows: object) -> str:
    return str(next(iter(rows))["id"])  # type: ignore[call-overload]


def of_everybody(portal: RunningPortal) -> list[str]:
    ctx = portal.ctx
    return ["/portfolio/", f"/usecases/{ctx['usecase']}/", f"/usecases/{ctx['usecase']}/tier/", "/stalled/", f"/kpis/{ctx['kpis']['cost_per_1k_usd']}/", "/account/", "/inbox/"]


def of_the_engineer(portal: RunningPortal) -> list[str]:
    ctx = portal.ctx
    endpoint, model, version = ctx["production"]["slug"], ctx.model_name, ctx["versions"][2]["number"]
    of_version = f"/models/{model}/versions/{version}"
    return [
        "/endpoints/", "/endpoints/new/", f"/endpoints/{endpoint}/", f"/endpoints/{endpoint}/monitoring/", "/hosts/", "/rates/",
        "/models/", f"/models/{model}/", f"{of_version}/", f"/load-tests/{first(ctx.engineer.pages('load-tests/'))}/",
        "/usecases/new/", f"/usecases/{ctx['usecase']}/edit/", "/gates/new/", f"/gates/new/?usecase={ctx['usecase']}",
        "/models/?governed=false", "/findings/", "/signing-keys/", "/datasets/", f"/search/?q={model}", f"/models/{model}/owner/",
        f"/models/{model}/compare/?versions=1,2", f"/models/{model}/failure-modes/",
        *(f"{of_version}/{part}/" for part in ("card", "scan", "lineage", "evaluations", "history")),
    ]  # fmt: skip


def of_approvers(portal: RunningPortal) -> list[str]:
    gates = [g["id"] for g in portal.ctx.auditor.pages("gates/", usecase=portal.ctx["usecase"])]
    return ["/inbox/", *(f"/gates/{gate}/" for gate in gates[:2])]


def of_the_auditor(portal: RunningPortal) -> list[str]:
    signed = portal.ctx.auditor.pages("audit/events/", usecase=portal.ctx["usecase_id"], action="approvals.gate.signed")
    return ["/trail/", f"/trail/events/{first(signed)}/", "/asof/", "/trail/downloads/", "/trail/report/", "/portfolio/"]


def of_the_policy_owner(portal: RunningPortal) -> list[str]:
    policy = first(portal.ctx.auditor.pages("policies/", gate="pilot_production"))
    return ["/policies/", f"/policies/{policy}/", f"/policies/new/?from={policy}"]


PEOPLE: list[tuple[str, Callable[[RunningPortal], list[str]]]] = [
    ("sponsor", of_everybody), ("engineer", of_the_engineer), ("risk", of_approvers), ("auditor", of_the_auditor), ("admin", lambda _: ["/rates/", "/signing-keys/"]),
]  # fmt: skip


@pytest.mark.parametrize(("part", "pages"), PEOPLE, ids=[part for part, _ in PEOPLE])
def test_every_page_is_readable_and_usable(
    visit: Visit, portal: RunningPortal, part: str, pages: Callable[[RunningPortal], list[str]]
) -> None:
    assert_usable(visit(part), pages(portal))


def test_every_page_of_the_policy_owner_is_readable_and_usable(visit: Visit, portal: RunningPortal) -> None:
    # The sample lives by what ships and has nobody who writes policies.
    person = {"name": "Naledi Dube", "email": "policy@gatehouse.example", "role": "policy_owner", "function": ""}
    (account,) = json.loads(portal.stack.manage("sample_accounts", stdin=json.dumps([person])).splitlines()[-1])
    naledi = visit()
    naledi.sign_in(account["email"], account["password"])
    naledi.page.wait_for_url(lambda url: "/sign-in/" not in url)
    assert_usable(naledi, of_the_policy_owner(portal))


def assert_usable(visitor: Visitor, paths: list[str]) -> None:
    page = visitor.page
    found: list[str] = []
    for path in paths:
        visitor.resize(WIDE)
        page.emulate_media(color_scheme="light")
        visitor.go(path)
        settle(page)
        found += [f"{path}: {words}" for words in findings(page, STRUCTURE, NAMES)]
        for dark in (False, True):
            page.emulate_media(color_scheme="dark" if dark else "light")
            found += [f"{path}, {'dark' if dark else 'light'}: {words}" for words in findings(page, CONTRAST)]
        for size in WIDTHS:
            visitor.resize(size)
            settle(page)
            found += [f"{path}, {size[0]} px: {words}" for words in findings(page, INSIDE)]
        page.keyboard.press("Tab")
        found += [f"{path}: {words}" for words in findings(page, FOCUS)]
    assert not found, "\n".join(found)


def test_the_sign_in_page_and_refusals_are_readable_and_usable(visit: Visit) -> None:
    nobody, sponsor, found = visit(), visit("sponsor"), []
    for visitor, path, status in ((nobody, "/sign-in/", 200), (sponsor, "/usecases/not-there/", 404), (sponsor, "/nothing/", 404)):
        visitor.go(path, expect=status)
        for size in (WIDE, NARROW):
            visitor.resize(size)
            found += [f"{path}: {words}" for words in findings(visitor.page, STRUCTURE, NAMES, INSIDE, CONTRAST)]
    assert not found, "\n".join(found)


def test_the_first_key_leads_past_the_navigation(visit: Visit) -> None:
    page = visit("sponsor").go("/portfolio/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the page")
    expect(skip).to_be_focused()
    box = skip.bounding_box()
    assert box and box["x"] >= 0 and box["y"] >= 0, "it is seen when it has the focus"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('work').contains(document.activeElement)")


def test_nothing_of_the_work_is_lost_on_paper(visit: Visit) -> None:
    page = visit("auditor").go("/trail/")
    page.emulate_media(media="print")
    expect(page.get_by_role("navigation")).to_be_hidden()
    expect(page.locator("table.ledger tbody tr").first).to_be_visible()

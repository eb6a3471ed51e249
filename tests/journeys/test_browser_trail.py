"""An auditor's work: search, open an event, take the trail away, and verify it with another program."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from demo import story
from gatehouse_cli.paths import REPO
from tests.journeys import hands
from tests.journeys.browser import MARKS
from tests.journeys.portals import RunningPortal
from tests.journeys.visits import Visit

pytestmark = MARKS
WHOLE, SINGLE_EVENTS = 0, 6  # exit codes of the verifier with a witness


def verify(portal: RunningPortal, bundle: Path) -> subprocess.CompletedProcess[str]:
    witness = portal.stack.data.root / "witness" / "latest"
    command = [sys.executable, "-m", "verifier", "--bundle", str(bundle), "--checkpoint", str(witness)]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=120, check=False)


def test_a_search_finds_who_signed_and_the_event_proves_itself(visit: Visit, portal: RunningPortal) -> None:
    page = visit("auditor").go("/trail/")
    search = page.locator("form[role=search]")
    hands.fill(search, {"usecase": portal.ctx["usecase"], "action": "approvals.gate.signed", "actor": story.PEOPLE["security"].name})
    search.get_by_role("button", name="Search").click()
    page.wait_for_url("**actor=**")
    expected = [
        e for e in portal.ctx.auditor.pages("audit/events/", usecase=portal.ctx["usecase_id"], action="approvals.gate.signed")
        if e["actor"]["label"].startswith(story.PEOPLE["security"].name)
    ]  # fmt: skip
    rows = page.locator("table.ledger tbody tr")
    assert rows.count() == len(expected) == 2
    expect(rows.first.locator(".state")).to_have_text("sealed")
    rows.first.get_by_role("link").first.click()
    page.wait_for_url("**/trail/events/*/")
    expect(page.locator("main")).to_contain_text("sealed")
    text = page.locator("main pre").first.inner_text()
    assert json.loads(text)["actor"]["label"].startswith(story.PEOPLE["security"].name)


def test_filters_that_fit_nothing_say_so_and_offer_the_way_back(visit: Visit) -> None:
    page = visit("auditor").go("/trail/?search=nobody-ever-wrote-this")
    expect(page.locator(".empty")).to_contain_text("No event")
    page.locator(".empty").get_by_role("link").click()
    expect(page.locator("table.ledger tbody tr").first).to_be_visible()


@pytest.mark.parametrize("whole", [False, True])
def test_an_export_verifies_offline_and_a_changed_one_does_not(visit: Visit, portal: RunningPortal, tmp_path: Path, whole: bool) -> None:
    page = visit("auditor").page
    bundle = hands.export_trail(page, "" if whole else portal.ctx["usecase"])
    done = verify(portal, bundle)
    assert done.returncode == (WHOLE if whole else SINGLE_EVENTS), done.stdout + done.stderr
    forged = tmp_path / "forged.zip"
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(forged, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content.replace(b"approved", b"rejected", 1) if name == "events.jsonl" else content)
    assert verify(portal, forged).returncode == 1
    exported = portal.ctx.auditor.get("audit/events/", action="audit.")["results"]
    assert any(e["action"].endswith("exported") for e in exported), "taking the trail away is an event too"


def test_who_is_no_auditor_is_not_offered_the_export(visit: Visit) -> None:
    page = visit("engineer").go("/trail/")
    expect(page.locator("form[action$='/export/']")).to_have_count(0)

"""A gate by hand: begun by an engineer, answered by the owner, signed by two people who each give their password."""

import pytest
from playwright.sync_api import Page, expect

from demo import story
from demo.steps.context import Context
from demo.steps.gates import NOTES
from tests.journeys import hands
from tests.journeys.browser import MARKS
from tests.journeys.portals import RunningPortal
from tests.journeys.visits import Visit, write_another

pytestmark = MARKS


@pytest.fixture(scope="module")
def proposed(another: Context, portal: RunningPortal) -> Context:
    """A use case in proof of concept."""
    stage = another.auditor.get(f"usecases/{another['usecase']}/")["stage"]
    return another if stage == "poc" else write_another(portal)


@pytest.fixture(scope="module")
def gate(proposed: Context) -> str:
    """A gate to pilot that waits for signatures; everything before is tested over REST."""
    ctx = proposed
    begun = ctx.engineer.post("gates/", {"usecase": ctx["usecase"], "to_stage": "pilot", "model_version": ctx["versions"][1]["id"]})
    for item in ctx.engineer.get(f"gates/{begun['id']}/")["attestations"]:
        who = ctx.engineer if item["owner"] == "engineer" else ctx.people["owner"]
        who.post(f"gates/{begun['id']}/attestations/", {"item": item["item"], "answer": "yes", "note": NOTES[item["item"]]})
    ctx.engineer.post(f"gates/{begun['id']}/request/")
    return str(begun["id"])


def waiting_in_inbox(page: Page) -> int:
    """The number beside “Inbox”."""
    count = page.locator("nav a", has_text="Inbox").locator(".count")
    return int(count.inner_text()) if count.count() else 0


def test_who_asked_is_offered_no_signature(visit: Visit, gate: str) -> None:
    page = visit("engineer").go(f"/gates/{gate}/")
    expect(page.locator("#sign [name=password]")).to_have_count(0)
    expect(page.locator("#sign")).to_contain_text("requester excluded")


def test_an_approver_finds_the_gate_reads_the_evidence_and_signs(visit: Visit, proposed: Context, gate: str) -> None:
    page = visit("owner").page
    hands.find_in_inbox(page, proposed["usecase_name"])
    assert gate in page.url
    before = waiting_in_inbox(page)
    frozen = proposed.auditor.get(f"gates/{gate}/")
    rows = page.locator("table.evidence tbody tr")
    assert rows.count() == len(frozen["evidence"])
    for row, check in zip(rows.all(), frozen["evidence"], strict=True):
        expect(row).to_contain_text(check["title"])
        expect(row.locator(".state")).to_have_text(check["state"])
    expect(page.locator("#sign")).to_contain_text(frozen["evidence_digest"].removeprefix("sha256:")[:6])
    with page.expect_download() as download:
        page.locator("#evidence").get_by_role("link", name="the document").click()
    assert download.value.suggested_filename.endswith(".json")

    hands.sign(page, "not my password", "I agree.")
    expect(hands.refused(page)).to_contain_text("The password is not right, so nothing was signed")
    expect(page.locator("#sign [name=comment]")).to_have_value("I agree.")
    expect(page.locator("#sign [name=password]")).to_have_value("")
    assert proposed.auditor.get(f"gates/{gate}/")["wanted"]["business"] == 1

    hands.sign(page, proposed.account("owner")["password"], "I agree.")
    expect(hands.said(page)).to_contain_text("The gate waits for the other signatures")
    signature = page.locator(".signature", has_text="“I agree.”")
    expect(signature).to_contain_text(story.PEOPLE["owner"].name)
    expect(signature.locator(".state")).to_have_text("approved")
    expect(page.locator(".lead")).to_contain_text("1 of 2 signatures")
    assert waiting_in_inbox(page) == before - 1


def test_the_last_signature_moves_the_use_case_and_the_trail_says_so(visit: Visit, proposed: Context, gate: str) -> None:
    mei, frozen = visit("risk").page, proposed.auditor.get(f"gates/{gate}/")
    if frozen["wanted"].get("business"):  # this test was run alone
        signature = {"function": "business", "meaning": "approved", "comment": "", "evidence_digest": frozen["evidence_digest"]}
        proposed.people["owner"].post(f"gates/{gate}/signatures/", {**signature, "password": proposed.account("owner")["password"]})
    hands.find_in_inbox(mei, proposed["usecase_name"])
    hands.approve(mei, proposed.account("risk")["password"], "Residual risk accepted.")
    expect(hands.said(mei)).to_contain_text("yours was the last signature: the use case is at pilot now")
    expect(mei.locator(".stages .here")).to_contain_text("Pilot")
    done = proposed.auditor.get(f"gates/{gate}/")
    assert done["state"] == "approved" and proposed.auditor.get(f"decisions/{done['decision_id']}/")["live"]

    trail = visit("auditor").go(f"/trail/?usecase={proposed['usecase']}&action=approvals.gate.signed")
    shown = trail.locator("tbody tr").all_inner_texts()
    assert [any(name in row for row in shown) for name in (story.PEOPLE["owner"].name, story.PEOPLE["risk"].name)] == [True, True]


def test_a_refusal_needs_a_reason_and_closes_the_gate(visit: Visit, portal: RunningPortal) -> None:
    ctx = portal.ctx
    slug = ctx.engineer.post(
        "usecases/",
        {
            "name": "Letters", "problem": "Letters are read twice.", "exposure": "small", "purpose": "decides", "owner": story.PEOPLE["owner"].email,
            "sponsor": story.PEOPLE["sponsor"].email, "decision_supported": "Who reads a letter first.", "output_users": "The post room.",
            "requirements": {"latency_p99_ms": 500, "availability_pct": 99, "freshness_hours": 24, "concurrent_users": 5, "projected_rps": 1},
            "integrations": [{"name": "Scanner", "direction": "in", "owner": "Post room", "note": "Images"}],
        },
    )["slug"]  # fmt: skip
    for number in range(3):
        ctx.engineer.post(
            "kpis/",
            {
                "usecase": slug, "name": f"Figure {number}", "unit": "h", "direction": "lower", "aggregation": "mean", "dimension": "business",
                "target": 1, "floor": 2, "cadence": "weekly", "primary": number == 0,
            },
        )  # fmt: skip
    elena, jonas = visit("engineer").page, visit("owner").page
    gate = hands.begin_gate(elena, slug, "poc", note="Worth a try?")
    expect(elena.get_by_role("button", name="Freeze the evidence and ask for signatures")).to_be_disabled()
    assert hands.answer_all(jonas, gate, NOTES) == 3
    assert hands.answer_all(elena, gate, NOTES) == 2
    hands.ask_for_signatures(elena, gate)
    hands.find_in_inbox(jonas, "Letters")
    password = ctx.account("owner")["password"]
    hands.sign(jonas, password, "", "Refuse and close the gate")
    expect(hands.refused(jonas)).to_contain_text("say why")
    jonas.get_by_label("What would change it").fill("Two readers for a letter again.")
    hands.sign(jonas, password, "Nobody reads letters twice any more.", "Refuse and close the gate")
    expect(hands.said(jonas)).to_contain_text("You refused")
    expect(jonas.locator(".lead")).to_contain_text("Nobody reads letters twice any more.")
    assert ctx.auditor.get(f"usecases/{slug}/")["stage"] == "proposal"

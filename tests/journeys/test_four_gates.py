"""One use case through all four gates, from proposal to retirement, with real evidence: signed in a browser, and over REST alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from demo.steps.gates import pass_gate
from tests.journeys import hands, tutorial
from tests.journeys.browser import MARKS
from tests.journeys.portals import RunningPortal, copy_of
from tests.journeys.walk import Walk
from tests.journeys.winding_down import wind_down

pytestmark = [*MARKS, pytest.mark.long]

MOVES = [("proposal", "poc"), ("poc", "pilot"), ("pilot", "production"), ("production", "retired")]
# What of the evidence was computed by the portal from what really ran, at the gate to production.
COMPUTED = {
    "kpis.effect", "kpis.baseline_frozen", "registry.lineage_complete", "loadtests.latency_at_peak", "registry.digest_known",
    "monitoring.drift_reference", "deployments.rollback_rehearsed", "registry.card_complete",
}  # fmt: skip


@pytest.fixture(scope="module")
def own(half_way: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    """A portal of its own: what is retired here is missed by no other test."""
    with copy_of(half_way, tmp_path_factory.mktemp("gates") / "p", without=("seal",)) as running:
        yield running


def passed_gates(portal: RunningPortal, usecase: str) -> list[dict[str, Any]]:
    """The gates of a use case in order, after each was looked at: approved by others than the requester, over what was frozen."""
    auditor = portal.ctx.auditor
    rows = sorted(auditor.pages("gates/", usecase=usecase), key=lambda g: g["created_at"])
    found = [auditor.get(f"gates/{g['id']}/") for g in rows if g["kind"] == "stage" and g["state"] != "withdrawn"]
    assert [(g["from_stage"], g["to_stage"]) for g in found] == MOVES
    for gate in found:
        assert gate["state"] == "approved" and gate["decision_id"]
        evidence = auditor.get(f"gates/{gate['id']}/evidence/")
        assert evidence["digest"] == gate["evidence_digest"]
        signatures = [s for part in gate["signatures"] for s in part["signatures"]]
        assert len(signatures) == sum(gate["quorum"].values())
        for signature in signatures:
            assert signature["evidence_digest"] == gate["evidence_digest"] and signature["method"] == "password"
            assert signature["meaning"] == "approved" and signature["printed_name"] and signature["signed_at"]
            assert signature["printed_name"] != gate["requested_by"]
    computed = {row["check"] for row in found[2]["evidence"] if row["state"] == "pass" and row["source_digest"]}
    assert computed >= COMPUTED, COMPUTED - computed
    moves = sorted(auditor.pages(f"usecases/{usecase}/moves/"), key=lambda m: m["moved_at"])
    assert [(m["from_stage"], m["to_stage"], m["decision_id"]) for m in moves] == [
        (g["from_stage"], g["to_stage"], g["decision_id"]) for g in found
    ]
    assert auditor.get(f"usecases/{usecase}/")["stage"] == "retired"
    return found


def test_over_rest_alone(own: RunningPortal) -> None:
    own.tell(5, 6, 7)
    ctx = own.ctx
    early = ctx.engineer.post("gates/", {"usecase": ctx["usecase"], "to_stage": "retired", "note": "Too early."})
    still = {row["check"]: row["state"] for row in ctx.engineer.get(f"gates/{early['id']}/")["evidence"]}
    assert (still["deployments.traffic_ended"], still["deployments.callers_gone"], still["usecases.retention_set"]) == ("fail", "fail", "fail")
    ctx.engineer.post(f"gates/{early['id']}/withdraw/", {"reason": "Wound down first."})
    wind_down(own, ctx["usecase"])
    retired = pass_gate(ctx, "retired")
    assert retired["to_stage"] == "retired" and set(retired["quorum"]) == {"business", "risk"}
    passed_gates(own, ctx["usecase"])
    # After the last gate nothing leads on.
    ctx.engineer.post("gates/", {"usecase": ctx["usecase"], "to_stage": "production"}, expect=409)


@pytest.fixture
def walk(own: RunningPortal, chromium: Browser) -> Iterator[Walk]:
    """The people of the tutorial, in this portal."""
    demo = {"base_url": own.base_url, "gateway_url": own.ctx.stack["gateway_url"], "accounts": own.accounts}
    (own.stack.data.root / "demo.json").write_text(json.dumps(demo))
    made = Walk(chromium, own.stack.data.root, None)
    yield made
    made.close()


def test_with_every_signature_given_in_a_browser(own: RunningPortal, walk: Walk) -> None:
    for step in (
        tutorial.look_around, tutorial.write_down, tutorial.first_gate, tutorial.train, tutorial.baseline, tutorial.pilot_gate,
        tutorial.to_pilot, tutorial.pilot_traffic, tutorial.prove_it, tutorial.production_gate, tutorial.go_live,
    ):  # fmt: skip
        step(walk)
    elena, jonas, mei = walk.window("engineer"), walk.window("business"), walk.window("risk")
    wind_down(own, tutorial.SLUG)
    gate = hands.begin_gate(elena, tutorial.SLUG, "retired", note="The desk calls by its own list from May.")
    hands.answer_all(elena, gate, tutorial.TYPED["answers"])
    hands.answer_all(jonas, gate, tutorial.TYPED["answers"])
    hands.ask_for_signatures(elena, gate)
    hands.find_in_inbox(jonas, tutorial.NAME)
    hands.approve(jonas, walk.password("business"), "The manual list takes over.")
    hands.find_in_inbox(mei, tutorial.NAME)
    expect(mei.locator("#sign")).to_contain_text("“The manual list takes over.”")
    hands.approve(mei, walk.password("risk"), "Records are kept as settled.")
    expect(hands.said(mei)).to_contain_text("the use case is at retired")
    *_, last = passed_gates(own, tutorial.SLUG)
    # The record of the last gate prints both names with role, time and meaning.
    mei.goto(f"/gates/{last['id']}/print/")
    for part in last["signatures"]:
        (signature,) = part["signatures"]
        row = mei.locator("#signed tbody tr", has_text=signature["printed_name"])
        expect(row).to_contain_text(f"Approver, {part['function']}")
        expect(row).to_contain_text("approved")
        expect(row).to_contain_text("UTC")
        expect(row).to_contain_text(last["evidence_digest"])

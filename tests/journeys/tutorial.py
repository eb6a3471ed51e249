"""Walk through docs/tutorial.md in a browser, as it is written there, and take its pictures.

    .venv/bin/python -m tests.journeys.tutorial --data .gatehouse [--pictures docs/pictures]

Needs a portal that `./gatehouse demo` runs. Everything that the tutorial tells a person to type is in `TYPED`;
tests/journeys/test_docs.py checks that the tutorial says the same.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.journeys import hands
from tests.journeys.browser import executable, open_browser
from tests.journeys.walk import REPO, Walk

NAME = "Call list"
SLUG = MODEL = "call-list"
PILOT, PRODUCTION = "call-list-pilot", "call-list-production"
COST_KPI = "Cost per 1,000 decisions"
SINGLE_EVENTS_WITNESSED = 6  # what the verifier answers for the trail of one use case

TYPED: dict[str, dict[str, str]] = {
    "use case": {
        "name": NAME,
        "problem": "Nurses cannot call every member, and do not know whom to call.",
        "decision_supported": "Whether a nurse calls a member at the start of the year.",
        "output_users": "Nurses of the outreach desk",
        "owner": "business@gatehouse.example",
        "sponsor": "sponsor@gatehouse.example",
        "exposure": "medium",
        "purpose": "assists",
        "currency": "USD",
        "latency_p99_ms": "500",
        "availability_pct": "99.5",
        "freshness_hours": "24",
        "concurrent_users": "40",
        "projected_rps": "5",
        "integration-0-name": "Member register",
        "integration-0-direction": "in",
    },
    "cost": {
        "name": COST_KPI, "unit": "USD", "direction": "lower", "target": "25000", "floor": "31000",
        "dimension": "business", "aggregation": "mean", "cadence": "weekly",
    },
    "called": {
        "name": "Members called", "unit": "share", "direction": "lower", "target": "0.32", "floor": "0.46",
        "dimension": "adoption", "aggregation": "mean", "cadence": "weekly",
    },
    "latency": {
        "name": "Answer time, p99", "unit": "ms", "direction": "lower", "target": "100", "floor": "500",
        "dimension": "technical", "aggregation": "percentile", "cadence": "weekly",
    },
    "card": {
        "intended_use": "Suggest whom the outreach desk calls.",
        "out_of_scope": "Pricing, underwriting, refusing care.",
        "limitations": "Data of 1974 to 1982; visits, not need.",
        "training_data": "randhie, renewal years, train window.",
        "evaluation": "Validation rows; see the metrics of the run.",
        "explainability": "Plan and questionnaire; a nurse sees both.",
        "ethical": "Nobody is refused anything by it.",
        "owner_contact": "engineer@gatehouse.example",
    },
    "answers": {"": "Checked with the outreach desk."},
    "watch cost": {"miss_cost": "200", "false_alarm_cost": "40", "bound_per_1k": "1000"},
}  # fmt: skip


# 1. Look around


def look_around(walk: Walk) -> None:
    """The finished sample, as its sponsor sees it."""
    page = walk.window("sponsor")
    page.goto("/portfolio/")
    walk.picture("portfolio", page)
    page.get_by_role("link", name="Care outreach", exact=True).first.click()
    page.wait_for_url("**/usecases/*/")
    page.locator("#kpis").get_by_role("link", name=COST_KPI).click()
    page.wait_for_url("**/kpis/*/")
    expect(page.locator(".chart svg").first).to_be_visible()
    walk.picture("kpi", page)
    with page.expect_download() as download:
        page.locator("#measurements").get_by_role("link", name="CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    walk.seen["baseline"] = "\n".join(lines[:13])


# 2. Write it down


def write_down(walk: Walk) -> None:
    """The use case, its KPIs, and the gate to proof of concept."""
    elena = walk.window("engineer")
    elena.goto("/usecases/new/")
    hands.fill(elena, TYPED["use case"])
    walk.picture("new-use-case", elena)
    slug = hands.write_use_case(elena, TYPED["use case"])
    assert slug == SLUG, f"a use case called {NAME} is there already: {slug}"
    hands.change_use_case(elena, SLUG, "kpis", {**TYPED["cost"], "primary": True}, "Define the KPI")
    for each in ("called", "latency"):
        hands.change_use_case(elena, SLUG, "kpis", TYPED[each], "Define the KPI")
    elena.goto(f"/usecases/{SLUG}/")
    walk.picture("proposal", elena)


def first_gate(walk: Walk) -> None:
    """Proposal to proof of concept: the owner answers and signs."""
    elena, jonas = walk.window("engineer"), walk.window("business")
    gate = hands.begin_gate(elena, SLUG, "poc")
    hands.answer_all(elena, gate, TYPED["answers"])
    hands.answer_all(jonas, gate, TYPED["answers"])
    hands.ask_for_signatures(elena, gate)
    hands.find_in_inbox(jonas, NAME)
    hands.sign(jonas, "not my password")
    expect(hands.refused(jonas)).to_contain_text("The password is not right")
    hands.approve(jonas, walk.password("business"))
    expect(hands.said(jonas)).to_contain_text("the use case is at poc")


# 3. Train


def train(walk: Walk) -> None:
    """Two versions with plain mlflow, their cards, and the link to the use case."""
    elena = walk.window("engineer")
    elena.goto("/account/")
    form = elena.locator("form", has=elena.locator("[name=scopes]"))
    form.locator("[name=name]").fill("tutorial")
    for scope in ("read", "write", "mlflow"):
        form.locator(f"[name=scopes][value={scope}]").check()
    form.get_by_role("button", name="Issue the token").click()
    walk.seen["token"] = elena.locator(".secret").inner_text().strip()
    walk.terminal(
        "demo.train", "--model-name", MODEL, "--experiment", MODEL,
        MLFLOW_TRACKING_URI=f"{walk.base_url}/mlflow", MLFLOW_TRACKING_TOKEN=walk.seen["token"],
    )  # fmt: skip
    for number in (1, 2):
        _until_there(elena, f"/models/{MODEL}/versions/{number}/")
        while elena.get_by_text("still reading its files").count():  # for a moment after the last upload
            elena.wait_for_timeout(500)
            elena.reload()
        hands.write_card(elena, MODEL, number, TYPED["card"])
        hands.attach_run_figures(elena, MODEL, number, prefix="validation_")
    elena.goto(f"/models/{MODEL}/versions/1/")
    walk.picture("model-version", elena)
    hands.change_use_case(elena, SLUG, "models", {"model": MODEL}, "Link the model")


def _until_there(page: Page, path: str) -> None:
    """A new version is found a moment after it was registered."""
    for _ in range(60):
        answer = page.goto(path)
        if answer and answer.ok:
            return
        page.wait_for_timeout(500)
    raise AssertionError(f"{path} did not appear")


# 4. Baseline


def baseline(walk: Walk) -> None:
    """What is without a model: twelve weeks pasted, and frozen."""
    elena = walk.window("engineer")
    hands.open_kpi(elena, SLUG, COST_KPI)
    hands.change_kpi(elena, "paste", {"rows": walk.seen["baseline"], "mode": "all"}, "Record these rows")
    lines = [line.split(",") for line in walk.seen["baseline"].splitlines()[1:]]
    period = {"period_start": lines[0][0][:16], "period_end": lines[-1][1][:16]}
    hands.change_kpi(elena, "baseline", period, "Freeze the baseline")
    expect(elena.locator(".chart svg").first).to_be_visible()
    walk.picture("baseline", elena)


# 5. The gate to pilot


def pilot_gate(walk: Walk) -> None:
    """Evidence, answers, two signatures."""
    elena, jonas, mei = walk.window("engineer"), walk.window("business"), walk.window("risk")
    gate = hands.begin_gate(elena, SLUG, "pilot", version=f"{MODEL}/1", note="Ready for ten nurses.")
    hands.answer_all(elena, gate, TYPED["answers"])
    hands.answer_all(jonas, gate, TYPED["answers"])
    hands.ask_for_signatures(elena, gate)
    hands.find_in_inbox(jonas, NAME)
    walk.picture("gate", jonas, height=900)
    hands.approve(jonas, walk.password("business"), "The business wants it.")
    mei.goto("/inbox/")
    walk.picture("inbox", mei, height=420)
    hands.find_in_inbox(mei, NAME)
    hands.approve(mei, walk.password("risk"), "Residual risk accepted for the pilot.")
    expect(hands.said(mei)).to_contain_text("the use case is at pilot")


# 6. The pilot


def to_pilot(walk: Walk) -> None:
    """An endpoint, a caller's key, version 1 on it; the rollout is watched."""
    elena = walk.window("engineer")
    slug = hands.make_endpoint(elena, SLUG, name=f"{NAME}, pilot", environment="pilot")
    assert slug == PILOT, slug
    walk.seen[PILOT] = hands.issue_key(elena, PILOT, "outreach desk")
    hands.deploy(elena, PILOT, f"{MODEL}/1")
    hands.watch_until(elena, f"{MODEL}/1 answers all requests")
    walk.picture("pilot", elena)


def pilot_traffic(walk: Walk) -> None:
    """What is watched, the desk's first requests with what became of them, and what was found."""
    elena = walk.window("engineer")
    hands.watch(elena, PILOT, "cost", {**TYPED["watch cost"], "kpi_cost_per_1k": COST_KPI})
    walk.send(PILOT, "control", "--max-requests", "60", "--batch-rows", "20")
    time.sleep(4)
    hands.judge(elena, PILOT, "cost")
    hands.watch(elena, PILOT, "drift", {})
    elena.goto(f"/endpoints/{PILOT}/monitoring/")
    walk.picture("pilot-monitoring", elena)
    hands.open_kpi(elena, SLUG, COST_KPI)
    expect(elena.locator("main")).to_contain_text(f"{MODEL}/1")


def prove_it(walk: Walk) -> None:
    """The load test at ten times the load, and a rehearsed rollback."""
    elena = walk.window("engineer")
    for _ in range(4):  # on a machine that does something else as well, a run may fail; it is run again
        hands.load_test(elena, PILOT, multiplier=10, duration_s=12)
        if elena.get_by_text("holds it: 99 of 100").count():
            break
    expect(elena.locator("#result")).to_contain_text("holds it")
    walk.picture("load-test", elena)
    hands.rehearse_rollback(elena, PILOT)


# 7. Production


def production_gate(walk: Walk) -> None:
    """Evidence from the pilot, three signatures."""
    elena = walk.window("engineer")
    gate = hands.begin_gate(elena, SLUG, "production", version=f"{MODEL}/1", note="The pilot kept what it promised.")
    elena.goto(gate)
    walk.picture("production-gate", elena, height=1000)
    _pass_gate(walk, gate)
    expect(hands.said(walk.window("security"))).to_contain_text("the use case is at production")


def _pass_gate(walk: Walk, gate: str) -> None:
    elena, jonas = walk.window("engineer"), walk.window("business")
    hands.answer_all(elena, gate, TYPED["answers"])
    hands.answer_all(jonas, gate, TYPED["answers"])
    hands.ask_for_signatures(elena, gate)
    for who in ("business", "risk", "security"):
        hands.find_in_inbox(walk.window(who), NAME)
        hands.approve(walk.window(who), walk.password(who), "Read, and agreed.")


def go_live(walk: Walk) -> None:
    """Version 1 in production at once, watched."""
    elena = walk.window("engineer")
    slug = hands.make_endpoint(elena, SLUG, name=f"{NAME}, production", environment="production")
    assert slug == PRODUCTION, slug
    walk.seen[PRODUCTION] = hands.issue_key(elena, PRODUCTION, "outreach desk")
    hands.deploy(elena, PRODUCTION, f"{MODEL}/1")
    hands.watch_until(elena, f"{MODEL}/1 answers all requests")
    hands.watch(elena, PRODUCTION, "cost", {**TYPED["watch cost"], "kpi_cost_per_1k": COST_KPI})
    elena.goto(f"/endpoints/{PRODUCTION}/monitoring/")
    same = elena.locator("#drift-form [name=reference] option", has_text=f"{NAME}, pilot").first.get_attribute("value") or ""
    hands.watch(elena, PRODUCTION, "drift", {"reference": same})


def canary(walk: Walk) -> None:
    """Version 2 through its own gate, then a tenth of the requests, then all."""
    elena = walk.window("engineer")
    gate = hands.begin_gate(elena, SLUG, "production", version=f"{MODEL}/2", note="Cheaper on the validation rows.")
    _pass_gate(walk, gate)
    hands.deploy(elena, PRODUCTION, f"{MODEL}/2", canary=True, bake_s=20)
    hands.watch_until(elena, "answers 10% of requests")
    walk.send(PRODUCTION, "control", "--max-requests", "600", "--rate-rps", "60")
    walk.picture("canary", elena)
    hands.watch_until(elena, f"{MODEL}/2 answers all requests")


# 8. Drift


def drift(walk: Walk) -> None:
    """Newly enrolled members: inputs drift, version 2 gets dear, version 1 takes over again."""
    elena = walk.window("engineer")
    walk.send(PRODUCTION, "live", "--batch-rows", "20")
    time.sleep(4)
    hands.judge(elena, PRODUCTION, "drift")
    hands.judge(elena, PRODUCTION, "cost")
    walk.picture("incidents", elena, height=900)
    elena.goto(f"/endpoints/{PRODUCTION}/")
    hands.watch_until(elena, f"{MODEL}/1 answers all requests")
    sponsor = walk.window("sponsor")
    hands.open_kpi(sponsor, SLUG, COST_KPI)
    expect(sponsor.locator(".chart svg").first).to_be_visible()
    walk.picture("effect", sponsor, top=sponsor.locator("section", has=sponsor.get_by_role("heading", name="Effect of each model version")))


# 9. The trail


def trail(walk: Walk) -> None:
    """Search, read one event, export, verify."""
    page = walk.window("auditor")
    page.goto("/trail/")
    search = page.locator("form[role=search]")
    hands.fill(search, {"usecase": SLUG, "action": "approvals.gate.signed"})
    search.get_by_role("button", name="Search").click()
    page.wait_for_url("**action=approvals.gate.signed**")
    walk.picture("trail", page)
    page.locator("tbody tr a").first.click()
    page.wait_for_url("**/trail/events/*/")
    walk.picture("event", page)
    saved = hands.export_trail(page, SLUG)
    command = [sys.executable, "-m", "verifier", "--bundle", str(saved), "--checkpoint", str(walk.data / "witness" / "latest")]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    print(done.stdout.strip())
    assert done.returncode == SINGLE_EVENTS_WITNESSED, done.stderr[-1000:]


STEPS: list[Callable[[Walk], None]] = [
    look_around, write_down, first_gate, train, baseline, pilot_gate, to_pilot, pilot_traffic, prove_it, production_gate, go_live, canary,
    drift, trail,
]  # fmt: skip


def main() -> int:
    """Command line: every step, or those named; one line each."""
    parser = argparse.ArgumentParser(description="Walk through docs/tutorial.md and take its pictures.")
    parser.add_argument("--data", type=Path, required=True, help="data folder of a running ./gatehouse demo")
    parser.add_argument("--pictures", type=Path, help="where to put the pictures; none are taken without it")
    options = parser.parse_args()
    with open_browser(executable()) as browser:
        walk = Walk(browser, options.data.resolve(), options.pictures)
        for step in STEPS:
            began = time.monotonic()
            step(walk)
            print(f"{step.__name__:20} {time.monotonic() - began:5.1f} s", flush=True)
        walk.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

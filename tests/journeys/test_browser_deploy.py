"""An engineer's day: an endpoint, a version on it, another one in its place, and back."""

import re

import pytest
from playwright.sync_api import expect

from demo import traffic
from demo.portal import wait_for
from demo.steps.context import Context
from demo.steps.serve import answers_with
from tests.journeys import hands
from tests.journeys.browser import MARKS
from tests.journeys.visits import Visit

pytestmark = MARKS


@pytest.fixture(scope="module")
def row(another: Context) -> traffic.Row:
    """One row to ask about."""
    return traffic.load_rows(another.rows / "control.json")[0]


def test_a_version_is_brought_to_a_new_endpoint_replaced_and_taken_back(visit: Visit, in_pilot: Context, row: traffic.Row) -> None:
    ctx, page = in_pilot, visit("engineer").page
    v1, v2 = (ctx["versions"][n]["label"] for n in (1, 2))
    slug = hands.make_endpoint(page, ctx["usecase"], name="By hand", environment="pilot")
    key = hands.issue_key(page, slug, "a desk")
    page.goto(f"/endpoints/{slug}/")
    expect(page.locator("main")).not_to_contain_text(key)
    endpoint = {"slug": slug, "key": key, "url": f"{ctx.stack['gateway_url']}/v2/models/{slug}/infer"}

    hands.deploy(page, slug, v1)
    hands.watch_until(page, f"{v1} answers all requests")
    engine = page.locator("#live table").first.locator("tbody tr", has_text=v1)
    expect(engine.locator(".state")).to_have_text("ready")
    wait_for("an answer of version 1", lambda: answers_with(endpoint, row, v1), limit_s=20)

    hands.deploy(page, slug, v2, canary=True, bake_s=3)
    hands.watch_until(page, re.compile(rf"{re.escape(v2)} is being rolled out: it answers 10%|{re.escape(v2)} answers all"))
    hands.watch_until(page, f"{v2} answers all requests")
    wait_for("an answer of version 2", lambda: answers_with(endpoint, row, v2), limit_s=20)
    rollout = next(iter(ctx.engineer.pages("rollouts/", endpoint=slug)))
    assert (rollout["state"], rollout["strategy"], rollout["steps"]) == ("completed", "canary", [10, 100])

    hands.roll_back(page, slug, "The desk saw strange lists.")
    hands.watch_until(page, f"{v1} answers all requests")
    wait_for("an answer of version 1 again", lambda: answers_with(endpoint, row, v1), limit_s=20)
    expect(page.locator("main")).to_contain_text("The desk saw strange lists.")
    starts = {d["model_version"]: d["engine_starts"] for d in ctx.engineer.pages("deployments/", endpoint=slug)}
    assert starts == {v1: 1, v2: 1}, "going back started no engine: version 1 had stayed warm"


def test_what_no_decision_admits_cannot_be_deployed_and_says_why(visit: Visit, in_pilot: Context) -> None:
    page = visit("engineer").page
    slug = hands.make_endpoint(page, in_pilot["usecase"], name="Too early", environment="production")
    expect(page.locator("main")).to_contain_text("This endpoint serves nothing")
    expect(page.locator("[name=strategy]")).to_have_count(0)
    expect(page.get_by_text("not now").first).to_be_visible()
    assert not list(in_pilot.engineer.pages("deployments/", endpoint=slug))


def test_who_does_not_deploy_reads_the_same_page_without_its_buttons(visit: Visit, in_pilot: Context) -> None:
    found = next(iter(in_pilot.engineer.pages("endpoints/", usecase=in_pilot["usecase"])))
    page = visit("sponsor").go(f"/endpoints/{found['slug']}/")
    expect(page.get_by_role("button", name=re.compile("Deploy|Roll back|Stop|Issue"))).to_have_count(0)

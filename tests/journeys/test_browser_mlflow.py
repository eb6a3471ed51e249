"""MLflow's own pages below /mlflow/, as an engineer who is signed in to the portal sees them."""

import re

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import MARKS, NARROW, WIDE, Visitor
from tests.journeys.portals import RunningPortal
from tests.journeys.visits import Visit

pytestmark = MARKS
API = "/mlflow/ajax-api/2.0/mlflow"


@pytest.fixture
def engineer(visit: Visit) -> Visitor:
    """The engineer of the story; MLflow's pages warn on the console of their own making, which is no trouble of ours."""
    visitor = visit("engineer")
    visitor.page.remove_listener("console", visitor._console)
    return visitor


def read(visitor: Visitor, path: str) -> dict:
    answer = visitor.page.request.get(f"{API}/{path}", headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.ok, answer.text()
    return answer.json()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_an_engineer_reads_experiments_runs_and_models_and_comes_back(
    engineer: Visitor, portal: RunningPortal, size: tuple[int, int]
) -> None:
    model, number = portal.ctx.model_name, portal.ctx["versions"][2]["number"]
    version = read(engineer, f"model-versions/get?name={model}&version={number}")["model_version"]
    run = read(engineer, f"runs/get?run_id={version['run_id']}")["run"]
    experiment = read(engineer, f"experiments/get?experiment_id={run['info']['experiment_id']}")["experiment"]
    engineer.resize(size)
    page = engineer.go("/mlflow/")
    expect(page.get_by_role("navigation", name="Gatehouse")).to_be_visible()
    page.goto("/mlflow/#/experiments")
    expect(page.get_by_role("link", name=experiment["name"], exact=True).first).to_be_visible()

    page.goto(f"/mlflow/#/experiments/{experiment['experiment_id']}/runs/{version['run_id']}")
    metric = run["data"]["metrics"][0]
    expect(page.get_by_text(re.compile(rf"Metrics \({len(run['data']['metrics'])}\)"))).to_be_visible()
    expect(page.get_by_text(metric["key"], exact=True).first).to_be_attached()

    page.goto(f"/mlflow/#/models/{model}")
    expect(page.get_by_role("heading", name=model).first).to_be_visible()
    back = page.locator(".gh-bar-page")
    expect(back).to_have_text(f"Governed page of {model}")
    page.goto(f"/mlflow/#/models/{model}/versions/{number}")
    expect(back).to_have_text(f"Governed page of {model}, version {number}")
    back.click()
    page.wait_for_url(f"**/models/{model}/versions/{number}/")
    expect(page.locator("main h1")).to_contain_text(model)


def test_what_is_refused_is_not_offered(engineer: Visitor) -> None:
    page = engineer.go("/mlflow/")
    # The home comes in parts: what has not come yet is hidden for another reason.
    expect(page.get_by_text("Recent Experiments")).to_be_visible()
    expect(page.locator('[data-component-id="mlflow.home.demo-banner.launch"]')).to_be_attached()
    for refused in (
        page.get_by_role("link", name="MCP registry"),
        page.get_by_role("link", name="AI Gateway"),
        page.get_by_role("button", name="MLflow Assistant"),
        page.get_by_role("button", name="Start Demo"),
        page.get_by_text("New to MLflow?"),
        page.get_by_text("MLflow collects usage data"),
    ):
        expect(refused).to_be_hidden()


def test_another_site_writes_nothing_in_the_persons_name(engineer: Visitor, portal: RunningPortal) -> None:
    """A page from elsewhere posts with the person's cookie: it is refused, and nothing has changed."""
    page = engineer.go("/mlflow/")
    body = {"name": portal.ctx.model_name, "key": "from-elsewhere", "value": "yes"}
    for headers in (
        {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": engineer.base_url},
    ):
        answer = page.request.post(f"{API}/registered-models/set-tag", data=body, headers=headers)
        assert answer.status == 403, answer.text()
        assert answer.json()["error_code"] == "PERMISSION_DENIED" and "a page of this portal" in answer.json()["message"]
    tags = read(engineer, f"registered-models/get?name={portal.ctx.model_name}")["registered_model"].get("tags", [])
    assert "from-elsewhere" not in {tag["key"] for tag in tags}

"""What a stakeholder reads: the portfolio, a use case, and a KPI with its chart, its table and its CSV."""

import csv
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from demo import story
from tests.journeys import hands
from tests.journeys.browser import MARKS, NARROW
from tests.journeys.portals import RunningPortal
from tests.journeys.visits import Visit

pytestmark = MARKS
COST = story.KPIS[0]


def chart_of(page: Page) -> dict[str, int]:
    """What Plotly has drawn on the page: points, lines across (baseline, target, floor, events) and words."""
    chart = page.locator(".chart").first
    expect(chart.locator("svg.main-svg").first).to_be_visible()
    return {part: chart.locator(selector).count() for part, selector in {
        "points": ".scatterlayer .points path", "shapes": ".shapelayer path", "words": ".infolayer .annotation",
    }.items()}  # fmt: skip


def test_the_sponsor_comes_from_the_portfolio_to_the_use_case_and_sees_its_stage_and_what_is_wrong(
    visit: Visit, portal: RunningPortal
) -> None:
    ctx = portal.ctx
    page = visit("sponsor").go("/portfolio/")
    row = page.locator("tbody tr", has=page.get_by_role("link", name=ctx["usecase_name"], exact=True))
    expect(row).to_contain_text(COST.name)
    row.get_by_role("link", name=ctx["usecase_name"], exact=True).click()
    page.wait_for_url(f"**/usecases/{ctx['usecase']}/")
    expect(page.locator(".stages .here")).to_contain_text("Production")
    for name in [k.name for k in story.KPIS]:
        expect(page.locator("#kpis")).to_contain_text(name)
    for incident in ctx.auditor.pages("incidents/", usecase=ctx["usecase"]):
        if not incident["closed_at"]:
            expect(page.locator("main")).to_contain_text(incident["title"])
    assert chart_of(page)["points"] > 0


def test_the_kpi_page_draws_the_series_with_baseline_target_and_floor(visit: Visit, portal: RunningPortal) -> None:
    ctx, page = portal.ctx, visit("sponsor").page
    hands.open_kpi(page, ctx["usecase"], COST.name)
    series = ctx.auditor.get(f"kpis/{ctx['kpis'][COST.key]}/series/")
    points = len(series["results"] if isinstance(series, dict) else series)
    drawn = chart_of(page)
    assert drawn["points"] == points
    assert drawn["shapes"] >= 4, "band and line of the baseline, target, floor"
    words = page.locator(".chart .infolayer").first.text_content() or ""
    assert all(word in words for word in ("baseline", "target", "floor"))
    expect(page.locator(".lead strong").first).not_to_be_empty()


def test_the_table_and_the_csv_say_what_the_chart_says(visit: Visit, portal: RunningPortal) -> None:
    ctx, page = portal.ctx, visit("sponsor").page
    hands.open_kpi(page, ctx["usecase"], COST.name)
    with page.expect_download() as download:
        page.locator("#measurements").get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert download.value.suggested_filename.endswith(".csv")
    table = page.locator("#measurements tbody tr")
    assert table.count() == len(rows) > 12
    labels = {r["version_label"] for r in rows}
    assert labels >= {"", ctx["versions"][1]["label"], ctx["versions"][2]["label"]}
    shown = "\n".join(table.all_inner_texts())
    for row in rows:
        assert f"{float(row['value']):,.0f} {COST.unit}" in shown
    assert chart_of(page)["points"] == len(rows)


@pytest.mark.parametrize("dark", [False, True])
def test_the_chart_follows_the_theme_and_a_narrow_window(visit: Visit, portal: RunningPortal, dark: bool) -> None:
    visitor = visit("sponsor", size=NARROW, dark=dark)
    hands.open_kpi(visitor.page, portal.ctx["usecase"], COST.name)
    assert chart_of(visitor.page)["points"] > 0
    svg = visitor.page.locator(".chart svg.main-svg").first.bounding_box()
    assert svg and svg["x"] >= 0 and svg["x"] + svg["width"] <= NARROW[0]
    ink = visitor.page.locator(".chart .ytick text").first.evaluate("e => getComputedStyle(e).fill")
    brightness = sum(int(part) for part in ink.removeprefix("rgb(").rstrip(")").split(",")[:3]) / 3
    assert (brightness > 128) is dark, f"{ink} on {'dark' if dark else 'light'}"

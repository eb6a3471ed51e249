"""The portal by hand: what a person clicks and types on its pages, one function an act.

Fields are found by the name they are sent under and buttons by what they say; whether each field has a label that a person
can read is tested once for all pages (test_browser_pages.py). Every act ends when the page says what has happened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

ENGINE_READY_MS = 90_000


def said(page: Page) -> Locator:
    """What the portal says it has done, at the top of the page."""
    return page.locator("main [role=status]").first


def refused(page: Page) -> Locator:
    """What the portal says it has not done, and why."""
    return page.get_by_role("alert").first


def fill(form: Locator | Page, values: Mapping[str, str | bool]) -> None:
    """Fill in fields by name: text, a choice by value, or a tick."""
    for name, value in values.items():
        field = form.locator(f"[name='{name}']")
        if isinstance(value, bool):
            field.set_checked(value)
        elif field.evaluate("e => e.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def fold_out(page: Page, part: str) -> Locator:
    """Open one of the folded forms of a page, if it is folded; returns its form."""
    fold = page.locator(f"#{part}")
    if fold.evaluate("e => e.tagName === 'DETAILS' && !e.open"):
        fold.locator("summary").first.click()
    return fold.locator("form").first


def press(page: Page, form: Locator | Page, button: str, *, says: str | re.Pattern[str] = "") -> None:
    """Press a button and wait for what the portal says then."""
    form.get_by_role("button", name=button, exact=True).click()
    expect(said(page)).to_contain_text(says) if says else expect(said(page)).to_be_visible()


# The use case and its KPIs


def write_use_case(page: Page, values: Mapping[str, str | bool]) -> str:
    """Write a use case down from the portfolio; returns its slug."""
    page.goto("/portfolio/")
    page.get_by_role("link", name="Write down a use case").click()
    page.wait_for_url("**/usecases/new/")
    fill(page, values)
    press(page, page, "Write down the use case", says="is written down")
    return page.url.rstrip("/").rsplit("/", 1)[1]


def change_use_case(page: Page, slug: str, part: str, values: Mapping[str, str | bool], button: str) -> None:
    """One form of the page on which a use case is changed: `kpis`, `models`, `people`, `requirements`, ..."""
    page.goto(f"/usecases/{slug}/edit/")
    form = page.locator(f"#{part} form")
    fill(form, values)
    press(page, form, button)


def open_kpi(page: Page, slug: str, name: str) -> None:
    """From the use case to one of its KPIs."""
    page.goto(f"/usecases/{slug}/")
    page.locator("#kpis").get_by_role("link", name=name, exact=True).click()
    page.wait_for_url("**/kpis/*/")


def change_kpi(page: Page, part: str, values: Mapping[str, str | bool], button: str) -> None:
    """One of the folded forms of the KPI page that is open: `record`, `paste`, `baseline`, `worth`."""
    form = page.locator(f"form[action*='/{part}/']")
    if not form.is_visible():
        page.locator("details", has=form).locator("summary").first.click()
    fill(form, values)
    press(page, form, button)


def write_card(page: Page, model: str, number: int, card: Mapping[str, str]) -> None:
    """Fill in the model card of a version."""
    page.goto(f"/models/{model}/versions/{number}/")
    form = page.locator("form", has=page.locator("[name=intended_use]"))
    if not form.is_visible():
        page.locator("details", has=form).locator("summary").first.click()
    fill(form, card)
    press(page, form, "Save the card")


def attach_run_figures(page: Page, model: str, number: int, *, prefix: str) -> None:
    """Attach what training measured as an evaluation of a version."""
    page.goto(f"/models/{model}/versions/{number}/evaluations/")
    form = page.locator("form", has=page.locator("[name=prefix]"))
    if not form.is_visible():
        page.locator("details", has=form).locator("summary").first.click()
    fill(form, {"name": "validation", "prefix": prefix})
    press(page, form, "Attach the run's figures", says="is attached")


# Gates


def begin_gate(page: Page, slug: str, to: str, *, version: str = "", note: str = "") -> str:
    """Begin a gate from the use case's page; returns its address."""
    page.goto(f"/usecases/{slug}/")
    page.locator("#gates").get_by_role("link", name="begin one").click()
    page.wait_for_url("**/gates/new/**")
    form = page.locator("main form")
    fill(form, {"to": to, "note": note})
    if version:
        label = form.locator("[name=version] option", has_text=f"{version},").first.inner_text()
        form.locator("[name=version]").select_option(label=label)
    press(page, form, "Begin the gate", says="The gate is begun")
    return page.url


def answer_all(page: Page, gate: str, notes: Mapping[str, str]) -> int:
    """Answer `yes` to every item that waits for this person on a gate; returns how many. `notes` by item, or under `""`."""
    page.goto(gate)
    count = 0
    while True:
        waiting = page.locator("tr.form:has(details[open]) form", has=page.locator("[name=item]"))
        if not waiting.count():
            return count
        form = waiting.first
        item = form.locator("[name=item]").input_value()
        fill(form, {"answer": "yes", "note": notes.get(item, notes.get("", "Checked."))})
        press(page, form, "Answer", says="Your answer stands")
        count += 1


def ask_for_signatures(page: Page, gate: str) -> None:
    """Freeze the evidence and ask for signatures."""
    page.goto(gate)
    press(page, page, "Freeze the evidence and ask for signatures", says="The evidence is frozen")


def find_in_inbox(page: Page, usecase_name: str) -> None:
    """From the inbox to the gate of a use case that waits for this person's signature."""
    page.goto("/inbox/")
    row = page.locator("section", has=page.get_by_role("heading", name="For you to sign")).locator("tbody tr", has_text=usecase_name)
    row.get_by_role("link").first.click()
    page.wait_for_url("**/gates/*/")


def sign(page: Page, password: str, comment: str = "", button: str = "Sign: approve") -> None:
    """Fill in the signature on the gate that is open and press the button. What comes back is for the caller to look at."""
    form = page.locator("#sign form", has=page.locator("[name=password]"))
    fill(form, {"comment": comment, "password": password})
    form.get_by_role("button", name=button, exact=True).click()


def approve(page: Page, password: str, comment: str = "") -> None:
    """Sign, and see it said."""
    sign(page, password, comment)
    expect(said(page)).to_contain_text("You approved")


# Endpoints


def make_endpoint(page: Page, slug: str, *, name: str, environment: str, rate_limit_rps: int = 100) -> str:
    """An endpoint of a use case; returns its slug."""
    page.goto("/endpoints/")
    page.get_by_role("link", name="New endpoint").click()
    page.wait_for_url("**/endpoints/new/")
    fill(page, {"usecase": slug, "name": name, "environment": environment, "rate_limit_rps": str(rate_limit_rps)})
    press(page, page, "Create the endpoint", says="The endpoint is there")
    return page.url.rstrip("/").rsplit("/", 1)[1]


def issue_key(page: Page, endpoint: str, caller: str) -> str:
    """A caller's key, as it is shown once."""
    page.goto(f"/endpoints/{endpoint}/")
    form = page.locator("form#key")
    fill(form, {"name": caller})
    form.get_by_role("button", name="Issue a key").click()
    secret = page.locator(".secret")
    expect(secret).to_contain_text("ghe_")
    return secret.inner_text().strip()


def deploy(page: Page, endpoint: str, version: str, *, canary: bool = False, bake_s: int | None = None) -> None:
    """Bring a version that a decision admits to an endpoint, from the endpoint's page."""
    page.goto(f"/endpoints/{endpoint}/")
    form = page.locator("#versions form")
    fill(form, {"version": version, "strategy": "canary" if canary else "all_at_once"})
    if bake_s is not None:
        fill(form, {"bake_s": str(bake_s)})
    press(page, form, "Deploy this version", says="Requested")


def watch_until(page: Page, words: str | re.Pattern[str], *, within_ms: int = ENGINE_READY_MS) -> None:
    """Keep the endpoint's page open until its live part says so; nothing is reloaded by hand."""
    expect(page.locator("#live")).to_contain_text(words, timeout=within_ms)


def roll_back(page: Page, endpoint: str, reason: str) -> None:
    """Give the traffic back to the version that is warm."""
    page.goto(f"/endpoints/{endpoint}/")
    fold = page.locator("#back details", has=page.locator("form[action*='/roll-back/']"))
    fold.locator("summary").click()
    form = fold.locator("form")
    fill(form, {"reason": reason})
    form.get_by_role("button", name=re.compile("^Roll back to")).click()
    expect(said(page)).to_contain_text("All requests go back to")


def load_test(page: Page, endpoint: str, *, multiplier: int, duration_s: int) -> None:
    """Run a load test on what is ready there, and wait on its report until the result stands there."""
    page.goto(f"/endpoints/{endpoint}/")
    form = page.locator("#load-tests form")
    fill(form, {"multiplier": str(multiplier), "duration_s": str(duration_s)})
    form.get_by_role("button", name="Run the load test").click()
    # The form names its own place, and a browser keeps that in the address it is sent on to.
    page.wait_for_url(re.compile(r"/load-tests/[^/]+/(#.*)?$"))
    expect(page.locator("#result")).to_contain_text("99th percentile", timeout=60_000 + duration_s * 1_000)


def rehearse_rollback(page: Page, endpoint: str) -> None:
    """Practise a rollback, and keep the page open until it is done."""
    page.goto(f"/endpoints/{endpoint}/")
    press(page, page, "Rehearse a rollback")
    expect(page.locator("#rehearsals tbody tr").first.locator(".state.pass")).to_be_visible(timeout=ENGINE_READY_MS)


# Monitoring


def watch(page: Page, endpoint: str, kind: str, values: Mapping[str, str | bool]) -> None:
    """Begin to watch an endpoint: `drift`, `cost` or `latency`. What is not named keeps what the form offers."""
    page.goto(f"/endpoints/{endpoint}/monitoring/")
    form = fold_out(page, f"{kind}-form")
    fill(form, values)
    press(page, form, "Begin to watch", says="watched from now on")


def judge(page: Page, endpoint: str, kind: str) -> None:
    """Have a monitor look now; what it found is said at the top of the page."""
    page.goto(f"/endpoints/{endpoint}/monitoring/")
    row = page.locator("#monitors tbody tr", has=page.locator(f"a[href='#{kind}']"))
    if not row.count():
        row = page.locator("#monitors tbody tr", has_text={"drift": "Inputs", "cost": "Cost of decisions", "latency": "Answer time"}[kind])
    row.get_by_role("button", name="Judge now").click()
    expect(said(page)).to_be_visible()


# The trail


def export_trail(page: Page, slug: str = "") -> Path:
    """Take the trail of a use case (empty: all of it) away; returns the downloaded ZIP."""
    page.goto("/trail/")
    form = page.locator("form[action*='/trail/export/']")
    fill(form, {"usecase": slug})
    with page.expect_download() as download:
        form.get_by_role("button", name="Export with proofs").click()
    return Path(download.value.path())

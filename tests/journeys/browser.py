"""A headless Chromium as a person uses it, and what a page must not do meanwhile.

`open_browser()` gives one Chromium; a `Visitor` is one person in it, with cookies of their own. While it is used, every
script error, every failed file and every request to another host is kept in `trouble`; `leave` asserts that there is none.
The program is `$GATEHOUSE_CHROMIUM` or an installed Chromium or Chrome: Playwright's own download is not used. Tests that
use it carry `MARKS`: without a browser they skip, unless GATEHOUSE_REQUIRE_BROWSER=1, which makes that a failure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, expect, sync_playwright

WIDE, NARROW = (1440, 900), (390, 844)
TIMEOUT_MS = 20_000
expect.set_options(timeout=TIMEOUT_MS)
NONE_INSTALLED = "no Chromium is installed; install one, or name it in GATEHOUSE_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--font-render-hinting=none",
)


def executable() -> str:
    """Path of the browser to use, empty when there is none."""
    named = os.environ.get("GATEHOUSE_CHROMIUM", "")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, _NAMES)), None)
    return found or ""


def required() -> bool:
    """Whether a machine without a browser is an error, as in continuous integration."""
    return os.environ.get("GATEHOUSE_REQUIRE_BROWSER") == "1"


MARKS = [
    pytest.mark.slow,
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.xdist_group("stack"),
    # Before any portal is started for them.
    pytest.mark.skipif(not executable() and not required(), reason=NONE_INSTALLED),
]


@contextlib.contextmanager
def open_browser(path: str) -> Iterator[Browser]:
    """One Chromium, closed at the end together with everything opened in it."""
    arguments = [*_ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One person in the browser. `page` is where they are; `trouble` is what went wrong on the pages they saw."""

    def __init__(
        self, browser: Browser, base_url: str, *, size: tuple[int, int] = WIDE, dark: bool = False, state: Any = None, scale: float = 1.0
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.host = urlsplit(self.base_url).netloc
        self.trouble: list[str] = []
        self.context: BrowserContext = browser.new_context(
            base_url=self.base_url,
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            storage_state=state,
            device_scale_factor=scale,
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
        )
        self.context.set_default_timeout(TIMEOUT_MS)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.trouble.append(f"{self._path()}: script error: {error}"))
        self.context.on("request", self._request)
        self.context.on("response", self._response)

    def _path(self) -> str:
        return urlsplit(self.page.url).path

    def _console(self, message: ConsoleMessage) -> None:
        # Chromium repeats a refused page (403 of a wrong password) in the console; `_response` judges those by their status.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.trouble.append(f"{self._path()}: console {message.type}: {message.text[:300]}")

    def _request(self, request: Request) -> None:
        where = urlsplit(request.url)
        if where.scheme not in ("data", "blob", "about") and where.netloc != self.host:
            self.trouble.append(f"{self._path()}: asked another host for {request.url}")

    def _response(self, response: Response) -> None:
        refused_page = response.request.resource_type in ("document", "xhr", "fetch") and response.status < 500
        if response.status >= 400 and not refused_page:
            self.trouble.append(f"{self._path()}: {response.status} for {response.url}")

    def go(self, path: str, *, expect: int = 200) -> Page:
        """Open a page of the portal and check the answer's status."""
        answer = self.page.goto(path)
        assert answer is not None and answer.status == expect, f"{path}: {answer and answer.status}, expected {expect}"
        return self.page

    def sign_in(self, email: str, password: str) -> Page:
        """Fill in the form of the sign-in page. Where it leads is for the caller to look at."""
        page = self.go("/sign-in/")
        page.fill("[name=email]", email)
        page.fill("[name=password]", password)
        page.click("main button")
        return page

    def resize(self, size: tuple[int, int]) -> None:
        """Another window size; the page stays."""
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    def leave(self) -> None:
        """Close, and fail if any page did what it must not."""
        self.context.close()
        assert not self.trouble, "\n".join(self.trouble)

"""Fixtures of the browser tests: one Chromium, the people of the story in it, and a use case of their own to work on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from demo.steps.context import Context
from demo.steps.gates import pass_gate
from demo.steps.plan import freeze_baselines, write_use_case
from tests.journeys.browser import NONE_INSTALLED, WIDE, Visitor, executable, open_browser
from tests.journeys.portals import RunningPortal

Visit = Callable[..., Visitor]
_STATES: dict[tuple[str, str], Any] = {}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a file. It ends with them: while it runs, its event loop is in the way of Django's tests."""
    path = executable()
    if not path:
        pytest.fail(NONE_INSTALLED, pytrace=False)
    with open_browser(path) as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser, portal: RunningPortal) -> Iterator[Visit]:
    """visit("sponsor", size=NARROW, dark=True) -> that person of the story, signed in; visit() -> nobody yet.

    At the end of the test every one of them must have seen no script error, no failed file and no other host.
    """
    with contextlib.ExitStack() as at_the_end:

        def make(part: str = "", *, size: tuple[int, int] = WIDE, dark: bool = False) -> Visitor:
            key = (portal.base_url, part)
            visitor = Visitor(chromium, portal.base_url, size=size, dark=dark, state=_STATES.get(key))
            at_the_end.callback(visitor.leave)
            if part and key not in _STATES:
                account = portal.ctx.account(part)
                visitor.sign_in(account["email"], account["password"])
                visitor.page.wait_for_url(lambda url: "/sign-in/" not in url)
                _STATES[key] = visitor.context.storage_state()
            return visitor

        yield make


def write_another(portal: RunningPortal) -> Context:
    """One more use case of the same people, in proof of concept, with the story's model and a frozen baseline."""
    made = Context(data=portal.ctx.data, stack=portal.ctx.stack, accounts=portal.ctx.accounts)
    write_use_case(made)
    made["model_name"], made["versions"] = portal.ctx.model_name, portal.ctx["versions"]
    made.engineer.post(f"usecases/{made['usecase']}/models/", {"model": made.model_name})
    freeze_baselines(made)
    return made


@pytest.fixture(scope="session")
def another(portal: RunningPortal) -> Context:
    """A use case that browser tests may move on."""
    return write_another(portal)


@pytest.fixture
def in_pilot(another: Context) -> Context:
    """The same once both versions may run in the pilot."""
    for number, stages in ((1, ("poc",)), (2, ("poc", "pilot"))):
        if not any(d["live"] and d["model_version_label"] == another["versions"][number]["label"] for d in _decisions(another)):
            assert another.auditor.get(f"usecases/{another['usecase']}/")["stage"] in stages
            pass_gate(another, "pilot", version=another["versions"][number])
    return another


def _decisions(ctx: Context) -> list[dict[str, Any]]:
    return [d for d in ctx.auditor.pages("decisions/", usecase=ctx["usecase"]) if d["environment"] == "pilot"]

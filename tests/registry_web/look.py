"""Looks at pages in a browser of its own: look.py URL COOKIE=VALUE FOLDER PATH...; prints what it found as a JSON list. A process of its own,
because a running browser's event loop is in the way of Django's tests. With a folder it leaves a picture of each page, size and theme there."""

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.journeys.browser import NARROW, WIDE, Visitor, executable, open_browser
from tests.journeys.page_checks import CONTRAST, FOCUS, INSIDE, NAMES, STRUCTURE, findings, settle


def main(url: str, cookie: str, folder: str, *paths: str) -> list[str]:
    """What is wrong with the pages, in sentences."""
    found: list[str] = []
    with open_browser(executable()) as browser:
        visitor = Visitor(browser, url)
        visitor.context.add_cookies([{"name": cookie.partition("=")[0], "value": cookie.partition("=")[2], "url": url}])
        page = visitor.page
        for path in paths:
            for size in (WIDE, NARROW):
                visitor.resize(size)
                for dark in (False, True):
                    page.emulate_media(color_scheme="dark" if dark else "light")
                    visitor.go(path)
                    settle(page)
                    at = f"{path}, {size[0]} px, {'dark' if dark else 'light'}"
                    found += [f"{at}: {words}" for words in findings(page, STRUCTURE, NAMES, INSIDE, CONTRAST)]
                    if folder:
                        name = "-".join(urlsplit(path).path.strip("/").split("/")[-3:]) or "home"
                        page.screenshot(path=str(Path(folder) / f"{name}-{size[0]}-{'dark' if dark else 'light'}.png"), full_page=True)
            page.keyboard.press("Tab")
            found += [f"{path}: {words}" for words in findings(page, FOCUS)]
        found += visitor.trouble
        visitor.trouble.clear()
        visitor.leave()
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))

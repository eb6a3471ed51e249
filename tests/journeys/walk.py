"""The people of the tutorial, each in a window of their own, a terminal beside them, and a camera."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from tests.journeys.browser import Visitor

REPO = Path(__file__).resolve().parents[2]
KSERVE_PYTHON = REPO / ".venv-kserve" / "bin" / "python"
# A window as on a desk, drawn a little smaller, so that a picture is 1,200 px wide.
WINDOW, PICTURE_WIDTH, PICTURE_COLOURS = (1320, 920), 1200, 96


class Walk:
    """The people of the story, each in a window of their own, and a camera."""

    def __init__(self, browser: Browser, data: Path, pictures: Path | None) -> None:
        self.data, self.pictures, self._browser = data, pictures, browser
        self.demo: dict[str, Any] = json.loads((data / "demo.json").read_text())
        self.base_url: str = self.demo["base_url"]
        self.accounts = {a["email"].partition("@")[0]: a for a in self.demo["accounts"]}
        self.windows: dict[str, Visitor] = {}
        self.seen: dict[str, str] = {}

    def window(self, who: str) -> Page:
        """This person's window; they sign in when it is first opened."""
        if who not in self.windows:
            visitor = self.windows[who] = Visitor(self._browser, self.base_url, size=WINDOW, scale=PICTURE_WIDTH / WINDOW[0])
            visitor.sign_in(self.accounts[who]["email"], self.accounts[who]["password"])
            visitor.page.wait_for_url(lambda url: "/sign-in/" not in url)
        return self.windows[who].page

    def password(self, who: str) -> str:
        """Their password, as `./gatehouse demo` prints it."""
        return str(self.accounts[who]["password"])

    def picture(self, name: str, page: Page, *, top: Locator | None = None, height: int = 820) -> None:
        """Keep what the window shows, from `top` on, as a small PNG."""
        if self.pictures is None:
            return
        page.evaluate("document.activeElement && document.activeElement.blur()")
        page.wait_for_timeout(400)
        box = top.bounding_box() if top else None
        start = max(0.0, (box["y"] + page.evaluate("scrollY") - 24) if box else 0.0)
        whole = float(page.evaluate("document.documentElement.scrollHeight"))
        start = max(0.0, min(start, whole - height))
        clip = {"x": 0, "y": start, "width": WINDOW[0], "height": min(height, whole - start)}
        raw = page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]
        image = Image.open(io.BytesIO(raw)).convert("RGB")
        small = image.quantize(colors=PICTURE_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        self.pictures.mkdir(parents=True, exist_ok=True)
        small.save(self.pictures / f"{name}.png", optimize=True)

    def terminal(self, module: str, *arguments: str, **variables: str) -> str:
        """A command of the tutorial that runs beside the browser, in the models' environment."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.data), "MPLBACKEND": "Agg", "GIT_PYTHON_REFRESH": "quiet", **variables}
        command = [str(KSERVE_PYTHON), "-m", module, *arguments]
        done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def send(self, endpoint: str, rows: str, *options: str) -> None:
        """Rows of the sample's data to an endpoint, and what became of them to the portal."""
        url = f"{self.demo['gateway_url']}/v2/models/{endpoint}/infer"
        command = ["--rows", str(self.data / "demo-data" / f"{rows}.json"), "--infer-url", url, *options]
        command += ["--base-url", self.base_url, "--endpoint-slug", endpoint]
        print(self.terminal("demo.traffic", *command, GATEHOUSE_API_KEY=self.seen[endpoint], GATEHOUSE_TOKEN=self.seen["token"]), end="")

    def close(self) -> None:
        """Close every window; fails if a page misbehaved on the way."""
        trouble = [line for visitor in self.windows.values() for line in visitor.trouble]
        for visitor in self.windows.values():
            visitor.context.close()
        assert not trouble, "\n".join(trouble)

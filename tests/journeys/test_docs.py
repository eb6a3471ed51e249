"""What the documentation says is there is there, and the tutorial says what its walk types."""

import re
from pathlib import Path

import pytest
from PIL import Image

from gatehouse_cli.paths import REPO
from tests.journeys.tutorial import TYPED

DOCS = REPO / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), REPO / "README.md"])
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
MOST_BYTES = 150_000


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPO)))
def test_every_link_and_picture_of_a_page_leads_somewhere(page: Path) -> None:
    for _, target in LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} names {target}"


def test_every_picture_is_shown_and_small() -> None:
    shown = {Path(target).name for page in PAGES for mark, target in LINK.findall(page.read_text()) if mark}
    kept = {path.name: path for path in (DOCS / "pictures").iterdir()}
    assert shown == set(kept)
    for name, path in kept.items():
        assert path.stat().st_size < MOST_BYTES, name
        assert Image.open(path).width == 1200, name


def test_the_tutorial_tells_everything_that_its_walk_types() -> None:
    said = (DOCS / "tutorial.md").read_text()
    for part, values in TYPED.items():
        for name, value in values.items():
            assert value in said, f"{part}: {name} is {value!r} in the walk"


def test_the_index_names_every_page_of_how_to_and_reference() -> None:
    index = (DOCS / "README.md").read_text()
    for folder in ("how-to", "reference", "explanation"):
        for page in (DOCS / folder).glob("*.md"):
            assert f"{folder}/{page.name}" in index

"""demo.json: what a script needs to use the sample portal. `ready` is true only while that portal answers; `told` says that
the sample story has been told to its end, so that a later start need not tell it again. Standard library only."""

import json
from typing import Any

from gatehouse_cli.paths import DataDir
from gatehouse_cli.services import write_secret


def read(data: DataDir) -> dict[str, Any]:
    """Its content; empty when there is none that can be read."""
    try:
        content = json.loads((data.root / "demo.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write(data: DataDir, content: dict[str, Any]) -> None:
    """Replace it in one step."""
    write_secret(data.root / "demo.json", json.dumps(content, indent=1) + "\n")


def told(known: dict[str, Any]) -> bool:
    """Has the story been told to its end?"""
    return bool(known.get("told") or known.get("ready"))


def withdraw(data: DataDir) -> None:
    """The portal does not answer yet, or will not any more."""
    known = read(data)
    if known.get("ready"):
        write(data, known | {"ready": False, "told": True})

"""Tell the sample story through public doors: proposal, proof of concept, pilot, production, and back.

Every step ends with reading back what it claims, from outside: REST, the MLflow endpoint, the inference endpoint, the offline
verifier. Started by `./gatehouse demo`; ends with 0 only if every step was verified.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo import story
from demo.portal import JourneyError, Portal
from demo.steps.context import Context, load, make_accounts
from demo.steps.gates import pass_gate
from demo.steps.live import connections, drift_and_roll_back, export_and_verify
from demo.steps.plan import freeze_baselines, train, write_use_case
from demo.steps.serve import load_test, to_pilot, to_production


def pilot_gate(ctx: Context) -> str:
    """Step 4: proof of concept to pilot for version 1, signed by two roles over frozen evidence."""
    gate = pass_gate(ctx, "pilot", version=ctx["versions"][1])
    return f"approved by {len(gate['quorum'])} roles over {gate['evidence_digest'][7:19]}…"


STEPS: list[tuple[str, Callable[[Context], str]]] = [
    ("Write the use case down and pass the gate to proof of concept", write_use_case),
    ("Train and register two versions with plain mlflow", train),
    ("Freeze the baseline without a model", freeze_baselines),
    ("Pass the pilot gate for version 1", pilot_gate),
    ("Deploy version 1 to the pilot", to_pilot),
    ("Load-test it at 1x and 10x", load_test),
    ("Go to production, then canary version 2", to_production),
    ("Meet drifted traffic and roll back", drift_and_roll_back),
    ("Export the trail and verify it offline", export_and_verify),
]


def tell(ctx: Context, *, steps: int = len(STEPS)) -> list[float]:
    """Run the first `steps` steps with a line for each; returns their seconds. Raises JourneyError."""
    took = []
    for number, (title, step) in enumerate(STEPS[:steps], start=1):
        print(f"  {number}/{len(STEPS)}  {title} …", flush=True)
        began = time.monotonic()
        said = step(ctx)
        took.append(time.monotonic() - began)
        print(f"        {said} ({took[-1]:.1f} s)", flush=True)
    return took


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Replace a file in one step, readable by its owner alone."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        json.dump(content, handle, indent=1)
        handle.write("\n")
    draft.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def known_accounts(path: Path, data: Path) -> list[dict[str, str]]:
    """The people of an earlier run, if all their tokens still work; so that a password a person noted stays good."""
    accounts: list[dict[str, str]] = _read(path).get("accounts") or []
    base_url = _read(data / "run" / "stack.json").get("base_url", "")
    if len(accounts) != len(story.PEOPLE) or not base_url:
        return []
    try:
        for account in accounts:
            Portal(base_url, account["token"], account["email"]).get("me/")
    except (JourneyError, KeyError):
        return []
    return accounts


def main() -> int:
    """Command line: run the journey against the portal of a data folder."""
    parser = argparse.ArgumentParser(description="Tell the sample story through public doors.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--check", action="store_true", help="end with the result; demo.json is written either way")
    parser.add_argument("--steps", type=int, default=len(STEPS), help="only the first so many steps")
    options = parser.parse_args()
    known = options.data / "demo.json"
    try:
        accounts = known_accounts(known, options.data) or make_accounts()
        write_private(known, {**_read(known), "ready": False, "told": False, "accounts": accounts})
        ctx = load(options.data, accounts)
        began = time.monotonic()
        tell(ctx, steps=options.steps)
    except JourneyError as error:
        print(f"        FAILED: {error}", file=sys.stderr, flush=True)
        return 1
    if options.steps == len(STEPS):
        write_private(known, connections(ctx))
    print(f"  every step was read back from outside ({time.monotonic() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

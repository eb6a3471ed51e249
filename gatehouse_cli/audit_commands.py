"""Commands about the trail: search, prove, take away and go on where a download broke off, follow, and what was live when."""

import json
import os
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from gatehouse_cli.client import DONE, REFUSED, USAGE, Client, refuse
from gatehouse_cli.vocabulary import Command, Option, usecase_id

BLOCK = 1 << 20
PAUSE_S = 1.0
_FILTERS = (
    Option("search", "words"),
    Option("action", "an action or its beginning"),
    Option("since", "not before this time"),
    Option("until", "before this time"),
)


def asof(client: Client, options: Namespace) -> tuple[int, Any]:
    """The endpoints one may see as they were at a moment."""
    return DONE, list(client.pages("asof/", {"at": options.at, "usecase": options.usecase}, options.most))


def download(client: Client, options: Namespace) -> tuple[int, Any]:
    """Take a file, going on where an earlier try ended. What is there already is kept as far as it is whole."""
    found = client.call("GET", f"audit/downloads/{options.id}/")
    path = Path(os.environ.get("GATEHOUSE_CALLED_FROM", "."), options.option_output)
    with path.open("ab+") as target:
        query, headers = _where(found, target)
        if query is None:
            return DONE, {"written": str(options.option_output), "bytes": path.stat().st_size, "complete": True}
        with client.stream(f"audit/downloads/{options.id}/content/", query=query, headers=headers) as answer:
            if headers and answer.status != 206:
                target.truncate(0)
            while block := answer.read(BLOCK):
                target.write(block)
                print(f"\r{target.tell():,} bytes", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    size = path.stat().st_size
    if found["kind"] == "pack" and size != found["size_bytes"]:
        refuse(REFUSED, f"{path.name} has {size} of {found['size_bytes']} bytes: run the same command again to go on.")
    return DONE, {"written": str(options.option_output), "bytes": size, "complete": True}


def _where(found: dict[str, Any], target: Any) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """What to ask for, given what the file holds already; None when it is whole."""
    size = target.seek(0, os.SEEK_END)
    if not size:
        return {}, {}
    if found["kind"] == "pack":
        if size >= found["size_bytes"]:
            return None, {}
        return {}, {"Range": f"bytes={size}-"}
    if found["kind"] == "csv":
        # A line break may stand inside a cell, so the beginning of a row cannot be told from the end of a file.
        refuse(USAGE, "a CSV that is there already cannot be gone on with: remove it and take it again, or take jsonl.")
    last = _last_line(target, size)
    try:
        row = json.loads(last)
    except ValueError:
        row = {}
    if row.get("end"):
        return None, {}
    return ({"after": row["leaf_index"]} if "leaf_index" in row else {}), {}


def _last_line(target: Any, size: int) -> bytes:
    """The last whole line; what follows it, and a file without one, is cut off."""
    tail, start = b"", size
    while start and tail.count(b"\n") < 2:
        start = max(0, start - BLOCK)
        target.seek(start)
        tail = target.read(size - start)
    whole = tail.rfind(b"\n") + 1
    line = tail[:whole].rstrip(b"\n").rpartition(b"\n")[2]
    # Only the head is there: begin anew.
    keep = start + whole if b'"leaf_index":' in line[:20] or b'"end":' in line[:8] else 0
    target.truncate(keep)
    target.seek(0, os.SEEK_END)
    return line if keep else b""


def feed(client: Client, options: Namespace) -> tuple[int, None]:
    """Print sealed events, one a line, oldest first; the leaf index to go on from stands in every line."""
    after = -1 if options.option_after is None else options.option_after
    while True:
        answer = client.call("GET", "audit/feed/", query={"after": after if after >= 0 else None, "limit": 2000})
        for event in answer["events"]:
            print(json.dumps(event, ensure_ascii=False))
        sys.stdout.flush()
        waits = answer["next_after"] >= answer["sealed"] - 1
        after = answer["next_after"]
        if waits and options.option_follow != "yes":
            return DONE, None
        if waits:
            time.sleep(PAUSE_S)


AUDIT = (
    Command(
        "events", "GET", "audit/events/", "events you may see",
        (*_FILTERS, Option("usecase", "use case: slug or id", expand=usecase_id("usecase"))),
        many=True,
    ),
    Command("show", "GET", "audit/events/{id}/", "one event"),
    Command("proof", "GET", "audit/events/{id}/proof/", "that an event is in the sealed trail", (Option("tree-size", "under this checkpoint", kind=int),)),
    Command("checkpoints", "GET", "audit/checkpoints/", "signed checkpoints", many=True),
    Command(
        "consistency", "GET", "audit/checkpoints/consistency/", "that one checkpoint is a beginning of another",
        (Option("from", "size of the older", kind=int, needed=True), Option("to", "size of the newer", kind=int, needed=True)),
    ),
    Command(
        "export", "POST", "audit/exports/", "a bundle to verify offline (--output FILE)",
        (Option("usecase", "use case: slug or id", expand=usecase_id("usecase_id")),),
    ),
    Command(
        "request", "POST", "audit/downloads/", "ask for a file: events as jsonl or csv, or an evidence pack",
        (
            Option("kind", "which", needed=True, choices=("jsonl", "csv", "pack")),
            Option("usecase", "use case: slug or id", expand=usecase_id("usecase_id")),
            Option("decision", "id of a decision", key="decision_id"),
            *_FILTERS,
        ),
        end_states={"ready": DONE, "failed": REFUSED, "expired": REFUSED}, watch="audit/downloads/{id}/",
    ),
    Command("downloads", "GET", "audit/downloads/", "files you asked for", many=True),
    Command(
        "download", "GET", "audit/downloads/{id}/content/", "take a file; the same again goes on where it broke off",
        (Option("output", "where it goes", needed=True),), run=download,
    ),
    Command(
        "feed", "GET", "audit/feed/", "sealed events, one JSON a line, oldest first",
        (Option("after", "only after this leaf index", kind=int), Option("follow", "go on as events come", choices=("yes",))), run=feed,
    ),
)  # fmt: skip

"""What is new on a gate for somebody who saw it before. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from apps.approvals import rules

# Opening the page again within this time is still the same reading.
SAME_READING = timedelta(minutes=15)
PARTS = ("usecase", "model_version", "policy", "checks", "attestations")
# Told by themselves, with who and when.
TOLD_APART = ("attachments", "waiver")


@dataclass(frozen=True, slots=True)
class News:
    """One thing that is new: what it is about, in words, and when it happened (None: found by comparing)."""

    kind: str
    text: str
    at: datetime | None = None


def kept(document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a gate's evidence is remembered of a look: the parts that are compared later."""
    rows = {"checks": ("check", "with", "title", *rules.COMPARED), "attestations": ("item", "text", "answer", "note")}
    found: dict[str, Any] = {part: document[part] for part in PARTS if part in document and part not in rows}
    for part, names in rows.items():
        found[part] = [{k: row.get(k) for k in names if k not in TOLD_APART} for row in document.get(part, [])]
    return found


def is_same_reading(looked_at: datetime, before_at: datetime | None, at: datetime) -> bool:
    """Whether opening it now goes on with the look at `looked_at`, so that what was new stays in sight."""
    return before_at is not None and at - looked_at < SAME_READING


def compared(seen: Mapping[str, Any], current: Mapping[str, Any]) -> list[News]:
    """How the evidence reads now beside what was seen, of the parts that both have."""
    both = [part for part in PARTS if seen.get(part) and current.get(part)]
    was, now = ({part: document[part] if part in both else {} for part in PARTS} for document in (seen, kept(current)))
    was, now = ({**d, "checks": d["checks"] or [], "attestations": d["attestations"] or []} for d in (was, now))
    return [News("evidence", f"{c['what'].rstrip('.')}: {c['before']} → {c['after']}") for c in rules.changes(was, now)]


def happened(since: datetime, me: Any, rows: Iterable[tuple[datetime | None, Any, str, str]]) -> list[News]:
    """Of (when, by whom, kind, text) what happened after `since` and was not done by `me`, the oldest first."""
    new = [News(kind, text, at) for at, by, kind, text in rows if at is not None and at > since and str(by) != str(me)]
    return sorted(new, key=lambda n: n.at or since)


def counted(counts: Mapping[str, int], frozen: bool) -> str:
    """`2 comments, 1 signature, evidence frozen`; empty when nothing is new."""
    words = [f"{n} {name}{'s' if n != 1 else ''}" for name, n in counts.items() if n]
    return ", ".join([*words, *(["evidence frozen"] if frozen else [])])

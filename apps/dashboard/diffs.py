"""What an event changed, field by field, for people. Pure."""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

DEEPEST, MOST, MOST_WORDS = 3, 200, 2000
Piece = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """One field: what it was and is. pieces: for texts that were partly changed, (`same`, `out` or `in`, words) one after another."""

    name: str
    before: str
    after: str
    pieces: list[Piece] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Told on both sides and not changed."""
        return self.before == self.after


def changes(facts: dict[str, Any]) -> list[Change]:
    """Every field that an event names, nested ones as `field, part`; unchanged parts of a nested one are left out."""
    before, after = dict(_flat(facts.get("before") or {})), dict(_flat(facts.get("after") or {}))
    both = bool(facts.get("before")) and bool(facts.get("after"))
    names = [*before, *(n for n in after if n not in before)]
    found = [_change(n, before.get(n), after.get(n)) for n in names[:MOST]]
    told = [c for c in found if c.before or c.after]
    return [c for c in told if not (both and c.same and ", " in c.name)]


def _change(name: str, before: Any, after: Any) -> Change:
    old, new = _text(before), _text(after)
    pieces = _words(old, new) if old and new and old != new and min(len(old), len(new)) > 30 else []
    return Change(name, old, new, pieces)


def _flat(value: dict[str, Any], name: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        here = f"{name}, {key}" if name else key
        if isinstance(item, dict) and item and depth < DEEPEST:
            yield from _flat(item, here, depth + 1)
        elif isinstance(item, list) and item and all(isinstance(i, dict) for i in item) and depth < DEEPEST:
            for number, each in enumerate(item, 1):
                yield from _flat(each, f"{here} {number}", depth + 1)
        else:
            yield here, item


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(i, str | int | float) for i in value):
        return ", ".join(str(i) for i in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _words(old: str, new: str) -> list[Piece]:
    """The words that stayed, went and came; nothing when hardly any stayed, as then the two are easier to read whole."""
    a, b = re.split(r"(\s+)", old), re.split(r"(\s+)", new)
    if max(len(a), len(b)) > MOST_WORDS:
        return []
    # Of the words alone: the spaces between them are always alike.
    if difflib.SequenceMatcher(None, a[::2], b[::2], autojunk=False).ratio() < 0.4:
        return []
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    found: list[Piece] = []
    for kind, i, j, k, end in matcher.get_opcodes():
        if kind == "equal":
            found.append(("same", "".join(a[i:j])))
            continue
        if i < j:
            found.append(("out", "".join(a[i:j])))
        if k < end:
            found.append(("in", "".join(b[k:end])))
    return found

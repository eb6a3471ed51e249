"""Versions of one model side by side, and texts before and after. Pure."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LEAST, MOST = 2, 4
Piece = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One name with its value in each version (None: not there)."""

    name: str
    values: tuple[Any, ...]

    @property
    def same(self) -> bool:
        """Whether all versions agree."""
        return all(v == self.values[0] for v in self.values)


@dataclass(frozen=True, slots=True)
class FigureRow:
    """A figure in each version, as {value, low, high} or None, and what the others differ from the first by.

    verdicts: `better`, `worse`, `same` or, while nobody has said which way is better, "". clear: the intervals do not overlap.
    """

    name: str
    values: tuple[Mapping[str, Any] | None, ...]
    differences: tuple[float | None, ...]
    verdicts: tuple[str, ...]
    clear: tuple[bool, ...] = field(default=())
    better: str = ""

    @property
    def same(self) -> bool:
        """Whether every version has the figure, and the same."""
        return all(d == 0 for d in self.differences[1:]) and all(self.values)


def rows(maps: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row a name that any of the maps has; those that differ first."""
    names = sorted({name for each in maps for name in each})
    made = [Row(name, tuple(each.get(name) for each in maps)) for name in names]
    return sorted(made, key=lambda r: (r.same, r.name))


def figure_rows(maps: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[FigureRow]:
    """One row a figure, by name. maps: name -> {value, low, high, better} for each version; the first is what others are compared with."""
    out = []
    for name in sorted({name for each in maps for name in each}):
        values = tuple(each.get(name) for each in maps)
        ways = {str(v["better"]) for v in values if v and v.get("better")}
        better = ways.pop() if len(ways) == 1 else ""
        base = values[0]
        differences = tuple(v["value"] - base["value"] if v and base else None for v in values)
        verdicts = ("", *(_verdict(d, better) for d in differences[1:]))
        clear = tuple(_apart(base, v) for v in values)
        out.append(FigureRow(name, values, differences, verdicts, clear, better))
    return out


def _verdict(difference: float | None, better: str) -> str:
    if difference is None:
        return ""
    if difference == 0:
        return "same"
    if not better:
        return ""
    return "better" if (difference > 0) == (better == "higher") else "worse"


def _apart(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    if not one or not other or any(x.get(end) is None for x in (one, other) for end in ("low", "high")):
        return False
    return bool(one["high"] < other["low"] or other["high"] < one["low"])


def requirement_pins(text: str) -> dict[str, str]:
    """Package name (as PEP 503 compares it) -> what the line asks for: `==1.2`, `>=3`, or `any`."""
    pins = {}
    for line in text.splitlines():
        bare = line.split("#")[0].strip()
        found = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*(.*)$", bare)
        if found and not bare.startswith("-"):
            pins[re.sub(r"[-_.]+", "-", found[1]).lower()] = found[3].strip() or "any"
    return pins


def words_diff(before: str, after: str) -> list[Piece]:
    """What became of a text, word by word: ("same" | "del" | "ins", text) in reading order."""
    a, b = re.findall(r"\s+|\S+", before), re.findall(r"\s+|\S+", after)
    if len(a) + len(b) > 6_000:  # a whole rewrite of a long text is read as such
        return [(kind, text) for kind, text in (("del", before), ("ins", after)) if text] if before != after else [("same", before)]
    out: list[Piece] = []
    for op, i1, i2, j1, j2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if op == "equal":
            out.append(("same", "".join(a[i1:i2])))
            continue
        out += [(kind, text) for kind, text in (("del", "".join(a[i1:i2])), ("ins", "".join(b[j1:j2]))) if text]
    return out

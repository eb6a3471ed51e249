"""Two texts of a policy, line by line. Pure."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONTEXT = 2


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line: `same`, `gone`, `new`, or a `gap` where lines that stay are left out. Numbers are those in each text, from 1."""

    kind: str
    before: int | None
    after: int | None
    text: str


def compared(before: str, after: str) -> list[DiffLine]:
    """What changes, with a few lines around each change; empty when nothing does."""
    old, new = before.splitlines(), after.splitlines()
    out: list[DiffLine] = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT):
        if out or group[0][1] > 0:
            out.append(DiffLine("gap", None, None, ""))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                out += [DiffLine("same", i + 1, j1 + i - i1 + 1, old[i]) for i in range(i1, i2)]
                continue
            out += [DiffLine("gone", i + 1, None, old[i]) for i in range(i1, i2)]
            out += [DiffLine("new", None, j + 1, new[j]) for j in range(j1, j2)]
    return out


def as_text(lines: list[DiffLine]) -> str:
    """The same in the manner of `diff -u`."""
    signs = {"same": " ", "gone": "-", "new": "+"}
    return "\n".join("…" if line.kind == "gap" else f"{signs[line.kind]}{line.text}" for line in lines)


def same_but_version(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two bodies ask for the same, whatever their version numbers."""
    return {**one, "version": 0} == {**other, "version": 0}


def with_version(text: str, version: int) -> str:
    """The text of a sound policy under another version number; every other character stays."""
    return re.sub(r"^(version\s*:\s*)\d+", rf"\g<1>{version}", text, count=1, flags=re.MULTILINE)

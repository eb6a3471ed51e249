"""What was proved, in words, in JSON and as an exit code."""

from dataclasses import dataclass, field
from typing import Any

WHOLE, RANGE, SINGLE = "whole trail", "range", "single events"
OK, BROKEN, USAGE, NOT_WHOLE, UNREACHABLE, EMPTY = 0, 1, 2, 8, 9, 10
CODES = {
    (WHOLE, True): OK,
    (WHOLE, False): 3,
    (RANGE, True): 4,
    (RANGE, False): 5,
    (SINGLE, True): 6,
    (SINGLE, False): 7,
}
MAX_PROBLEMS = 20


class Unreachable(Exception):
    """The database or one of its tables cannot be read."""


@dataclass
class Verdict:
    """The outcome. `problems` not empty means: something is not as it was sealed, and nothing was proved."""

    scope: str = WHOLE
    witnessed: bool = False
    events: int = 0
    first: int | None = None
    last: int | None = None
    size: int = 0
    root: str = ""
    sealed_at: str = ""
    witness_size: int | None = None
    unsealed: int = 0
    younger: int = 0
    # Of a pack: how many documents, which are named by what is sealed, and how many its sealed list alone names.
    documents: int | None = None
    named: list[str] = field(default_factory=list)
    listed: int = 0
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fail(self, problem: str) -> None:
        """Add something that is wrong; only the first are kept in words."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    @property
    def exit_code(self) -> int:
        """0 for a whole trail with a witness; see CODES."""
        if self.problem_count:
            return BROKEN
        if self.unsealed:
            return NOT_WHOLE
        return CODES[self.scope, self.witnessed] if self.events else EMPTY

    @property
    def verified(self) -> bool:
        """Is the whole trail as it was sealed? A part is proved, never verified."""
        return self.exit_code in (CODES[WHOLE, True], CODES[WHOLE, False])

    @property
    def proved(self) -> str:
        """One or two sentences that say exactly what holds."""
        if self.problem_count:
            return "FAILED. The trail is not what was sealed; nothing is proved."
        seal = f"the checkpoint over {self.size} events signed at {self.sealed_at or 'an unknown time'}"
        if self.unsealed:
            return f"NOT WHOLE. {self.events} events are as sealed, but {self.unsealed} events in the database are not sealed."
        if not self.events:
            return "NOTHING TO VERIFY. It holds no sealed event; nothing is proved."
        if self.scope == WHOLE:
            what = f"VERIFIED: the whole trail. All {self.events} events, in this order, none missing and none added, under {seal}."
        elif self.scope == RANGE:
            what = f"PROVED, A PART ONLY: a range. The {self.events} events {self.first} to {self.last}, none missing between them, are under {seal}."
        else:
            what = f"PROVED, A PART ONLY: {self.events} single events. Each is in the trail unchanged, under {seal}. Others may exist."
        if self.documents is not None:
            unbound = self.documents - len(self.named) - self.listed
            what += f" DOCUMENTS: {len(self.named)} of {self.documents} are what sealed events or signed evidence name;"
            what += f" {self.listed} more are as the portal stated when it made the pack"
            what += f"; {unbound} are not bound to the trail." if unbound else "."
        if not self.witnessed:
            return f"{what} WITHOUT A WITNESS: whoever holds the sealing key could have rewritten it before."
        return f"{what} Consistent with the witnessed checkpoint over {self.witness_size} events."

    def lines(self) -> list[str]:
        """The report for people."""
        out = [self.proved]
        out += [f"  wrong: {p}" for p in self.problems]
        if self.problem_count > len(self.problems):
            out.append(f"  and {self.problem_count - len(self.problems)} more")
        return out + [f"  note: {n}" for n in self.notes]

    def as_json(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "verified": self.verified,
            "exit_code": self.exit_code,
            "scope": self.scope,
            "witnessed": self.witnessed,
            "events": self.events,
            "first_leaf": self.first,
            "last_leaf": self.last,
            "tree_size": self.size,
            "root": self.root,
            "sealed_at": self.sealed_at,
            "witness_tree_size": self.witness_size,
            "unsealed": self.unsealed,
            "younger_unsealed": self.younger,
            "documents": self.documents,
            "documents_named": self.named,
            "documents_listed": self.listed,
            "problem_count": self.problem_count,
            "problems": self.problems,
            "notes": self.notes,
            "proved": self.proved,
        }

"""Who measured a figure: the portal itself, or somebody who gave it the rows. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MEASURED = "measured"
ORIGINS = ("any", MEASURED)


@dataclass(frozen=True, slots=True)
class Source:
    """What one row says of itself: origin, who recorded it, what its n observations are."""

    origin: str
    by: str
    counts: str
    n: int


@dataclass(frozen=True, slots=True)
class Share:
    """Rows of one source together; `share` is of all observations, 0 to 1."""

    origin: str
    by: str
    counts: str
    n: int
    rows: int
    share: float

    @property
    def words(self) -> str:
        """`measured by the portal from 2,400 labelled predictions`, or whose rows they are."""
        if self.origin == MEASURED:
            return f"measured by the portal from {self.n:,} {self.counts or 'observations'}"
        rows = f"{self.rows:,} row{'' if self.rows == 1 else 's'}"
        return f"recorded by {self.by or 'somebody whose name was not kept'}, not measured by the portal ({rows}, n = {self.n:,})"


def shares(sources: Iterable[Source]) -> list[Share]:
    """One entry a source, what the portal measured first, then the largest."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for source in sources:
        measured = source.origin == MEASURED
        key = (source.origin, "" if measured else source.by, source.counts if measured else "")
        found.setdefault(key, []).append(source.n)
    total = sum(sum(each) for each in found.values())
    made = [Share(*key, n=sum(each), rows=len(each), share=sum(each) / total) for key, each in found.items()]
    return sorted(made, key=lambda s: (s.origin != MEASURED, -s.n, s.by, s.counts))


def told(found: Sequence[Share]) -> str:
    """All sources in one phrase, with their shares where there are several; empty of none."""
    if len(found) <= 1:
        return found[0].words if found else ""
    return ", ".join(f"{each.share * 100:.0f}% {each.words}" for each in found)

"""The risk tier that follows from a use case's materiality: exposure x purpose. Pure. docs/reference/risk-tiers.md says it for people.

Both are levels with a weight; their product is the materiality, and the product picks the tier. The table is the one in the database's
function of migration 0006; a test compares them pair by pair.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from apps.core.errors import Conflict, Invalid

TIERS = ("minimal", "limited", "high")


@dataclass(frozen=True, slots=True)
class Level:
    """One level of exposure or purpose: its weight, its name for people, and what it means."""

    weight: int
    name: str
    meaning: str


# How many people, decisions and how much money a year hang on the output; the largest of the three counts.
EXPOSURE: Mapping[str, Level] = {
    "small": Level(1, "small", "fewer than 1,000 people or decisions a year, and less than 100,000 (EUR or USD) at stake"),
    "medium": Level(2, "medium", "up to 100,000 people or decisions a year, and up to 1,000,000 at stake"),
    "large": Level(3, "large", "more than that"),
}
# How much the decision touches people, and who takes it.
PURPOSE: Mapping[str, Level] = {
    "informs": Level(1, "informs", "reports and forecasts; nothing about a single person hangs on one output"),
    "assists": Level(2, "assists", "a person decides about a person or about money, with the output before them"),
    "decides": Level(3, "decides", "the output takes effect without a person looking at each"),
    "vital": Level(6, "vital", "it bears on safety, health, credit, work, education or a right, whoever decides"),
}
# The smallest materiality of each tier.
LIMITED_FROM, HIGH_FROM = 3, 6


def materiality(exposure: str, purpose: str) -> int:
    """Exposure x purpose, 1 to 18; 0 while one of them is not said."""
    if exposure not in EXPOSURE or purpose not in PURPOSE:
        return 0
    return EXPOSURE[exposure].weight * PURPOSE[purpose].weight


def tier_of(exposure: str, purpose: str) -> str:
    """The tier that follows; empty while exposure or purpose is not said."""
    product = materiality(exposure, purpose)
    return "" if not product else "high" if product >= HIGH_FROM else "limited" if product >= LIMITED_FROM else "minimal"


def rank(tier: str) -> int:
    """0 to 2; -1 for no tier."""
    return TIERS.index(tier) if tier in TIERS else -1


def check_level(name: str, value: str, *, before: str = "") -> str:
    """A known level; once said it can be changed, not taken back. Raises Invalid naming the field."""
    known = EXPOSURE if name == "exposure" else PURPOSE
    if value and value not in known:
        raise Invalid(f"{name}: choose one of {', '.join(known)}.", errors={name: ["Unknown."]})
    if before and not value:
        raise Invalid(f"{name}: it was said and cannot be taken back. Choose one of {', '.join(known)}.", errors={name: ["Needed."]})
    return value


def check_first(tier: str, computed: str) -> str:
    """The tier a use case begins with: the computed one, or a higher one. Raises Invalid naming the field."""
    if not tier and not computed:
        raise Invalid(
            "risk_tier: say exposure and purpose, from which it follows, or choose a tier.",
            errors={"risk_tier": ["Needed, unless exposure and purpose are said."]},
        )
    if tier and rank(tier) < rank(computed):
        raise Invalid(
            f"risk_tier: exposure and purpose make it {computed}. Begin with that; a lower tier takes a reason and a risk owner's signature.",
            errors={"risk_tier": [f"At least {computed}."]},
        )
    return tier or computed


def check_change(*, stage: str, before: str, after: str, computed: str, excused: bool) -> str:
    """The tier after a change. Raising it is free; `excused`: a signed exception in force allows exactly `after`.

    Lowering is free while the use case is a proposal, down to what exposure and purpose make it. Everything else takes a signature.
    """
    if rank(after) >= rank(before) and rank(after) >= rank(computed):
        return after
    if excused or (stage == "proposal" and rank(after) >= rank(computed)):
        return after
    why = f"exposure and purpose make it {computed}" if rank(after) < rank(computed) else f"gates were passed as {before}"
    raise Conflict(
        f"risk_tier: {why}. Ask for {after} with a reason; it is lowered when a risk owner signs.",
        errors={"risk_tier": ["A lower tier takes a risk owner's signature."]},
    )


def check_ask(*, tier: str, now: str, exposure: str, purpose: str, stage: str) -> None:
    """What is asked for is a lower tier than now, of a use case whose materiality is said and that goes on."""
    if tier not in TIERS:
        raise Invalid(f"tier: choose one of {', '.join(TIERS)}.", errors={"tier": ["Unknown."]})
    if not tier_of(exposure, purpose):
        raise Conflict("tier: say exposure and purpose first, so that whoever signs knows what the tier follows from.",
                       errors={"tier": ["Exposure and purpose come first."]})  # fmt: skip
    if rank(tier) >= rank(now):
        raise Conflict(f"tier: it is {now}. A higher tier takes no signature: change it.", errors={"tier": ["Not lower than now."]})
    if stage in ("stopped", "retired"):
        raise Conflict("tier: this use case has ended.", errors={"tier": ["Ended."]})

"""Stages and their moves as one table, who may do what, what a use case must say. Pure."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.actor import Actor, Role
from apps.core.errors import Conflict, Invalid, NotAllowed

STAGES = ("proposal", "poc", "pilot", "production", "retired", "on_hold", "stopped")
ACTIVE = ("proposal", "poc", "pilot", "production")
TIERS = ("minimal", "limited", "high")
LEVELS = ("view", "change")
# Words that follow /usecases/ in the address of a page of its own.
RESERVED_SLUGS = ("new",)
DIRECTIONS = ("in", "out", "both")


@dataclass(frozen=True, slots=True)
class Move:
    """How one stage leads to another: what it needs beside the actor's right."""

    needs_decision: bool = False
    needs_reason: bool = False
    back_to_where_it_was: bool = False


# The one table of moves. The trigger of migration 0002 holds the same; tests/usecases compares them pair by pair.
MOVES: Mapping[tuple[str, str], Move] = {
    ("proposal", "poc"): Move(needs_decision=True),
    ("poc", "pilot"): Move(needs_decision=True),
    ("pilot", "production"): Move(needs_decision=True),
    ("production", "retired"): Move(needs_decision=True),
    ("production", "pilot"): Move(needs_reason=True),
    **{(stage, "on_hold"): Move(needs_reason=True) for stage in ACTIVE},
    **{("on_hold", stage): Move(back_to_where_it_was=True) for stage in ACTIVE},
    **{(stage, "stopped"): Move(needs_reason=True) for stage in (*ACTIVE, "on_hold")},
}
# The gate policy that guards each move forward, and where the model may then run.
GATE_OF_MOVE = {
    ("proposal", "poc"): "proposal_poc",
    ("poc", "pilot"): "poc_pilot",
    ("pilot", "production"): "pilot_production",
    ("production", "retired"): "production_retired",
}
ENVIRONMENT_OF_STAGE = {"pilot": "pilot", "production": "production"}
# The gate that opened an environment: it is passed anew when the risk tier was raised.
GATE_OF_ENVIRONMENT = {"pilot": "poc_pilot", "production": "pilot_production"}

# Days in a stage after which a use case counts as stalled; settings.STAGE_DAYS says otherwise. Production has no end.
EXPECTED_DAYS: Mapping[str, int] = {"proposal": 30, "poc": 90, "pilot": 120, "on_hold": 60}

# Requirement -> (smallest, largest) sensible value; None is "not stated yet".
BOUNDS: Mapping[str, tuple[float, float]] = {
    "latency_p99_ms": (0.1, 3_600_000.0),
    "availability_pct": (0.0, 100.0),
    "freshness_hours": (0.0, 87_660.0),
    "concurrent_users": (0, 1_000_000_000),
    "projected_rps": (0.000001, 10_000_000.0),
    "peak_factor": (1.0, 10_000.0),
}
REQUIRED = ("latency_p99_ms", "availability_pct", "freshness_hours", "concurrent_users", "projected_rps")


def check_may_create(actor: Actor) -> None:
    """Anyone who works with use cases; auditors only read."""
    if not (actor.is_admin or actor.has_role(Role.STAKEHOLDER, Role.APPROVER, Role.ML_ENGINEER)):
        raise NotAllowed("Writing down a use case needs one of the roles stakeholder, approver or ML engineer. Ask an administrator.")


def check_may_change(may_change: bool) -> None:
    """The owner, the sponsor, who wrote it down, whoever was given change access, and administrators."""
    if not may_change:
        raise NotAllowed("You may read this use case but not change it. Ask its owner for change access.")


def check_move(from_stage: str, to_stage: str, *, reason: str = "", has_decision: bool = False, was_at: str = "") -> None:
    """Whether this move exists and has what it needs; raises Conflict or Invalid with the remedy."""
    move = MOVES.get((from_stage, to_stage))
    if move is None:
        ways = ", ".join(to for frm, to in MOVES if frm == from_stage) or "nowhere"
        raise Conflict(f"There is no move from {from_stage} to {to_stage}. From {from_stage} it goes to: {ways}.")
    if move.needs_decision and not has_decision:
        raise Conflict(f"Moving to {to_stage} needs a passed gate. Request the gate and have it signed.")
    if move.needs_reason and not reason.strip():
        raise Invalid("reason: say why, for whoever reads the trail.", errors={"reason": ["Needed."]})
    if move.back_to_where_it_was and was_at != to_stage:
        raise Conflict(f"On hold, it goes back to where it was: {was_at or 'unknown'}.")


def next_stage(stage: str) -> str:
    """The stage one passed gate further; empty when there is none."""
    return next((to for (frm, to), move in MOVES.items() if frm == stage and move.needs_decision), "")


def check_words(fields: Mapping[str, Any]) -> dict[str, str]:
    """Name, problem and the rest of a description, trimmed; raises Invalid naming each field that is wrong."""
    limits = {"name": 200, "problem": 10_000, "decision_supported": 5_000, "output_users": 5_000, "risk_reason": 5_000, "currency": 3}
    clean, errors = {}, {}
    for name, value in fields.items():
        text = str(value).strip()
        clean[name] = text
        if name in ("name", "problem") and not text:
            errors[name] = ["Needed."]
        elif len(text) > limits[name]:
            errors[name] = [f"At most {limits[name]} characters."]
        elif name == "currency" and not (len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()):
            errors[name] = ["Give a three-letter code such as EUR."]
    if errors:
        first = next(iter(errors))
        raise Invalid(f"{first}: {errors[first][0]}", errors=errors)
    return clean


def check_tier(tier: str) -> str:
    """A known risk tier."""
    if tier not in TIERS:
        raise Invalid(f"risk_tier: choose one of {', '.join(TIERS)}.", errors={"risk_tier": ["Unknown tier."]})
    return tier


def is_raised(before: str, after: str) -> bool:
    """Whether a risk tier went up."""
    return TIERS.index(after) > TIERS.index(before)


def check_requirements(given: Mapping[str, Any]) -> dict[str, float | int | None]:
    """Known names and sensible numbers; raises Invalid naming each field that is wrong."""
    clean: dict[str, float | int | None] = {}
    errors: dict[str, list[str]] = {}
    for name, value in given.items():
        if name not in BOUNDS:
            errors[name] = [f"Unknown. Known: {', '.join(BOUNDS)}."]
            continue
        low, high = BOUNDS[name]
        if value is None and name != "peak_factor":
            clean[name] = None
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
            errors[name] = [f"Give a number from {low:g} to {high:g}."]
        elif name == "concurrent_users" and value != int(value):
            errors[name] = ["Give a whole number."]
        else:
            clean[name] = int(value) if name == "concurrent_users" else float(value)
    if errors:
        first = next(iter(errors))
        raise Invalid(f"{first}: {errors[first][0]}", errors=errors)
    return clean


def check_integration(given: Mapping[str, Any]) -> dict[str, str]:
    """Name and direction of an integration point, trimmed; raises Invalid naming the field."""
    clean = {name: str(given.get(name, "") or "").strip() for name in ("name", "kind", "direction", "owner", "note")}
    if not clean["name"] or len(clean["name"]) > 200:
        raise Invalid("name: name the system, in at most 200 characters.", errors={"name": ["Needed."]})
    if clean["direction"] not in DIRECTIONS:
        raise Invalid("direction: in (read from it), out (written to it) or both.", errors={"direction": ["Unknown."]})
    for name, limit in (("kind", 50), ("owner", 200), ("note", 5_000)):
        if len(clean[name]) > limit:
            raise Invalid(f"{name}: at most {limit} characters.", errors={name: ["Too long."]})
    return clean


def check_level(level: str) -> str:
    """view or change."""
    if level not in LEVELS:
        raise Invalid("level: view or change.", errors={"level": ["Unknown."]})
    return level


def gaps(facts: Mapping[str, bool]) -> list[str]:
    """The names of what is still missing, in the order asked."""
    return [name for name, there in facts.items() if not there]


def level_of(permissions: Collection[str]) -> str:
    """The level that grants amount to: view or change; empty without one."""
    return "change" if "change_usecase" in permissions else "view" if "view_usecase" in permissions else ""

"""Fields of a policy, what they take, and what holds when one is left out."""

from collections.abc import Mapping
from typing import Any

from apps.core.actor import Function

GATES = ("proposal_poc", "poc_pilot", "pilot_production", "production_retired", "version", "phase")
TIERS = ("any", "minimal", "limited", "high")
# Who answers an attested item: the use case's owner or sponsor, an engineer who may change it, or an approver of a function.
ITEM_OWNERS = ("owner", "engineer", *Function)
# Gates that let a model run, or open it to people: attestations alone never pass them.
NEEDS_CHECKS = ("poc_pilot", "pilot_production", "version", "phase")
OVERDUE_WAYS = ("remind", "escalate", "lapse")
MOST_WAIVER_DAYS = 365

NEEDED = ("name", "version", "gate", "tier", "question", "valid_days", "due_days", "quorum", "checks", "attestations")
# What holds when a field is left out. A field that says the same is left out of the stored body: saying it changes nothing.
DEFAULTS: Mapping[str, Any] = {
    "pools": {},
    "four_eyes": {"requester": True, "authors": True},
    "e_signature": True,
    "overdue": {"do": "remind", "every_days": 7},
    "waiver_days": 90,
}
# A pool is written inside `quorum`.
FIELDS = (*NEEDED, *(name for name in DEFAULTS if name != "pools"))
CHECK_FIELDS = ("check", "with", "title", "heading", "owner", "waivable")
ITEM_FIELDS = ("item", "text", "owner", "heading", "waivable")


def setting(body: Mapping[str, Any], name: str) -> Any:
    """What a policy says of an optional field, or what holds without it."""
    return body.get(name, DEFAULTS[name])


def in_pool(body: Mapping[str, Any], function: str, email: str) -> bool:
    """Whether this person may sign for a function that they hold: everybody, unless the policy names people."""
    named = body.get("pools", {}).get(function, {}).get("people")
    return named is None or email.lower() in named


def four_eyes(body: Mapping[str, Any]) -> dict[str, bool]:
    """Who may not sign: `requester` (whoever began or requested the gate), `authors` (of the model version)."""
    return {**DEFAULTS["four_eyes"], **body.get("four_eyes", {})}


def overdue(body: Mapping[str, Any]) -> dict[str, Any]:
    """What happens when signatures are late: `do`, `every_days`, and `to` when it escalates. Never an approval."""
    return {**DEFAULTS["overdue"], **body.get("overdue", {})}

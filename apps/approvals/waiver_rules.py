"""Who may ask for and sign a waiver, for what and how long. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from apps.core.actor import Function
from apps.core.errors import Conflict, Invalid

SIGNER = Function.RISK
# Days before a waiver ends on which people are told.
WARN_DAYS = (14, 3)


def name_of(row: Mapping[str, Any]) -> str:
    """What a waiver calls a row: the check's or the item's name, or the one of its own that a check asked once more has."""
    return str(row.get("subject") or row.get("check") or row["item"])


def row_of(body: Mapping[str, Any], subject: str) -> Mapping[str, Any]:
    """The check or item of a policy with this name; raises Invalid naming what there is, or Conflict when it cannot be waived."""
    rows = {name_of(row): row for row in (*body["checks"], *body["attestations"])}
    if subject not in rows:
        raise Invalid(f"subject: this gate asks for no {subject!r}. It has: {', '.join(rows)}.", errors={"subject": ["Unknown."]})
    row: Mapping[str, Any] = rows[subject]
    if not row.get("waivable", True):
        raise Conflict("subject: the policy lets nobody waive this. Bring it about.", errors={"subject": ["Not waivable."]})
    return row


def check_terms(*, reason: str, until: datetime, at: datetime, most_days: int) -> str:
    """A reason in words and an end that is neither past nor too far; returns the reason, raises Invalid naming each field."""
    errors: dict[str, list[str]] = {}
    if not reason.strip():
        errors["reason"] = ["Say why it may wait, and what is done meanwhile."]
    if until <= at:
        errors["until"] = ["This is over already. Choose a later day."]
    elif until > at + timedelta(days=most_days):
        errors["until"] = [f"The policy lets a waiver last {most_days} days: until {at + timedelta(days=most_days):%Y-%m-%d} at most."]
    if errors:
        first = next(iter(errors))
        raise Invalid(f"{first}: {errors[first][0]}", errors=errors)
    return reason.strip()


def passes(row: Mapping[str, Any]) -> bool:
    """Whether a row of the evidence, of a check or of an item, needs no waiver."""
    return row["state"] == "pass" if "state" in row else row["answer"] in ("yes", "not_applicable")


def check_needed(row: Mapping[str, Any]) -> None:
    """Only what does not pass is waived. `row` is a row of the evidence: of a check, or of an item."""
    if passes(row):
        raise Conflict("subject: this passes, so it needs no waiver.", errors={"subject": ["Passes."]})


def in_force(*, state: str, until: datetime, at: datetime) -> bool:
    """Whether a waiver counts at this moment."""
    return state == "signed" and at < until

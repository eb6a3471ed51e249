"""The forms of a use case: which fields, and how what was typed becomes the arguments of one service."""

from typing import Any
from uuid import UUID

from apps.accounts import selectors as accounts
from apps.accounts.models import User
from apps.core.actor import Actor
from apps.core.errors import Invalid
from apps.core.fields import Field, needed, number, typed, whole
from apps.usecases import materiality

EXPOSURE = (("", "choose"), *((key, f"{level.name}: {level.meaning}") for key, level in materiality.EXPOSURE.items()))
PURPOSE = (("", "choose"), *((key, f"{level.name}: {level.meaning}") for key, level in materiality.PURPOSE.items()))
TIERS = (
    ("", "what follows from exposure and purpose"),
    ("minimal", "minimal: errors are put right"),
    ("limited", "limited: they cost money or trust"),
    ("high", "high: they can harm people"),
)
DIRECTIONS = (("in", "in: read from it"), ("out", "out: written to it"), ("both", "both"))
WORDS = (
    Field("name", "Name", required=True, hint="Short, as people will say it.", wide=True),
    Field("problem", "Problem", "textarea", required=True, hint="What goes wrong or costs too much today, and for whom."),
    Field("decision_supported", "Decision supported", "textarea", rows=2, hint="Which decision gets better, and who takes it."),
    Field("output_users", "Users of the output", "textarea", rows=2, hint="Who reads the output, and where."),
    Field("owner", "Owner", "email", list="people", hint="Answers for the use case. You, if left empty."),
    Field("sponsor", "Sponsor", "email", list="people", hint="Pays for it and wants its value."),
    Field(
        "exposure",
        "Exposure",
        "select",
        choices=EXPOSURE,
        hint="What hangs on it in a year; the largest counts. The first gate asks for it.",
        wide=True,
    ),
    Field(
        "purpose", "Purpose", "select", choices=PURPOSE, hint="How much the decision touches people. The first gate asks for it.", wide=True
    ),
    Field(
        "risk_tier",
        "Risk tier",
        "select",
        choices=TIERS,
        wide=True,
        hint="Exposure x purpose; it decides how much the gates ask for. You may choose a higher one; a lower one takes a risk owner's signature.",
    ),
    Field("currency", "Currency", hint="Three letters. Value and cost are shown in it."),
    Field("risk_reason", "Why this tier", "textarea", rows=2),
)
REQUIREMENTS = (
    Field("latency_p99_ms", "Answer time, p99 (ms)", "number", hint="99 of 100 answers are at least this fast."),
    Field("availability_pct", "Availability (%)", "number", hint="Share of the month in which it answers."),
    Field("freshness_hours", "Freshness (hours)", "number", hint="How old its input data may be."),
    Field("concurrent_users", "People at once", "number"),
    Field("projected_rps", "Load (requests a second)", "number", hint="Load tests run at this and at the peak."),
    Field("peak_factor", "Peak factor", "number", hint="Peak load as a multiple of the projected load."),
)
INTEGRATION = (
    Field("name", "System", required=True),
    Field("direction", "Direction", "select", required=True, choices=DIRECTIONS),
    Field("owner", "Who runs it"),
    Field("note", "What flows, and when"),
)
INTEGRATION_ROWS = 4


def person(given: dict[str, str], name: str) -> User | None:
    """The account behind an email address that was typed; None when empty; raises Invalid naming the field."""
    if not given.get(name):
        return None
    found = accounts.user_by_email(given[name])
    if found is None:
        raise Invalid(
            f"{name}: nobody has an account with the address {given[name]}. Choose one from the list.", errors={name: ["No such account."]}
        )
    return found


def account_id(post: Any, name: str) -> UUID:
    """The id of an account that a form carries; raises Invalid naming the field."""
    try:
        return UUID(str(post.get(name) or ""))
    except ValueError as error:
        raise Invalid(f"{name}: choose a person of the list.", errors={name: ["Not a person of the list."]}) from error


def words(post: Any) -> dict[str, Any]:
    """The description of a use case, as create_usecase and update_usecase take it."""
    given = typed(WORDS, post)
    needed(given, "name", "problem")
    fields: dict[str, Any] = dict(given)
    if not given["risk_tier"] and not (given["exposure"] and given["purpose"]):
        needed(given, "risk_tier")
    fields["owner"], fields["sponsor"] = person(given, "owner"), person(given, "sponsor")
    fields["currency"] = given["currency"].upper() or "EUR"
    return fields


def requirements(post: Any) -> dict[str, Any]:
    """Numbers as set_requirements takes them; what was left empty is `not stated`."""
    given = typed(REQUIREMENTS, post)
    fields: dict[str, Any] = {f.name: number(given, f.name) for f in REQUIREMENTS if f.name != "concurrent_users"}
    fields["concurrent_users"] = whole(given, "concurrent_users")
    if fields["peak_factor"] is None:
        del fields["peak_factor"]
    return fields


def integrations(post: Any) -> list[dict[str, str]]:
    """The rows of integration points that were filled in, of the form for a new use case."""
    rows = []
    for index in range(INTEGRATION_ROWS):
        row = {f.name: str(post.get(f"integration-{index}-{f.name}") or "").strip() for f in INTEGRATION}
        if row["name"] or row["note"] or row["owner"]:
            needed({f"integration-{index}-name": row["name"]}, f"integration-{index}-name")
            rows.append(row)
    return rows


def integration_rows(post: Any = None) -> list[list[Field]]:
    """Empty rows of integration points, or what was typed into them."""
    values = post or {}
    return [
        [
            Field(
                f"integration-{index}-{f.name}", f.label, f.kind, choices=f.choices, required=f.kind == "select", wide=f.wide,
                value=str(values.get(f"integration-{index}-{f.name}") or ""),
            )
            for f in INTEGRATION
        ]
        for index in range(INTEGRATION_ROWS)
    ]  # fmt: skip


def people(actor: Actor) -> list[User]:
    """For the list that helps to type an address."""
    return list(accounts.users(actor)[:300])

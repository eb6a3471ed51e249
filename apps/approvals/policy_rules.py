"""What a gate policy is: its fields, and when it is sound. Pure."""

from collections.abc import Mapping
from typing import Any

import yaml

from apps.core.actor import Function
from apps.core.canonical import digest_of
from apps.core.errors import Invalid
from apps.core.evidence import Check

GATES = ("proposal_poc", "poc_pilot", "pilot_production", "version")
TIERS = ("any", "minimal", "limited", "high")
# Who answers an attested item: the use case's owner or sponsor, an engineer who may change it, or an approver of a function.
ITEM_OWNERS = ("owner", "engineer", *Function)
FIELDS = {"name", "version", "gate", "tier", "question", "valid_days", "due_days", "quorum", "checks", "attestations"}
# Gates that let a model run: attestations alone never pass them.
NEEDS_CHECKS = ("poc_pilot", "pilot_production", "version")


def wrong(where: str, words: str) -> Invalid:
    """A refusal that names the field."""
    return Invalid(f"{where}: {words}", errors={where: [words]})


def read(text: str, checks: Mapping[str, Check]) -> dict[str, Any]:
    """The body of a policy from YAML, complete and checked; raises Invalid naming line or field.

    `checks` are those the portal offers.
    """
    try:
        body = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark else "text"
        raise wrong(place, f"this is not YAML: {getattr(error, 'problem', None) or 'unreadable'}.") from error
    if not isinstance(body, dict):
        raise wrong("text", "a policy is a mapping of fields.")
    if unknown := sorted(str(k) for k in body if k not in FIELDS):
        raise wrong(unknown[0], f"unknown field. Known: {', '.join(sorted(FIELDS))}.")
    return {
        "name": _text(body, "name", 100),
        "version": _whole(body, "version", 1, 1_000_000),
        "gate": _choice(body, "gate", GATES),
        "tier": _choice(body, "tier", TIERS),
        "question": _text(body, "question", 300),
        "valid_days": _whole(body, "valid_days", 1, 1096),
        "due_days": _whole(body, "due_days", 1, 365),
        "quorum": _quorum(body.get("quorum")),
        "checks": _checks(body, checks),
        "attestations": _attestations(body.get("attestations", [])),
    }


def _text(body: Mapping[str, Any], name: str, limit: int) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > limit:
        raise wrong(name, f"give text of at most {limit} characters.")
    return value.strip()


def _whole(body: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(name, f"give a whole number from {low} to {high}.")
    return value


def _choice(body: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = body.get(name)
    if value not in known:
        raise wrong(name, f"choose one of {', '.join(known)}.")
    return str(value)


def _quorum(value: Any) -> dict[str, int]:
    """Function -> how many of it must sign."""
    if not isinstance(value, dict) or not value:
        raise wrong("quorum", "name at least one function and how many of it sign, such as `risk: 1`.")
    for function, count in value.items():
        if function not in set(Function):
            raise wrong(f"quorum.{function}", f"unknown function. Known: {', '.join(Function)}.")
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 20:
            raise wrong(f"quorum.{function}", "give a whole number from 1 to 20.")
    return {function: value[function] for function in Function if function in value}


def _checks(body: Mapping[str, Any], known: Mapping[str, Check]) -> list[dict[str, Any]]:
    rows = body.get("checks", [])
    if not isinstance(rows, list):
        raise wrong("checks", "give a list.")
    if not rows and body.get("gate") in NEEDS_CHECKS:
        raise wrong("checks", "a gate that lets a model run does not pass on attestations alone. Name computed checks.")
    out: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        where = f"checks[{index}]"
        if not isinstance(row, dict) or not isinstance(row.get("check"), str) or set(row) - {"check", "with", "title"}:
            raise wrong(where, "give `check`, and if needed `with` and `title`.")
        name, parameters = row["check"], row.get("with") or {}
        if not isinstance(parameters, dict):
            raise wrong(f"{where}.with", "give parameters as a mapping.")
        check = known.get(name)
        if check is None:
            raise wrong(f"{where}.check", f"there is no check {name!r}. Known: {', '.join(sorted(known))}.")
        try:
            parameters = check.settings(parameters)
        except Invalid as error:
            raise wrong(f"{where}.with", error.detail) from error
        title = str(row.get("title") or check.title)
        if any(o["check"] == name and o["with"] == parameters for o in out):
            raise wrong(where, f"{name} is asked twice with the same parameters.")
        out.append({"check": name, "with": parameters, "title": title})
    return out


def _attestations(rows: Any) -> list[dict[str, str]]:
    if not isinstance(rows, list):
        raise wrong("attestations", "give a list.")
    out: list[dict[str, str]] = []
    for index, row in enumerate(rows):
        where = f"attestations[{index}]"
        if not isinstance(row, dict) or set(row) != {"item", "text", "owner"}:
            raise wrong(where, "give `item`, `text` and `owner`.")
        if row["owner"] not in ITEM_OWNERS:
            raise wrong(f"{where}.owner", f"choose one of {', '.join(ITEM_OWNERS)}.")
        clean = {"item": _text(row, "item", 100), "text": _text(row, "text", 1_000), "owner": str(row["owner"])}
        if any(o["item"] == clean["item"] for o in out):
            raise wrong(f"{where}.item", f"{clean['item']!r} is there twice.")
        out.append(clean)
    return out


def digest(body: Mapping[str, Any]) -> str:
    """Digest of a policy's body."""
    return digest_of(dict(body))

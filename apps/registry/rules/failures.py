"""Known failure modes: which fields an entry has and what makes it whole. Pure."""

from collections.abc import Mapping
from typing import Any

from apps.core.errors import Invalid

SEVERITIES = ("low", "medium", "high", "critical")
STATES = ("open", "handled", "accepted", "resolved")
KINDS = ("failure mode", "edge case")
TEXTS = {"title": (200, True), "effect": (4_000, True), "condition": (4_000, True), "handling": (4_000, False)}
CHOICES = {"kind": (KINDS, "failure mode"), "severity": (SEVERITIES, None), "state": (STATES, "open")}
NUMBERS = ("since_version", "until_version")
FIELDS = (*TEXTS, *CHOICES, *NUMBERS)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of an entry, defaults filled in; Invalid names the field and what to write.

    An entry that is not open says what handles it: the code, the person, or why it was accepted.
    """
    if unknown := sorted(set(given) - set(FIELDS)):
        raise Invalid(f"{unknown[0]}: not a field of an entry. Known: {', '.join(FIELDS)}.", errors={unknown[0]: ["Unknown field."]})
    out: dict[str, Any] = {}
    for name, (most, needed) in TEXTS.items():
        text = given.get(name) or ""
        if not isinstance(text, str) or len(text) > most or "\x00" in text:
            raise _wrong(name, f"text of at most {most:,} characters")
        out[name] = text.strip()
        if needed and not out[name]:
            raise _wrong(name, "a few words")
    for name, (known, default) in CHOICES.items():
        out[name] = given.get(name) or default
        if out[name] not in known:
            raise _wrong(name, f"one of {', '.join(known)}")
    for name in NUMBERS:
        number = given.get(name)
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
            raise _wrong(name, "the number of a version")
        out[name] = number
    since, until = out["since_version"], out["until_version"]
    if since is not None and until is not None and until < since:
        raise _wrong("until_version", f"at least {since}, where it began")
    if out["state"] != "open" and not out["handling"]:
        raise _wrong("handling", "what handles it, or why it was accepted: it is no longer open")
    return out


def _wrong(name: str, wanted: str) -> Invalid:
    return Invalid(f"{name}: give {wanted}.", errors={name: [f"Give {wanted}."]})

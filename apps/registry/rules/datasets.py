"""Datasets: what people say of one. Pure."""

from collections.abc import Mapping
from typing import Any

from apps.core.errors import Invalid

SENSITIVITIES = ("public", "internal", "confidential", "personal", "special category")
TEXTS = {"description": 4_000, "permissions": 4_000, "licence": 200, "retention": 1_000}
# What a reader of a dataset's page misses while it is empty.
ASKED = ("owner", "permissions", "retention", "sensitivity")


def checked(given: Mapping[str, Any]) -> dict[str, str]:
    """The governed fields that are given; Invalid names the field and what to write."""
    out: dict[str, str] = {}
    for name, value in given.items():
        if name == "sensitivity":
            if value and value not in SENSITIVITIES:
                raise _wrong(name, f"one of {', '.join(SENSITIVITIES)}")
        elif name not in TEXTS:
            raise Invalid(
                f"{name}: not a governed field. Known: {', '.join((*TEXTS, 'sensitivity', 'owner_email'))}.",
                errors={name: ["Unknown field."]},
            )
        elif not isinstance(value, str) or len(value) > TEXTS[name] or "\x00" in value:
            raise _wrong(name, f"text of at most {TEXTS[name]:,} characters")
        out[name] = str(value or "").strip()
    return out


def missing(governed: Any) -> list[str]:
    """Asked fields that nobody has filled in."""
    return [name for name in ASKED if not getattr(governed, name, None)]


def _wrong(name: str, wanted: str) -> Invalid:
    return Invalid(f"{name}: give {wanted}.", errors={name: [f"Give {wanted}."]})

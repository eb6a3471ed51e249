"""One reading of a request's path: what is matched is what is sent on. Pure."""

import re
from urllib.parse import parse_qsl, quote, urlencode

MOST_CHARACTERS = 4_000
_ENCODED = re.compile(r"%(2f|5c|2e|25|00)", re.IGNORECASE)
# A percent sign before two hex digits would be decoded once more further on; the rest has no place in a path of ours.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\#?]|%[0-9a-fA-F]{2}")


class PathRefused(Exception):
    """The path can be read in two ways."""


def normal(path: str, *, raw: str = "") -> str:
    """The decoded path (with its leading slash) if there is one way to read it.

    `raw` is the path as it came over the wire, where the server tells it. Raises PathRefused for empty or dot segments, encoded
    slashes, dots or percent signs, backslashes and control characters.
    """
    if raw and _ENCODED.search(raw):
        raise PathRefused("The path holds an encoded slash, dot or percent sign.")
    if len(path) > MOST_CHARACTERS or not path.startswith("/") or _FORBIDDEN.search(path):
        raise PathRefused("The path is too long or holds characters that have no place in it.")
    if path != "/" and any(segment in {"", ".", ".."} for segment in path.split("/")[1:]):
        raise PathRefused("The path holds an empty or dot segment.")
    return path


def wire(path: str) -> str:
    """A normal path as it goes over the wire."""
    return quote(path, safe="/:@!$&'()*+,;=~-._")


def query(raw: str) -> str:
    """The query re-written from what was read of it, so that nobody reads it differently. Values named `path` are checked too."""
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=20_000)
    except ValueError as error:
        raise PathRefused("The query names more than 20,000 values.") from error
    for name, value in pairs:
        if name in {"path", "artifact_path"} and value:
            normal(value if value.startswith("/") else f"/{value}")
    return urlencode(pairs)

"""What may be said and attached on a gate. Pure."""

import re

from apps.core.actor import Actor, Role
from apps.core.errors import Conflict, Invalid, NotAllowed

KINDS = ("comment", "question")
MOST_CHARACTERS = 5_000
MOST_BYTES = 1024 * 1024
MOST_FILES = 5
# Ending -> (content type, how the file begins; None: it is text in UTF-8).
FILES: dict[str, tuple[str, bytes | None]] = {
    "pdf": ("application/pdf", b"%PDF-"),
    "png": ("image/png", b"\x89PNG\r\n\x1a\n"),
    "jpg": ("image/jpeg", b"\xff\xd8\xff"),
    "jpeg": ("image/jpeg", b"\xff\xd8\xff"),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", b"PK\x03\x04"),
    "docx": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"PK\x03\x04"),
    "txt": ("text/plain; charset=utf-8", None),
    "md": ("text/plain; charset=utf-8", None),
    "csv": ("text/csv; charset=utf-8", None),
    "json": ("application/json", None),
}


def may_comment(actor: Actor) -> bool:
    """Whether this is a named person who does more than read."""
    return actor.user_id is not None and (actor.has_role(*(r for r in Role if r != Role.AUDITOR)) or not actor.has_role(Role.AUDITOR))


def check_may_comment(actor: Actor) -> str:
    """The same as a refusal; returns the person's user id."""
    if actor.user_id is None:
        raise NotAllowed("A person comments. Sign in, or use a person's token.")
    if not may_comment(actor):
        raise NotAllowed("Auditors read and do not take part. Ask the use case's owner to ask your question.")
    return actor.user_id


def check_comment(text: str, kind: str) -> str:
    """Words of a known kind, trimmed; raises Invalid naming the field."""
    if kind not in KINDS:
        raise Invalid(f"kind: choose one of {', '.join(KINDS)}.", errors={"kind": ["Unknown."]})
    if not text.strip() or len(text) > MOST_CHARACTERS:
        raise Invalid(f"text: say it in 1 to {MOST_CHARACTERS:,} characters.", errors={"text": ["Empty or too long."]})
    return text.strip()


def check_file(name: str, content: bytes) -> tuple[str, str]:
    """(name without folders, content type) of a file that is taken: small, of a known kind, and really of that kind."""
    clean = re.sub(r"[^\w. ()-]+", "_", re.split(r"[\\/]", name)[-1]).strip(" .")[-200:]
    ending = clean.rpartition(".")[2].lower() if "." in clean else ""
    if ending not in FILES:
        raise Invalid(f"name: give a file that ends in {', '.join(FILES)}.", errors={"name": ["This kind is not taken."]})
    if not content or len(content) > MOST_BYTES:
        raise Invalid(f"content: give a file of 1 byte to {MOST_BYTES // 1024} KiB.", errors={"content": ["Empty or too large."]})
    content_type, begins = FILES[ending]
    if not (content.startswith(begins) if begins is not None else _is_text(content)):
        raise Invalid(f"content: this is not a {ending} file. Attach it under its own kind.", errors={"content": ["Not of this kind."]})
    return clean, content_type


def _is_text(content: bytes) -> bool:
    try:
        return "\x00" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False


def check_count(there: int) -> None:
    """Not too many files beside one answer."""
    if there >= MOST_FILES:
        raise Conflict(f"content: {MOST_FILES} files are attached to this item already. Put more into one file, or link to it in the note.")

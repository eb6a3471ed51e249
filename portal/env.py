"""Reads the environment once, and says which variable is wrong and how to mend it."""

import os
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str | None = None) -> str:
    """Value of a variable; refuses to start when it is missing and has no default."""
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(f"{name} is not set. Start through ./gatehouse, or set it as docker-compose.yml does.")
    return value


def flag(name: str, default: bool = False) -> bool:
    """True for 1, true, yes, on."""
    return os.environ.get(name, "1" if default else "0").strip().lower() in {"1", "true", "yes", "on"}


def number(name: str, default: float) -> float:
    """A number, with an error that names the variable."""
    raw = os.environ.get(name)
    if raw is None or raw == "":
        return default
    try:
        return float(raw)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is {raw!r}; give a number.") from error


def pairs(name: str, default: dict[str, str]) -> dict[str, str]:
    """`a=x,b=y` as a dict, with an error that names the variable."""
    raw = os.environ.get(name, "").strip()
    if not raw:
        return dict(default)
    found = dict(part.strip().partition("=")[::2] for part in raw.split(",") if part.strip())
    if not all(key.strip() and value.strip() for key, value in found.items()):
        raise ImproperlyConfigured(f"{name} is {raw!r}; give pairs such as champion=production,challenger=pilot.")
    return {key.strip(): value.strip() for key, value in found.items()}


def days(name: str) -> dict[str, int]:
    """`a=14,b=60` as whole numbers of days, with an error that names the variable."""
    found = pairs(name, {})
    if wrong := [key for key, value in found.items() if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 36_500)]:
        raise ImproperlyConfigured(f"{name}: {wrong[0]} is {found[wrong[0]]!r}; give days such as proposal=14,poc=60.")
    return {key: int(value) for key, value in found.items()}


# Whom a change that no event tells of is put down to; each of them is a finding.
_NAMED = {"web": "system:web", "control": "system:control", "relay": "system:control", "schedule": "system:control", "manage": "system:manage"}


def database(name: str) -> dict[str, object]:
    """Django's database settings from a postgresql:// URL."""
    process = os.environ.get("GATEHOUSE_PROCESS", "gatehouse")
    named = {"options": f"-c gatehouse.actor={_NAMED[process]}"} if process in _NAMED else {}
    url = urlsplit(text(name))
    if url.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"{name} must start with postgresql://; Gatehouse runs on PostgreSQL only.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.lstrip("/")),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname or "",
        "PORT": str(url.port or ""),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
        "OPTIONS": {"application_name": process, **named},
    }

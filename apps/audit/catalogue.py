"""The one catalogue of what can happen, gathered from the apps that `settings.AUDIT_CATALOGUES` lists."""

import importlib
import re
from functools import cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_FORM = re.compile(r"[a-z_]+\.[a-z_]+\.[a-z_]+")


@cache
def actions() -> dict[str, str]:
    """Action (`app.noun.verbed`) -> what it means in a sentence. Refuses misspelled and doubly declared ones."""
    gathered: dict[str, str] = {}
    for module in settings.AUDIT_CATALOGUES:
        app = module.split(".")[-2]
        for action, meaning in importlib.import_module(module).ACTIONS.items():
            if not _FORM.fullmatch(action) or not action.startswith(f"{app}."):
                raise ImproperlyConfigured(f"{module} declares {action!r}; an action reads {app}.noun.verbed")
            if action in gathered:
                raise ImproperlyConfigured(f"{module} declares {action!r} a second time")
            gathered[action] = meaning
    return gathered


def meaning(action: str) -> str:
    """The sentence for an action; the action itself when it is no longer declared (old events stay readable)."""
    return actions().get(action, action)

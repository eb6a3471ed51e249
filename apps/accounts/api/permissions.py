"""The first check of every REST view; services check the rest."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from apps.core.errors import NotAllowed


class SignedInWithScope(BasePermission):
    """Somebody is signed in, and their token's scopes admit reading or writing."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """True, False (401), or NotAllowed naming the scope that is missing."""
        actor = getattr(request._request, "actor", None)
        if request.user is None or actor is None:
            return False
        needed = "read" if request.method in SAFE_METHODS else "write"
        if not (actor.has_scope(needed) or (needed == "read" and actor.has_scope("write"))):
            raise NotAllowed(f"This token lacks the scope {needed!r}. Issue one that has it under Account.")
        return True

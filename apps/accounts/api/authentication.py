"""How a REST request says who it is: a bearer token, or the browser's session."""

from typing import Any

from django.conf import settings
from django.utils.functional import SimpleLazyObject
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from apps.accounts import selectors
from apps.core.errors import SignInNeeded


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer ghp_...`."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """(user, token prefix), or None when no bearer token was sent."""
        header = request.headers.get("Authorization", "")
        if not header.lower().startswith("bearer "):
            return None
        try:
            actor = selectors.actor_from_token(header[7:].strip(), request=request._request)
        except SignInNeeded as error:
            raise AuthenticationFailed(error.detail) from error
        request._request.actor = actor  # type: ignore[attr-defined]
        # Most operations need no more of the person than the actor says.
        return SimpleLazyObject(lambda: _person(actor.user_id)), actor.id

    def authenticate_header(self, request: Request) -> str:
        """Makes a missing token a 401."""
        return 'Bearer realm="gatehouse"'


def _person(user_id: str | None) -> Any:
    from apps.accounts.models import User

    return User.objects.get(id=str(user_id))


class BrowserSession(SessionAuthentication):
    """The session of a signed-in page, with the CSRF check."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """(user, None) for a signed-in browser."""
        found = super().authenticate(request)
        if found is not None:
            request._request.actor = selectors.actor_from_user(found[0], request=request._request)  # type: ignore[attr-defined]
        return found


def _describe() -> None:
    """Tell the OpenAPI schema about the bearer token."""
    from drf_spectacular.extensions import OpenApiAuthenticationExtension

    class BearerScheme(OpenApiAuthenticationExtension):
        target_class = TokenAuthentication
        name = "ApiToken"

        def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
            return {"type": "http", "scheme": "bearer", "bearerFormat": "ghp_..."}

    class SessionScheme(OpenApiAuthenticationExtension):
        target_class = BrowserSession
        name = "BrowserSession"

        def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
            return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


_describe()

"""Who calls the endpoint: a token, or the browser of a signed-in person."""

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest

from apps.accounts.selectors import actor_from_token, actor_from_user
from apps.core.actor import Actor
from apps.core.errors import NotAllowed, SignInNeeded

HOW = "Set MLFLOW_TRACKING_TOKEN to a Gatehouse API token with the scope mlflow (Account, API tokens)."


def actor(request: HttpRequest, path: str) -> Actor | None:
    """The caller; None for a browser that asks for MLflow's page without being signed in. Raises SignInNeeded, NotAllowed."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer" or not token.strip():
            raise SignInNeeded(HOW)
        return actor_from_token(token.strip(), request=request)
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        check_origin(request)
        return actor_from_user(user, request=request)
    if request.method == "GET" and path == "/" and "text/html" in request.headers.get("Accept", ""):
        return None
    raise SignInNeeded(HOW)


def check_origin(request: HttpRequest) -> None:
    """A browser's request may come from our own pages alone: its cookie goes along wherever the request was made.

    Browsers say where with `Sec-Fetch-Site`, and with `Origin` for whatever is no plain GET. A read by a link from elsewhere
    shows the person what they may see anyway; everything else from elsewhere is refused.
    """
    site = request.headers.get("Sec-Fetch-Site", "")
    origin = request.headers.get("Origin", "")
    if request.method == "GET":
        if site in {"", "same-origin", "none"} or request.headers.get("Sec-Fetch-Mode") == "navigate":
            return
    elif origin and _is_ours(request, origin) and site in {"", "same-origin"}:
        return
    raise NotAllowed("The request does not come from a page of this portal. Use the portal's own pages, or a token.")


def _is_ours(request: HttpRequest, origin: str) -> bool:
    sent = urlsplit(origin)
    own = {settings.BASE_URL, f"{request.scheme}://{request.get_host()}"}
    return f"{sent.scheme}://{sent.netloc}" in own

"""What every request passes: an id, a content security policy, and one place that turns a refusal into a page."""

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.module_loading import import_string

from apps.core.errors import DomainError, Invalid
from portal.logs import request_id

Handler = Callable[[HttpRequest], HttpResponse]
_ID = re.compile(r"^[A-Za-z0-9._-]{8,64}$")

# The only addresses whose answers may bring a policy that allows inline styles: MLflow's page, whose scripts set them, and its files.
# Inline scripts are allowed nowhere. (An evidence pack's own page, templates/dashboard/pack.html, is opened from a disk.)
STYLE_EXCEPTIONS: tuple[str, ...] = (r"/mlflow/\Z", r"/mlflow/static-files/")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; manifest-src 'self'"
)


class RequestIdMiddleware:
    """Gives each request an id, kept from `X-Request-Id` when it is well formed, and returns it."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on with its id set for the log."""
        given = request.headers.get("X-Request-Id", "")
        rid = given if _ID.match(given) else uuid.uuid4().hex
        request.request_id = rid  # type: ignore[attr-defined]
        token = request_id.set(rid)
        try:
            response = self.get_response(request)
        finally:
            request_id.reset(token)
        response.headers["X-Request-Id"] = rid
        return response


class ShortWayMiddleware:
    """Takes calls of an mlflow client straight to the endpoint: with a token, what follows here would be paid for in vain.

    Session, messages, CSRF, frame options and htmx are for people at a browser, who send no `Authorization`.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self.endpoint = import_string("apps.registry.machine.proxy.mlflow_endpoint")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The endpoint's answer, or the long way's."""
        if request.path_info.startswith("/mlflow/") and "HTTP_AUTHORIZATION" in request.META:
            request.get_host()  # refuses foreign names, as CommonMiddleware does
            response: HttpResponse = self.endpoint(request)
            response.headers.setdefault("X-Frame-Options", "DENY")
            return response
        return self.get_response(request)


class RefuseNulMiddleware:
    """PostgreSQL stores no NUL character: an address or form that holds one is refused before anything reads it."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Refuse with the words of the API or of a page."""
        if "\x00" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return self._refuse(request)
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: object) -> HttpResponse | None:
        """Forms: JSON bodies are checked field by field in the API."""
        form = request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data") and not request.path.startswith(
            "/mlflow/"
        )
        if request.method == "POST" and form and any("\x00" in v for _, values in request.POST.lists() for v in values):
            return self._refuse(request)
        return None

    @staticmethod
    def _refuse(request: HttpRequest) -> HttpResponse:
        error = Invalid("The request holds a NUL character, which cannot be stored. Take it out.")
        if request.path.startswith("/api/"):
            return JsonResponse(error.problem(), status=400, content_type="application/problem+json")
        return HttpResponse(error.detail, status=400, content_type="text/plain")


class ContentSecurityPolicyMiddleware:
    """Sends the policy with every answer that has none of its own, or one that is looser than its address may have."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Add the headers to the answer."""
        response = self.get_response(request)
        own = response.headers.get("Content-Security-Policy", "")
        if not own or ("unsafe" in own and not any(re.match(p, request.path) for p in STYLE_EXCEPTIONS)):
            response.headers["Content-Security-Policy"] = POLICY
        response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        return response


class DomainErrorMiddleware:
    """Shows a refusal in the same words on a page as in the API."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on; see process_exception."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Render a DomainError that a page view let through."""
        if not isinstance(error, DomainError):
            return None
        response = render(request, "errors/refused.html", {"error": error, "status": error.status}, status=error.status)
        for name, value in error.headers.items():
            response.headers[name] = value
        return response

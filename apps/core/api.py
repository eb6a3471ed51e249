"""What all REST answers share: problem details, keyset pagination, the actor of a request. rest.py has the base views."""

import logging
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from rest_framework import exceptions, status
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import set_rollback

from apps.core.actor import Actor
from apps.core.errors import DomainError, Invalid, NotAllowed, NotFound, SignInNeeded, TooMany

log = logging.getLogger(__name__)
NOBODY = "Nobody is signed in. Send an API token as `Authorization: Bearer ...`, or sign in."


def wrong(name: str, remedy: str) -> Invalid:
    """An Invalid that names one parameter and its remedy."""
    return Invalid(f"{name}: {remedy}", errors={name: [f"{remedy[:1].upper()}{remedy[1:]}"]})


def actor_of(request: HttpRequest | Request) -> Actor:
    """The actor behind a request; raises SignInNeeded when there is none."""
    actor = getattr(request, "actor", None) or getattr(getattr(request, "_request", None), "actor", None)
    if actor is None:
        raise SignInNeeded(NOBODY)
    return actor


def _sentences(detail: Any, prefix: str = "") -> dict[str, list[str]]:
    """Flatten DRF's error tree to `field.sub[0] -> sentences`."""
    if isinstance(detail, dict):
        out: dict[str, list[str]] = {}
        for key, value in detail.items():
            name = key if key != "non_field_errors" else ""
            out |= _sentences(value, f"{prefix}.{name}".strip(".") if prefix else str(name))
        return out
    if isinstance(detail, list) and any(isinstance(i, dict | list) for i in detail):
        out = {}
        for index, value in enumerate(detail):
            if value:
                out |= _sentences(value, f"{prefix}[{index}]")
        return out
    items = detail if isinstance(detail, list) else [detail]
    return {prefix or "request": [str(i) for i in items]}


def as_domain_error(error: Exception) -> DomainError | None:
    """The refusal an exception stands for, or None when it is a fault of ours."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, exceptions.ValidationError):
        errors = _sentences(error.detail)
        first = next(iter(errors.items()))
        return Invalid(f"{first[0]}: {first[1][0]}", errors=errors)
    if isinstance(error, exceptions.NotAuthenticated):
        return SignInNeeded(NOBODY)
    if isinstance(error, exceptions.AuthenticationFailed):
        return SignInNeeded(str(error.detail))
    if isinstance(error, exceptions.PermissionDenied | PermissionDenied):
        said = str(getattr(error, "detail", ""))
        if said.startswith("CSRF"):
            return NotAllowed("This browser's request lacks its page's token. Send the X-CSRFToken header, or use an API token.")
        return NotAllowed("Your roles do not allow this. Ask an administrator.")
    if isinstance(error, exceptions.ParseError):
        return Invalid("body: this is not JSON. Send one JSON object as UTF-8.", errors={"body": ["This is not JSON."]})
    if isinstance(error, exceptions.UnsupportedMediaType):
        refusal = DomainError("Content-Type: send the body as application/json.", code="unsupported-media-type")
        refusal.status = error.status_code
        return refusal
    if isinstance(error, exceptions.NotAcceptable):
        refusal = DomainError("Accept: ask for application/json.", code="not-acceptable")
        refusal.status = error.status_code
        return refusal
    if isinstance(error, Http404 | exceptions.NotFound):
        return NotFound("There is nothing at this address, or you may not see it.")
    if isinstance(error, exceptions.Throttled):
        return TooMany("Wait and try again.", retry_after_s=getattr(error, "wait", None))
    if isinstance(error, ValidationError):
        return Invalid(" ".join(error.messages), errors={"request": list(error.messages)})
    if isinstance(error, RecursionError):
        return Invalid("body: the JSON is nested too deeply. Send a flatter one.", errors={"body": ["Nested too deeply."]})
    if isinstance(error, exceptions.APIException):
        refusal = DomainError(str(error.detail))
        refusal.status = error.status_code
        return refusal
    return None


def problem_details(error: Exception, context: dict[str, Any]) -> HttpResponseBase | None:
    """DRF's exception handler: every refusal as RFC 9457 `application/problem+json`."""
    refusal = as_domain_error(error)
    if refusal is None:
        return None
    set_rollback()
    response = Response(refusal.problem(), status=refusal.status, content_type="application/problem+json", headers=refusal.headers)
    if refusal.status == status.HTTP_401_UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="gatehouse"'
    return response


class KeysetPagination(CursorPagination):
    """`results` and `next`; pages are found by key, so they do not shift while rows arrive."""

    ordering = "-id"
    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"

    def get_page_size(self, request: Request) -> int:
        """What was asked for; raises Invalid unless it is 1 to the most."""
        asked = request.query_params.get("page_size", "")
        if not asked:
            return self.page_size
        if not (asked.isascii() and asked.isdigit() and len(asked) < 6 and 1 <= int(asked) <= self.max_page_size):
            raise wrong("page_size", f"give a whole number from 1 to {self.max_page_size}.")
        return int(asked)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        """One page; raises Invalid for a cursor that no answer of ours held."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (exceptions.NotFound, ValidationError, ValueError) as error:
            if not request.query_params.get("cursor"):
                raise
            raise wrong("cursor", "take it from `next` or `previous` of an answer, or leave it out to begin anew.") from error

    def get_paginated_response(self, data: Any) -> Response:
        """Results first, then where to go on."""
        return Response({"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()})

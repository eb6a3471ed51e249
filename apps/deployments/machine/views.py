"""The gateways' door: the newest routing snapshot, as soon as there is one; and what they count."""

import json
import socket
import time
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.selectors import actor_from_token
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError, Invalid, NotAllowed, SignInNeeded
from apps.deployments import selectors, services

MAX_WAIT_S = 25.0
LOOK_EVERY_S = 0.2
MAX_TALLY_BYTES = 2 * 1024 * 1024


@never_cache
@require_GET
def routing(request: HttpRequest) -> HttpResponse:
    """`?since=<version>&wait=<seconds>`: 200 with a snapshot newer than `since`, or 204 when none came within `wait`.

    Bearer token with scope `routing`. Asking since a version says that this gateway routes by it.
    """
    try:
        actor = _gateway(request)
        since = _number(request, "since", 0, 2**53 - 1)
        wait_s = min(MAX_WAIT_S, _number(request, "wait", 0, 3600))
    except DomainError as error:
        return _refused(error)
    version = int(since)
    try:
        call(services.confirm_routing, actor=actor, version=version)
    except DomainError as error:
        return _refused(error)
    deadline = time.monotonic() + wait_s
    # One indexed row a look; nothing is held between looks, and no transaction is open.
    while selectors.newest_routing_version() <= version:
        left = deadline - time.monotonic()
        if left <= 0 or _gone(request):
            return HttpResponse(status=204)
        connection.close_if_unusable_or_obsolete()
        time.sleep(min(LOOK_EVERY_S, left))
    newest = selectors.newest_routing()
    return JsonResponse({"envelope": newest.envelope if newest else None})


@csrf_exempt
@never_cache
@require_POST
def phase_tallies(request: HttpRequest) -> HttpResponse:
    """`{"run": id, "rows": [...], "counts": "all", "lost_before": moment or null}` of one gateway: requests let in, and turned away until
    a rollout phase opens. 204 when kept.

    Bearer token with scope `routing`; whole counts, so the same may be sent again. See services.take_tally.
    """
    try:
        actor = _gateway(request)
        if len(request.body) > MAX_TALLY_BYTES:
            raise Invalid(f"body: at most {MAX_TALLY_BYTES} bytes.", errors={"body": ["Too large."]})
        said = _object(request.body)
        call(
            services.take_tally, actor=actor, run=said.get("run"), rows=said.get("rows"), counts=said.get("counts"),
            lost_before=said.get("lost_before"),
        )  # fmt: skip
    except DomainError as error:
        return _refused(error)
    return HttpResponse(status=204)


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise Invalid("body: give a JSON object.", errors={"body": ["Not a JSON object."]})
    return said


def _refused(error: DomainError) -> HttpResponse:
    response = JsonResponse(error.problem(), status=error.status, content_type="application/problem+json")
    if error.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="gatehouse"'
    return response


def _gone(request: HttpRequest) -> bool:
    """Has the caller hung up? A thread that waits for nobody would hold up a server that is told to stop."""
    caller = request.META.get("gunicorn.socket")
    try:
        return caller is not None and caller.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except (OSError, ValueError):  # nothing to read; or TLS, where one cannot look without reading
        return False


def _gateway(request: HttpRequest) -> Actor:
    header = request.headers.get("Authorization", "")
    if not header.lower().startswith("bearer "):
        raise SignInNeeded("Send the gateway's token as `Authorization: Bearer ...`.")
    actor = actor_from_token(header[7:].strip(), request=request)
    if "routing" not in actor.scopes:
        raise NotAllowed("This token lacks the scope 'routing'. Issue one with manage.py issue_service_token.")
    return actor


def _number(request: HttpRequest, name: str, low: float, high: float) -> float:
    text = request.GET.get(name, "0")
    try:
        value = float(text)
    except ValueError as error:
        raise Invalid(f"{name}: give a number.", errors={name: ["Not a number."]}) from error
    if not low <= value <= high:
        raise Invalid(f"{name}: give {low:g} to {high:g}.", errors={name: ["Out of range."]})
    return value

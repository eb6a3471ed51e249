"""The governed MLflow endpoint: `/mlflow/...` for any mlflow client with a portal token.

Order of things: read the path in one way, know the caller, find the route on the list, check the roles, read the body once,
write the trail, and only then ask MLflow. README.md says what a crash in between leaves behind.
"""

import json
import logging
import re
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.views.decorators.csrf import csrf_exempt

from apps.accounts.selectors import actor_from_token, client_ip
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError, Invalid, NotAllowed, SignInNeeded, UpstreamFailed
from apps.registry import rules, selectors, services
from apps.registry.gateways import forward, mlflow
from apps.registry.machine import body as bodies
from apps.registry.machine import paths, routes

log = logging.getLogger(__name__)

PASSED_ON = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified")
CODES = {400: "INVALID_PARAMETER_VALUE", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST"}
# Fields that identify a write. Values of tags, parameters and metrics never enter the trail.
IDENTIFYING = ("name", "version", "alias", "key", "run_id", "run_uuid", "experiment_id", "source", "model_id", "status", "stage")
MOST_ANSWER_BYTES = 16 * 1024 * 1024
# Where mlflow's client puts files: <experiment>/<run>/artifacts/... and <experiment>/models/<logged model>/artifacts/...
ARTIFACT = re.compile(r"[0-9]{1,20}/(?:[0-9a-f]{32}|models/m-[0-9a-f]{32})/artifacts/.+", re.DOTALL)


def _refusal(status: int, message: str) -> JsonResponse:
    """MLflow's own error format: its client prints `CODE: message`."""
    code = CODES.get(status, "TEMPORARILY_UNAVAILABLE" if status >= 502 else "BAD_REQUEST")
    response = JsonResponse({"error_code": code, "message": message}, status=status)
    if status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="gatehouse"'
    return response


@csrf_exempt
def mlflow_endpoint(request: HttpRequest) -> HttpResponseBase:
    """Every method and path below `/mlflow`. Only a bearer token counts: the browser's session does not."""
    if request.method == "GET" and request.path_info in {"/mlflow", "/mlflow/"} and "text/html" in request.headers.get("Accept", ""):
        # mlflow's client prints addresses of MLflow's own pages, which are not served: a person who follows one gets ours.
        return HttpResponseRedirect(_page("", None))
    try:
        return _serve(request)
    except DomainError as error:
        return _refusal(error.status, error.detail)
    except paths.PathRefused as error:
        return _refusal(400, f"{error} Send the plain path.")
    except forward.MlflowUnreachable as error:
        return _refusal(504 if error.late else 502, f"{error} The portal itself is up; try again soon.")


def _serve(request: HttpRequest) -> HttpResponseBase:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise SignInNeeded("Set MLFLOW_TRACKING_TOKEN to a Gatehouse API token with the scope mlflow (Account, API tokens).")
    actor = actor_from_token(token.strip(), request=request)
    raw = str(request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or "").split("?")[0]
    path = paths.normal(request.path_info.removeprefix("/mlflow") or "/", raw=raw)
    method = str(request.method)
    admitted = routes.match(method, path)
    if admitted is None:
        return _deny(actor, method, path, "address", path, NotAllowed(routes.why_refused(method, path)))
    route, found = admitted
    if route.kind == routes.READ:
        rules.check_may_read_mlflow(actor)
        return _read(request, path)
    sent: dict[str, Any] = {} if route.special == "artifact" else bodies.json_object(request)
    obj_id = route.obj_id(found, sent)
    try:
        rules.check_may_write_mlflow(actor)
        if request.META.get("QUERY_STRING"):
            raise Invalid("A write takes its values in the body, not in the query.")
        _check(route, sent, found)
    except DomainError as error:
        return _deny(actor, method, route.name, route.obj_type, obj_id, error)
    if route.special == "artifact":
        return _upload(request, actor, route, path, obj_id)
    return _write(request, actor, route, path, obj_id, sent)


def _deny(actor: Actor, method: str, route: str, obj_type: str, obj_id: str, error: DomainError) -> HttpResponse:
    """Refuse, and keep refused writes in the trail."""
    if method not in {"GET", "HEAD", "OPTIONS"}:
        call(services.deny_write, actor=actor, route=route[:300], obj_type=obj_type, obj_id=obj_id[:500], reason=error.detail)
    return _refusal(error.status, error.detail)


def _headers(request: HttpRequest) -> dict[str, str]:
    """What MLflow is told of the request: nothing of the caller's own headers but the range. Never a cookie, token or origin."""
    # Without this header MLflow takes the caller for a local one and offers it more.
    out = {"X-Forwarded-For": client_ip(request) or "0.0.0.0", "Accept": "*/*"}  # noqa: S104
    if "Range" in request.headers:
        out["Range"] = request.headers["Range"]
    return out


def _read(request: HttpRequest, path: str) -> HttpResponseBase:
    headers, content = _headers(request), None
    if request.method == "POST":
        headers["Content-Type"], content = "application/json", bodies.rewritten(bodies.json_object(request))
    query = paths.query(str(request.META.get("QUERY_STRING", "")))
    answer = forward.send(str(request.method), paths.wire(path), query=query, headers=headers, content=content)
    if 300 <= answer.status < 400:
        answer.close()
        raise UpstreamFailed("MLflow sent a redirect, which is not passed on.")
    response = StreamingHttpResponse(answer, status=answer.status)
    return _dress(response, answer)


def _dress(response: Any, answer: forward.Answer) -> Any:
    for name in PASSED_ON:
        if name in answer.headers:
            response[name] = answer.headers[name]
    # An artifact may be a web page: it must never run as one of ours.
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["Content-Disposition"] = "attachment"
    response["Cache-Control"] = "private, no-store"
    return response


def _check(route: routes.Route, sent: dict[str, Any], found: dict[str, str]) -> None:
    """What a body may not say, whoever says it."""
    if route.special in {"set_alias", "delete_alias"}:
        alias = sent.get("alias")
        if not isinstance(alias, str) or not isinstance(sent.get("name"), str):
            raise Invalid("Give name and alias as text.")
        if environment := rules.protecting_environment(alias):
            raise NotAllowed(
                f"The alias {alias!r} follows a decision for {environment} and is not set by hand. "
                f"Request the gate for the version at {_page(sent['name'], sent.get('version'))}; the alias moves when it goes live."
            )
    elif route.special == "version":
        if not isinstance(sent.get("name"), str) or not isinstance(sent.get("source"), str):
            raise Invalid("Give name and source as text.")
        rules.check_source(sent["source"])
    elif route.special == "experiment" and (sent.get("artifact_location") or sent.get("artifactLocation")):
        raise NotAllowed("artifact_location: artifacts are kept in this portal's store, where they can be governed. Leave it out.")
    elif route.special == "artifact":
        if not ARTIFACT.fullmatch(found["path"]):
            raise NotAllowed("Files are stored under a run or a logged model only. Log the artifact to one.")
        if holder := selectors.version_holding(found["path"]):
            raise NotAllowed(
                f"The file belongs to the registered version {holder.label}, whose files are frozen. Register a new version instead."
            )


def _page(name: str, version: Any) -> str:
    try:
        number = int(version) if version else 0
        where = reverse("registry:version", args=[name, number]) if number else reverse("registry:models")
    except (NoReverseMatch, TypeError, ValueError):
        where = "/models/"
    return f"{settings.BASE_URL}{where}"


def _upload(request: HttpRequest, actor: Actor, route: routes.Route, path: str, obj_id: str) -> HttpResponseBase:
    length = bodies.length_of(request)
    headers = _headers(request) | {"Content-Type": "application/octet-stream"}
    if length is not None:
        headers["Content-Length"] = str(length)
    else:
        headers["Transfer-Encoding"] = "chunked"
    call(services.begin_write, actor=actor, route=route.name, obj_type=route.obj_type, obj_id=obj_id, after={"size_bytes": length})
    return _settled(actor, route, obj_id, path, headers, bodies.pieces(request, length))[0]


def _write(request: HttpRequest, actor: Actor, route: routes.Route, path: str, obj_id: str, sent: dict[str, Any]) -> HttpResponseBase:
    content = bodies.rewritten(sent)
    after = {name: str(sent[name])[:500] for name in IDENTIFYING if isinstance(sent.get(name), str | int)}
    intent = call(
        services.begin_write, actor=actor, route=route.name, obj_type=route.obj_type, obj_id=obj_id, after=after,
        asks_for_version=route.special == "version",
    )  # fmt: skip
    headers = _headers(request) | {"Content-Type": "application/json"}
    response, said = _settled(actor, route, obj_id, path, headers, content)
    if response.status_code == 200:
        try:
            _follow_up(actor, route, sent, said, intent)
        except (DomainError, DatabaseError, forward.MlflowUnreachable):
            # MLflow has done it and the trail holds the request: the caller gets the answer, and discovery mends the record.
            log.exception("recording what MLflow has done failed", extra={"event": {"route": route.name, "object": obj_id}})
    return response


def _settled(
    actor: Actor, route: routes.Route, obj_id: str, path: str, headers: dict[str, str], content: Any
) -> tuple[HttpResponse, dict[str, Any]]:
    """Send a write whose intent is recorded; a failure becomes a second event. Returns the answer and its JSON."""
    try:
        with forward.send(route.method, paths.wire(path), headers=headers, content=content) as answer:
            data = answer.read(MOST_ANSWER_BYTES)
    except forward.MlflowUnreachable as error:
        reason = f"{error} {'It may have been done all the same.' if error.sent else 'Nothing was sent.'}"
        call(services.fail_write, actor=actor, route=route.name, obj_type=route.obj_type, obj_id=obj_id, reason=reason)
        raise
    except OSError as error:
        reason = f"The caller broke off while sending ({type(error).__name__})."
        call(services.fail_write, actor=actor, route=route.name, obj_type=route.obj_type, obj_id=obj_id, reason=reason)
        raise Invalid(reason) from error
    said = _json(data)
    if 300 <= answer.status < 400 or answer.status >= 400:
        reason = f"MLflow answered {answer.status}: {said.get('message', '')}"
        call(services.fail_write, actor=actor, route=route.name, obj_type=route.obj_type, obj_id=obj_id, reason=reason)
    if 300 <= answer.status < 400:
        raise UpstreamFailed("MLflow sent a redirect, which is not passed on.")
    response = _dress(HttpResponse(data, status=answer.status), answer)
    response["Content-Length"] = str(len(data))
    return response, said


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _follow_up(actor: Actor, route: routes.Route, sent: dict[str, Any], said: dict[str, Any], intent: Any) -> None:
    """What the portal records of its own after MLflow has done it."""
    if route.special == "model":
        made = said.get("registered_model", {})
        call(
            services.created_model, actor=actor, name=str(made.get("name", sent.get("name"))), description=str(made.get("description", ""))
        )
    elif route.special == "version":
        made = said.get("model_version", {})
        name, number = str(made["name"]), int(made["version"])
        try:
            root = mlflow.artifact_root(name, number)
        except DomainError:
            root = ""
        call(
            services.created_version, actor=actor, intent_id=intent.id, name=name, version=number,
            run_id=str(made.get("run_id", "")), source=str(made.get("source", "")), artifact_root=root,
        )  # fmt: skip
    elif route.special == "set_alias":
        call(services.record_alias, actor=actor, model=sent["name"], alias=sent["alias"], version=int(sent["version"]))
    elif route.special == "delete_alias":
        call(services.remove_alias, actor=actor, model=sent["name"], alias=sent["alias"])

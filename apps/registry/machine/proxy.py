"""The governed MLflow endpoint: `/mlflow/...` for any mlflow client with a portal token, and for MLflow's own pages of a signed-in person.

Order of things: read the path in one way, know the caller, find the route on the list, read query and body once, ask the registry's
rules, write the trail, and only then ask MLflow. README.md says what a crash in between leaves behind.
"""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from apps.core.actor import Actor
from apps.core.errors import DomainError, NotAllowed
from apps.registry.gateways import forward
from apps.registry.machine import answers, browser, callers, guard, paths, reads, routes, sent, writes

SAFE = ("GET", "HEAD", "OPTIONS")


@csrf_exempt
def mlflow_endpoint(request: HttpRequest) -> HttpResponseBase:
    """Every method and path below `/mlflow`."""
    try:
        return _serve(request)
    except DomainError as error:
        return answers.refusal(error.status, error.detail)
    except paths.PathRefused as error:
        return answers.refusal(400, f"{error} Send the plain path.")
    except forward.MlflowUnreachable as error:
        return answers.refusal(504 if error.late else 502, f"{error} The portal itself is up; try again soon.")


def _serve(request: HttpRequest) -> HttpResponseBase:
    raw = str(request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or "").split("?")[0]
    if request.path_info == "/mlflow":
        return browser.to_the_folder()
    path = paths.normal(request.path_info.removeprefix("/mlflow"), raw=raw)
    method = str(request.method)
    actor = callers.actor(request, path)
    if actor is None:
        return browser.sign_in(request)
    guard.check_scope(actor)
    admitted = routes.match(method, path)
    if admitted is None:
        return _refuse(actor, method, path)
    route, found = admitted
    if route.policy == "ours":
        return browser.serve(request, route, found, actor)
    if route.special in {"artifact", "spans"}:
        said = sent.Sent(values=dict(found))
    else:
        said = sent.read(request, route, found)
    if route.kind == routes.WRITE:
        return writes.serve(request, route, path, said, actor)
    return reads.serve(request, route, path, said, guard.sight(actor))


def _refuse(actor: Actor, method: str, path: str) -> HttpResponseBase:
    """Not on the list. Refused writes are kept in the trail."""
    status, sentence = routes.why_refused(method, path)
    if method in SAFE:
        return answers.refusal(status, sentence)
    writes.deny(actor, f"{method} {path}", "address", path, NotAllowed(sentence))
    return answers.refusal(status, sentence)

"""MLflow's own pages for a signed-in person, below `/mlflow/`, with a bar that leads back to the governed page."""

import re

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import escape
from django.utils.http import urlencode

from apps.core.actor import Actor
from apps.core.errors import UpstreamFailed
from apps.registry.gateways import forward
from apps.registry.machine import answers, graphql, guard, paths
from apps.registry.machine.routes import Route

MOST_PAGE_BYTES = 1_000_000
# The names of MLflow's built files hold a digest of what is in them.
KEPT = "private, max-age=604800"
# MLflow's pages set styles from their scripts, draw images they have fetched, and look at some artifacts in a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; frame-src 'self' blob:; media-src 'self' blob:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; manifest-src 'self'"
)
NO_TELEMETRY = {"disable_ui_telemetry": True, "disable_ui_events": [], "ui_rollout_percentage": 0}


def to_the_folder() -> HttpResponse:
    """MLflow's page asks for its files beside itself, so its address ends with a slash."""
    return HttpResponseRedirect("/mlflow/")


def sign_in(request: HttpRequest) -> HttpResponse:
    """Where a person signs in, and comes back from."""
    return HttpResponseRedirect(f"{reverse(settings.LOGIN_URL)}?{urlencode({'next': '/mlflow/'})}")


def serve(request: HttpRequest, route: Route, found: dict[str, str], actor: Actor) -> HttpResponseBase:
    """What the portal answers itself."""
    if route.special == "whoami":
        return answers.made({"user": {"id": actor.user_id, "username": actor.label, "is_admin": actor.is_admin}, "is_basic_auth": False})
    if route.special == "online":
        return answers.made({"configs": []})
    if route.special == "telemetry":
        return answers.made(dict(NO_TELEMETRY))
    if route.special == "graphql":
        return graphql.serve(request, guard.sight(actor))
    if route.special == "static":
        return _static(request, f"/static-files/{found['path']}")
    return _page(request)


def _static(request: HttpRequest, path: str) -> HttpResponseBase:
    answer = forward.send("GET", paths.wire(path), headers=answers.headers(request))
    response = answers.streamed(answer)
    del response["Content-Disposition"]
    response["Content-Security-Policy"] = "default-src 'none'; style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
    if path.endswith(".worker.js"):
        # A worker has the policy of its own answer.
        response["Content-Security-Policy"] = "default-src 'none'; script-src 'self'; connect-src 'self'"
    response["Cache-Control"] = KEPT if answer.status == 200 else "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _page(request: HttpRequest) -> HttpResponse:
    with forward.send("GET", "/", headers=answers.headers(request)) as answer:
        text = answer.read(MOST_PAGE_BYTES).decode(errors="replace")
    if answer.status != 200 or "<body>" not in text:
        raise UpstreamFailed("MLflow did not send its page.")
    head = f'<link rel="stylesheet" href="{static("gatehouse/mlflow-bar.css")}"><script src="{static("gatehouse/mlflow-bar.js")}" defer></script>'
    bar = (
        '<nav class="gh-bar" aria-label="Gatehouse" data-models="/models/">'
        f'<a href="/">Gatehouse</a><a class="gh-bar-page" href="{escape(reverse("registry:models"))}">Governed models</a>'
        "<span>MLflow, as you may see it. What changes here is checked and in the trail.</span></nav>"
    )
    # First of all: what the bar's script tells the browser is read by MLflow's.
    text = text.replace("<head>", "<head>" + head, 1).replace("<body>", "<body>" + bar, 1)
    response = HttpResponse(re.sub(r"<title>.*?</title>", "<title>MLflow · Gatehouse</title>", text, count=1))
    response["Content-Security-Policy"] = POLICY
    response["Cache-Control"] = "private, no-store"
    return response

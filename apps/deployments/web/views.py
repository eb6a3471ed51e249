"""Pages of deployments: endpoints, one endpoint with its live rollout, hosts."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts.web.access import page
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError, NotAllowed
from apps.core.fields import filled, number, typed
from apps.decisions import selectors as decisions
from apps.deployments import rules, selectors, services
from apps.deployments.models import Deployment, Endpoint
from apps.deployments.web import forms, reads
from apps.registry import selectors as registry
from apps.registry.models import ModelVersion
from apps.usecases import selectors as usecases


def _actor(request: HttpRequest) -> Actor:
    return request.actor  # type: ignore[attr-defined,no-any-return]


@require_GET
@page
def endpoints(request: HttpRequest) -> HttpResponse:
    """The engineer's home: what is served, by which version, and what needs somebody."""
    actor = _actor(request)
    rows = reads.endpoints(actor)
    chosen = request.GET.get("show", "")
    test = reads.FILTERS.get(chosen, reads.FILTERS[""])
    words = {"": "all", "attention": "need somebody", "pilot": "pilot", "production": "production"}
    context = {
        "rows": [r for r in rows if test(r)],
        "all": rows,
        "broken": [r for r in rows if r.state == "not answering"],
        "troubled": [r for r in rows if r.incidents],
        "moving": [r for r in rows if r.rollout],
        "tallies": [(name, words[name], sum(map(wanted, rows))) for name, wanted in reads.FILTERS.items()],
        "show": chosen,
        "silent": [h for h in reads.hosts(actor) if not h.reachable and h.host.state == "active"],
        "may_make": _may_deploy(actor) and usecases.may_change_any(actor),
    }
    return render(request, "deployments/endpoints.html", context)


def _may_deploy(actor: Actor, endpoint: Endpoint | None = None) -> bool:
    """Whether the actor changes what runs, here or anywhere."""
    return actor.has_role("ml_engineer", "admin") and (endpoint is None or usecases.may_change(actor, endpoint.usecase_id))


# --- a new endpoint -----------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@page
def new_endpoint(request: HttpRequest) -> HttpResponse:
    """Name a new endpoint of a use case."""
    actor = _actor(request)
    rules.check_may_deploy(actor)
    fields, refusal = forms.new_endpoint(actor), None
    if not fields[0].choices:
        raise NotAllowed(
            "An endpoint belongs to a use case, and you may change none. Ask the owner of one for change access, or write down a use case."
        )
    values: Any = {
        "usecase": request.GET.get("usecase", ""),
        "environment": request.GET.get("environment", "pilot"),
        "rate_limit_rps": "100",
    }
    if request.method == "POST":
        values = typed(fields, request.POST)
        try:
            made = call(_create_endpoint, actor, values)
        except DomainError as error:
            refusal = error
        else:
            messages.success(request, "The endpoint is there. Deploy a version to it, and issue a key for its callers.")
            return redirect("deployments:endpoint", slug=made.slug)
    context = {"fields": filled(fields, values, refusal.errors if refusal else None), "refusal": refusal}
    return render(request, "deployments/new_endpoint.html", context, status=refusal.status if refusal else 200)


def _create_endpoint(actor: Actor, given: dict[str, str]) -> Endpoint:
    rate, burst = number(given, "rate_limit_rps"), number(given, "burst")
    usecase = usecases.usecase(actor, given["usecase"])
    return services.create_endpoint(
        actor=actor, usecase_id=usecase.id, name=given["name"], slug=given["slug"], environment=given["environment"],
        rate_limit_rps=100.0 if rate is None else rate, burst=None if burst is None else round(burst),
    )  # fmt: skip


# --- one endpoint -------------------------------------------------------------------------------------


@require_GET
@page
def endpoint(request: HttpRequest, slug: str) -> HttpResponse:
    """One endpoint. With htmx only what changes by itself is rendered."""
    context = _live(request, slug)
    if request.headers.get("HX-Request"):
        changed = request.GET.get("seen") != context["live"].token
        rest = _rest(request, context["live"]) if changed else {}
        return render(request, "deployments/_refreshed.html", context | rest | {"refreshed": True, "changed": changed})
    return render(request, "deployments/endpoint.html", context | _rest(request, context["live"]))


def _live(request: HttpRequest, slug: str, refused: forms.Refused = forms.NOTHING) -> dict[str, Any]:
    found = reads.live(_actor(request), slug)
    stops = [] if found.rollout else found.answering
    return {
        "live": found,
        "endpoint": found.endpoint,
        "may_deploy": _may_deploy(_actor(request), found.endpoint),
        "back_form": forms.form("roll-back", forms.REASON, refused),
        "stops": [(d, forms.form(f"stop-{d.id}", forms.REASON, refused)) for d in stops],
    }


def _rest(request: HttpRequest, live: reads.Live, refused: forms.Refused = forms.NOTHING) -> dict[str, Any]:
    """What the page shows that does not change by itself."""
    endpoint = live.endpoint
    rows = _candidates(endpoint, live.answering)
    serving = live.answering[0].model_version if live.answering else None
    admitted = [r for r in rows if r["live"] and not r["here"]]
    testable = reads.may_be_loaded(endpoint, live.running)
    callers = reads.callers(endpoint)
    deploying = forms.deploy(admitted, answering=bool(live.answering), bake_s=settings.ROLLOUT_BAKE_S)
    return {
        "candidates": rows,
        "admitted": admitted,
        "deploy_form": forms.form("deploy", deploying, refused, steps="10, 100"),
        "key_form": forms.form("key", forms.CALLER, refused),
        "load_form": forms.form("load-test", forms.load_test(testable), refused, multiplier=10, duration_s=10),
        "callers": callers,
        "caller_forms": [
            (row, forms.form(f"group-{row.key.id}", forms.GROUP, refused, department=row.key.department, team=row.key.team))
            for row in callers.rows
        ],
        "infer_url": f"{settings.GATEWAY_URL}/v2/models/{endpoint.slug}/infer",
        "columns": registry.feature_names(serving)[:2] if serving else [],
        "runs": reads.load_runs(endpoint),
        "testable": testable,
        "requirements": usecases.requirements(endpoint.usecase_id),
    }


def refuse(request: HttpRequest, slug: str, key: str, error: DomainError) -> HttpResponse:
    """The endpoint's page with the refusal at the form it came from and what was typed there; at the top where that form is gone."""
    refused = forms.Refused(key, error, request.POST.dict())
    context = _live(request, slug, refused)
    if not context["may_deploy"]:
        raise error
    context |= _rest(request, context["live"], refused)
    back: reads.WayBack = context["live"].back
    shown = {"key"} | {f"stop-{d.id}" for d, _ in context["stops"]}
    shown |= {f"group-{row.key.id}" for row in context["callers"].rows if row.key.revoked_at is None}
    shown |= {"deploy"} if context["admitted"] else set()
    shown |= {"roll-back"} if not back.why_not else set()
    shown |= {"load-test"} if context["testable"] and getattr(context["requirements"], "projected_rps", None) else set()
    context["refusal"] = None if key in shown else error
    return render(request, "deployments/endpoint.html", context, status=error.status)


def _candidates(endpoint: Endpoint, answering: list[Deployment]) -> list[dict[str, Any]]:
    """The newest versions of the use case's models: which a live decision admits into this environment, and why not the others."""
    ids = list(endpoint.usecase.used_models.values_list("model_id", flat=True))
    found = ModelVersion.objects.filter(model_id__in=ids, status="ready").select_related("model").order_by("-registered_at")[:12]
    here = {d.model_version_id for d in answering}
    rows = []
    for version in found:
        about = {"artifact_digest": version.artifact_digest, "environment": endpoint.environment, "usecase_id": endpoint.usecase_id}
        live = decisions.live_decision(**about)
        rows.append({"version": version, "live": live, "why": "" if live else decisions.why_not_live(**about), "here": version.id in here})
    return rows


def _after(request: HttpRequest, slug: str, key: str, words: str, function: Callable[..., Any], **kwargs: Any) -> HttpResponse:
    """Make one call; say what happened on the endpoint's page, or why not at the form."""
    try:
        call(function, actor=_actor(request), **kwargs)
    except DomainError as error:
        return refuse(request, slug, key, error)
    messages.success(request, words)
    return redirect("deployments:endpoint", slug=slug)


@require_POST
@page
def deploy(request: HttpRequest, slug: str) -> HttpResponse:
    """Bring a version to the endpoint, at once or as a canary."""
    found = selectors.endpoint(_actor(request), slug)
    canary = request.POST.get("strategy") == "canary"
    try:
        bake = number(request.POST, "bake_s") if canary else None
        steps = forms.steps(request.POST.get("steps", "")) if canary else None
    except DomainError as error:
        return refuse(request, slug, "deploy", error)
    words = "Requested. The host fetches the files, checks their digest and starts the engine; this page follows it."
    return _after(
        request, slug, "deploy", words, services.request_deployment, endpoint_id=found.id, model_version_id=request.POST.get("version", ""),
        strategy="canary" if canary else "all_at_once", steps=steps, bake_s=bake,
    )  # fmt: skip


@require_POST
@page
def roll_back(request: HttpRequest, slug: str) -> HttpResponse:
    """Give all traffic back to the earlier version that is still warm, or call off a rollout that has none yet."""
    found = reads.live(_actor(request), slug)
    to = found.back.to
    words = (
        "The rollout is called off."
        if found.back.calls_off
        else f"All requests go back to {to}. The table below says when it was in force."
    )
    reason = request.POST.get("reason", "").strip()
    return _after(request, slug, "roll-back", words, services.roll_back, endpoint_id=found.endpoint.id, reason=reason)


@require_POST
@page
def rehearse(request: HttpRequest, slug: str) -> HttpResponse:
    """Practise a rollback and record how long it took."""
    found = selectors.endpoint(_actor(request), slug)
    words = "The rehearsal has begun; its result appears below."
    return _after(request, slug, "rehearse", words, services.rehearse_rollback, endpoint_id=found.id)


@require_POST
@page
def stop(request: HttpRequest, slug: str, deployment_id: str) -> HttpResponse:
    """Stop one deployment of the endpoint."""
    found = selectors.deployments(_actor(request)).filter(endpoint__slug=slug).one("deployment", id=deployment_id)  # type: ignore[attr-defined]
    words = f"{found} is being stopped." + (" Callers get no answer until another version is deployed." if found.weight else "")
    reason = request.POST.get("reason", "").strip()
    return _after(request, slug, f"stop-{found.id}", words, services.stop_deployment, deployment_id=found.id, reason=reason)


@require_http_methods(["GET", "POST"])
@page
def issue_key(request: HttpRequest, slug: str) -> HttpResponse:
    """Issue a caller's key, shown on this answer only; whoever comes back to its address gets the endpoint's page."""
    if request.method == "GET":
        return redirect("deployments:endpoint", slug=slug)
    found = selectors.endpoint(_actor(request), slug)
    try:
        _, secret = call(services.issue_key, actor=_actor(request), endpoint_id=found.id, **typed(forms.CALLER, request.POST))
    except DomainError as error:
        return refuse(request, slug, "key", error)
    context = _live(request, slug)
    response = render(request, "deployments/endpoint.html", context | _rest(request, context["live"]) | {"secret": secret})
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@page
def assign_key(request: HttpRequest, slug: str, key_id: str) -> HttpResponse:
    """Say for which department and team a caller calls."""
    selectors.endpoint(_actor(request), slug)
    words = "Saved: the gateways go by it within seconds."
    return _after(request, slug, f"group-{key_id}", words, services.assign_key, key_id=key_id, **typed(forms.GROUP, request.POST))


@require_POST
@page
def revoke_key(request: HttpRequest, slug: str, key_id: str) -> HttpResponse:
    """Revoke a caller's key."""
    found = selectors.endpoint(_actor(request), slug).keys.filter(id=key_id).first()
    name = found.name if found else "The key"
    words = f"The key of “{name}” is revoked: the gateways turn it away within seconds."
    return _after(request, slug, "revoke-key", words, services.revoke_key, key_id=key_id)


@require_GET
@page
def hosts(request: HttpRequest) -> HttpResponse:
    """Serving hosts: are they there, what have they got. For those who deploy or audit."""
    if not (_actor(request).sees_everything or _actor(request).has_role("ml_engineer")):
        raise Http404
    rows = reads.hosts(_actor(request))
    silent = [r for r in rows if not r.reachable and r.host.state == "active"]
    return render(request, "deployments/hosts.html", {"rows": rows, "silent": silent})

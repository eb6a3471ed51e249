"""The load-test report, and asking for a run."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.web.access import page
from apps.core import figures
from apps.core.actor import Actor
from apps.core.doors import call
from apps.core.errors import DomainError
from apps.core.fields import needed, number
from apps.deployments import selectors as deployments
from apps.deployments.web.views import refuse
from apps.loadtests import selectors, services
from apps.loadtests.models import LoadRun

# htmx stops asking again when the answer has this status.
STOP_ASKING = 286


@require_GET
@page
def report(request: HttpRequest, run_id: str) -> HttpResponse:
    """One run: does the version hold the promised latency under this load, and what does it cost."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    run = selectors.run(actor, run_id)
    siblings = list(selectors.runs(actor).filter(artifact_digest=run.artifact_digest).exclude(id=run.id)[:10])
    live = run.state in (LoadRun.State.REQUESTED, LoadRun.State.SENT)
    context = {"run": run, "siblings": siblings, "runs_like": _runs_like(actor, run), "chart": _chart(run), "live": live}
    if request.headers.get("HX-Request"):
        return render(request, "loadtests/_result.html", context, status=200 if live else STOP_ASKING)
    return render(request, "loadtests/report.html", context)


def _runs_like(actor: Actor, run: LoadRun) -> dict[str, int]:
    """How often these files were tested at this load, so that one good run among many is seen for what it is."""
    passed = list(
        selectors.runs(actor).filter(artifact_digest=run.artifact_digest, multiplier=run.multiplier).values_list("passed", flat=True)
    )
    return {"count": len(passed), "passed": passed.count(True), "failed": passed.count(False), "open": passed.count(None)}


def _chart(run: LoadRun) -> figures.Figure | None:
    """The percentiles as bars; the slowest answer is no percentile and stays out."""
    found = {"median": run.p50_ms, "90th percentile": run.p90_ms, "95th percentile": run.p95_ms, "99th percentile": run.p99_ms}
    values = {name: value for name, value in found.items() if value is not None}
    return (
        figures.bars(list(values), list(values.values()), unit="ms", bound=run.latency_target_ms, bound_label="asked at p99")
        if values
        else None
    )


@require_POST
@page
def start(request: HttpRequest) -> HttpResponse:
    """Ask the agent for a run at a multiple of the projected load."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    deployment = deployments.deployment(actor, request.POST.get("deployment", ""))
    try:
        needed(request.POST, "multiplier", "duration_s")
        multiplier, duration_s = number(request.POST, "multiplier"), number(request.POST, "duration_s")
        run = call(
            services.request_run, actor=actor, deployment_id=deployment.id, multiplier=multiplier or 0.0, duration_s=duration_s or 0.0
        )
    except DomainError as error:
        return refuse(request, deployment.endpoint.slug, "load-test", error)
    return redirect("loadtests:report", run_id=run.id)

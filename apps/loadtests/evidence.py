"""Evidence that load tests offer to gates."""

from typing import Any

from apps.core.canonical import digest_of
from apps.core.clock import iso
from apps.core.evidence import Check, CheckResult, EvidenceSubject, Parameter, failed, missing, passed
from apps.loadtests.models import LoadRun


def _latency_at_peak(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """The newest finished run of this artifact for this use case at `multiplier` x the projected load or more."""
    rows = LoadRun.objects.filter(
        deployment__endpoint__usecase_id=subject.usecase_id, state=LoadRun.State.DONE, multiplier__gte=parameters["multiplier"]
    )
    if subject.artifact_digest:
        rows = rows.filter(artifact_digest=subject.artifact_digest)
    if subject.as_of is not None:
        rows = rows.filter(finished_at__lte=subject.as_of)
    run = rows.order_by("-finished_at", "-id").first()
    if run is None:
        return missing(f"Run a load test at {parameters['multiplier']:g}x the projected load on this version's pilot deployment.")
    target = run.latency_target_ms
    share = min(parameters["max_error_share"], run.max_error_share)
    asked = f"p99 at most {target:g} ms, errors at most {share:.2%}" if target is not None else "a stated latency"
    figures = {
        name: getattr(run, name)
        for name in (
            "id",
            "multiplier",
            "rate_rps",
            "duration_s",
            "p50_ms",
            "p99_ms",
            "error_share",
            "throughput_rps",
            "cost_per_1k",
            "passed",
        )
    }
    more: dict[str, Any] = {
        "asked": asked, "source": f"/load-tests/{run.id}/", "source_digest": digest_of(figures), "figure": run.p99_ms, "threshold": target,
    }  # fmt: skip
    when = iso(run.finished_at)[:10] if run.finished_at else ""
    p99 = "no answer" if run.p99_ms is None else f"p99 {run.p99_ms:.1f} ms"
    found = f"{p99} at {run.multiplier:g}x ({run.rate_rps:g}/s for {run.duration_s:g} s), {run.error_share or 0:.2%} errors, {when}"
    # Who signs must see that a pass was not the first try.
    tries, misses = rows.count(), rows.filter(passed=False).count()
    if tries > 1:
        found += f"; the newest of {tries} runs, of which {misses} failed"
    if not run.passed:
        return failed(found, run.detail or "Make the engine faster or give it more room, and test again.", **more)
    if (run.error_share or 0.0) > share:
        return failed(found, "Too many requests failed. Find out why and test again.", **more)
    return passed(found, **more)


CHECKS: dict[str, Check] = {
    "loadtests.latency_at_peak": Check(
        name="loadtests.latency_at_peak",
        title="The promised latency holds at peak load",
        evaluate=_latency_at_peak,
        parameters={
            "multiplier": Parameter(float, 10.0, "least multiple of the projected load", 0.01, 1000),
            "max_error_share": Parameter(float, 0.001, "largest share of failed requests, 0 to 1", 0, 1),
        },
    ),
}

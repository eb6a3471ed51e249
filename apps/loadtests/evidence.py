"""Evidence that load tests offer to gates."""

from typing import Any

from apps.core.canonical import digest_of
from apps.core.clock import iso
from apps.core.evidence import Check, CheckResult, EvidenceSubject, Parameter, failed, missing, passed
from apps.loadtests import rules
from apps.loadtests.models import LoadRun
from apps.usecases import selectors as usecases


def _latency_at_peak(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """The newest run of this artifact for this use case at `multiplier` x the projected load or more decides; all of them are counted.

    It is held against the requirements as they are now, not as they were when it ran.
    """
    ended = LoadRun.objects.filter(
        deployment__endpoint__usecase_id=subject.usecase_id, state__in=[LoadRun.State.DONE, LoadRun.State.FAILED],
        multiplier__gte=parameters["multiplier"],
    )  # fmt: skip
    if subject.artifact_digest:
        ended = ended.filter(artifact_digest=subject.artifact_digest)
    if subject.as_of is not None:
        ended = ended.filter(finished_at__lte=subject.as_of)
    rows = ended.filter(state=LoadRun.State.DONE)
    run = rows.order_by("-finished_at", "-id").first()
    if run is None:
        broken = ended.count()
        more_words = f" {broken} run{'' if broken == 1 else 's'} did not finish." if broken else ""
        return missing(
            f"Run a load test at {parameters['multiplier']:g}x the projected load on this version's pilot deployment.{more_words}"
        )
    required = usecases.requirements(subject.usecase_id)
    target = required.latency_p99_ms if required else None
    share = min(parameters["max_error_share"], run.max_error_share)
    if required is None or target is None or not required.projected_rps:
        return missing("Set the projected load and the p99 latency in the use case's requirements.", asked="a stated load and latency")
    rate, least = parameters["multiplier"] * required.projected_rps, parameters["min_requests"]
    asked = f"p99 at most {target:g} ms at {rate:g}/s, errors at most {share:.2%}, at least {least:,} requests answered"
    figures = {
        name: getattr(run, name)
        for name in (
            "id",
            "multiplier",
            "rate_rps",
            "duration_s",
            "completed",
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
    found = (
        f"{p99} at {run.multiplier:g}x ({run.rate_rps:g}/s for {run.duration_s:g} s, engine alone), {run.completed or 0:,} answered,"
        f" {run.error_share or 0:.2%} errors, {when}"
    )
    # Who signs must see that a pass was not the first try.
    found += f"; {_runs(total=ended.count(), met=rows.filter(passed=True).count(), broken=ended.exclude(state=LoadRun.State.DONE).count())}"
    if not run.passed:
        return failed(found, run.detail or "Make the engine faster or give it more room, and test again.", **more)
    if (run.error_share or 0.0) > share:
        return failed(found, "Too many requests failed. Find out why and test again.", **more)
    if short := rules.short_of(
        rate_rps=run.rate_rps,
        p99_ms=run.p99_ms,
        completed=run.completed or 0,
        required_rps=rate,
        latency_target_ms=target,
        min_requests=least,
    ):
        return failed(found, short, **more)
    return passed(found, **more)


def _runs(*, total: int, met: int, broken: int) -> str:
    """`the newest of 4 runs decides: 1 met the bound, 3 did not`."""
    if total == 1:
        return "the only run"
    missed = total - met - broken
    unfinished = f", {broken} did not finish" if broken else ""
    return f"the newest of {total} runs decides: {met} met the bound, {missed} did not{unfinished}"


CHECKS: dict[str, Check] = {
    "loadtests.latency_at_peak": Check(
        name="loadtests.latency_at_peak",
        title="The promised latency holds at peak load (engine alone, without the gateway)",
        evaluate=_latency_at_peak,
        parameters={
            "multiplier": Parameter(float, 10.0, "least multiple of the projected load", 0.01, 1000),
            "max_error_share": Parameter(float, 0.001, "largest share of failed requests, 0 to 1", 0, 1),
            "min_requests": Parameter(int, 500, "fewest answered requests that a 99th percentile is read from", 1, rules.MAX_REQUESTS),
        },
    ),
}

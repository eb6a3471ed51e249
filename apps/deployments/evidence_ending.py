"""What deployments can say when a use case is to end: nothing of it runs any more, and nobody calls it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Sum

from apps.core.canonical import digest_of
from apps.core.clock import now
from apps.core.evidence import CheckResult, EvidenceSubject, failed, missing, passed
from apps.deployments import rules
from apps.deployments.models import Deployment, Endpoint, EndpointKey, GatewayState, PhaseTally, WorkOrder
from apps.usecases.models import UseCase

GONE = (Deployment.Observed.UNKNOWN, Deployment.Observed.FAILED, Deployment.Observed.STOPPED)


def _perhaps_alive(rows: Iterable[Deployment]) -> set[Any]:
    """Ids of those whose engine may still answer, as the reconciler sees it: a lost one too, and one that an unanswered order speaks of."""
    asked = WorkOrder.objects.filter(deployment__in=rows, kind__in=["start", "stop"], state__in=WorkOrder.OPEN)
    unanswered = set(asked.values_list("deployment_id", flat=True))

    def listed(d: Deployment) -> bool:
        return bool(rules.is_listed(d.host.running, str(d.id), heartbeat_at=d.host.heartbeat_at, observed_at=d.observed_at))

    return {d.id for d in rows if d.observed not in GONE or d.id in unanswered or listed(d)}


def traffic_ended(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """No endpoint of the use case answers with a version of its own: all is stopped, or what runs is what its successor runs in production."""
    endpoints = list(Endpoint.objects.filter(usecase_id=subject.usecase_id).order_by("environment", "slug"))
    rows = list(Deployment.objects.filter(endpoint__in=endpoints).select_related("endpoint", "host").order_by("endpoint__slug", "id"))
    alive = _perhaps_alive(rows)
    running = [d for d in rows if d.desired == "running" or d.id in alive]
    successors = UseCase.objects.filter(predecessor__id=subject.usecase_id)
    theirs = Deployment.objects.filter(
        endpoint__usecase__in=successors, endpoint__environment="production", desired="running", role=Deployment.Role.LIVE
    )
    known = set(theirs.values_list("artifact_digest", flat=True)) if running and parameters["successor"] else set()
    own = [d for d in running if d.artifact_digest not in known or d.desired != "running"]
    more: dict[str, Any] = {
        "asked": "every deployment of its endpoints is stopped" + (", or runs what the successor runs" if parameters["successor"] else ""),
        "source": f"/endpoints/{(own or running)[0].endpoint.slug}/" if running else f"/endpoints/{endpoints[0].slug}/" if endpoints else "",
        "source_digest": digest_of([[str(d.id), d.desired, d.id not in alive, d.artifact_digest in known] for d in rows]),
        "figure": float(len(own)), "threshold": 0.0,
    }  # fmt: skip
    if own:
        which = "; ".join(f"{d} on {d.endpoint.slug}" + (", being stopped" if d.desired == "stopped" else "") for d in own[:5])
        return failed(f"{len(own)} run{'s' if len(own) == 1 else ''}: {which}", "Stop what still runs, on the endpoint's page.", **more)
    if not endpoints:
        return passed("it has no endpoint", **more)
    words = f"nothing of its own runs on {len(endpoints)} endpoint{'' if len(endpoints) == 1 else 's'}"
    return passed(f"{words}; {len(running)} answer{'s' if len(running) == 1 else ''} as the successor does" if running else words, **more)


def _counted_since(since: datetime) -> datetime | None:
    """From when on the requests of every endpoint were counted by each gateway heard of since a moment; None when one does not say so."""
    known = GatewayState.objects.filter(seen_at__gte=since).values_list("counts_since", flat=True)
    return max((moment for moment in known if moment), default=None) if None not in known else None


def callers_gone(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """Every caller's key of its endpoints is revoked, or the gateways counted no request of it for so many days.

    A key that nobody counted for so long is not one that nobody used: then there is nothing to judge yet.
    """
    days = parameters["days"]
    since = (subject.as_of or now()) - timedelta(days=days)
    keys = list(EndpointKey.objects.filter(endpoint__usecase_id=subject.usecase_id).select_related("endpoint").order_by("endpoint__slug", "name"))
    # A call after freezing has to stop the signature, so there is no upper end.
    told = PhaseTally.objects.filter(endpoint__usecase_id=subject.usecase_id, hour__gte=since - timedelta(hours=1)).order_by()
    calls = {r["key_prefix"]: r for r in told.values("key_prefix").annotate(last=Max("hour"), let_in=Sum("admitted"), away=Sum("refused"))}
    valid = [k for k in keys if k.revoked_at is None]
    used = [k for k in valid if k.prefix in calls and calls[k.prefix]["let_in"] + calls[k.prefix]["away"]]
    counted = _counted_since(since)
    began = {k.prefix: max(counted, k.created_at) if counted else None for k in valid if k not in used}
    untold = [k for k in valid if k.prefix in began and not ((moment := began[k.prefix]) and moment <= since)]
    more: dict[str, Any] = {
        "asked": f"every caller's key revoked, or without a request for {days} days",
        "source": f"/endpoints/{(used or keys)[0].endpoint.slug}/" if keys else "",
        # Which keys are used, not how often: every further call would be a change of its own.
        "source_digest": digest_of([[k.prefix, k.revoked_at, k in used, *(["uncounted"] if k in untold else [])] for k in keys]),
        "figure": float(len(used)), "threshold": 0.0,
    }  # fmt: skip
    if used:
        named = "; ".join(f"{k.name} on {k.endpoint.slug}, last on {calls[k.prefix]['last']:%Y-%m-%d}" for k in used[:5])
        return failed(f"{len(used)} in use: {named}", "Tell whoever calls with it the last day, then revoke it on the endpoint's page.", **more)
    if not keys:
        return passed("no key was ever issued", **more)
    if untold:
        which = [(f"{k.name} on {k.endpoint.slug}", began[k.prefix]) for k in untold]
        words = "; ".join(f"{name}, " + (f"counted since {moment:%Y-%m-%d}" if moment else "not counted") for name, moment in which[:5])
        whole = max((moment for _, moment in which if moment), default=None)
        wait = f"request again after {whole + timedelta(days=days):%Y-%m-%d %H:%M} UTC" if whole else "run the newest gateways, and wait"
        return missing(
            f"Nobody knows yet that no request came for {days} days. Revoke what is no longer used on the endpoint's page, or {wait}.",
            found=f"{len(untold)} not counted for so long: {words}", **more,
        )  # fmt: skip
    revoked = len(keys) - len(valid)
    return passed(f"{revoked} of {len(keys)} keys revoked" + (f", {len(valid)} without a request for {days} days" if valid else ""), **more)

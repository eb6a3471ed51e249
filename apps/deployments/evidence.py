"""Evidence that deployments offer to gates."""

from datetime import timedelta
from typing import Any

from apps.core.canonical import digest_of
from apps.core.clock import iso, now
from apps.core.evidence import Check, CheckResult, EvidenceSubject, Parameter, failed, missing, passed
from apps.deployments import evidence_ending
from apps.deployments.models import RollbackRehearsal


def _rehearsed(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """The newest finished rehearsal of this artifact on a pilot endpoint of the use case."""
    rows = RollbackRehearsal.objects.filter(
        endpoint__usecase_id=subject.usecase_id, endpoint__environment="pilot", ok__isnull=False
    ).select_related("endpoint", "deployment", "other")
    if subject.artifact_digest:
        rows = rows.filter(artifact_digest=subject.artifact_digest)
    if subject.as_of is not None:
        rows = rows.filter(at__lte=subject.as_of)
    limit, days = parameters["max_seconds"], parameters["max_age_days"]
    asked = f"back within {limit:g} s, rehearsed in the last {days} days"
    if not parameters["restart"]:
        asked += ", by traffic to another version and back"
    newest = rows.order_by("-at").first()
    if newest is None:
        return missing("Rehearse a rollback on the pilot endpoint while this version is live there.", asked=asked)
    facts = {
        "id": newest.id, "ok": newest.ok, "seconds": newest.seconds, "kind": newest.kind, "at": newest.at,
        "artifact_digest": newest.artifact_digest, "other": str(newest.other) if newest.other else None,
    }  # fmt: skip
    more: dict[str, Any] = {
        "asked": asked, "source": f"/endpoints/{newest.endpoint.slug}/", "source_digest": digest_of(facts),
        "figure": newest.seconds, "threshold": limit,
    }  # fmt: skip
    how = (
        "traffic to another version and back"
        if newest.kind == "shift"
        else "a restart, because no other version was there: engine stopped and started again"
    )
    when = iso(newest.at)[:10] if newest.at else ""
    if not newest.ok or newest.seconds is None:
        return failed(f"not finished, {when}", f"{newest.detail} Mend it and rehearse again.", **more)
    found = f"{newest.seconds:.1f} s ({how}), {when}"
    if newest.kind == "restart" and not parameters["restart"]:
        return failed(
            found, "A restart does not show the way to another version. Deploy a second version beside it and rehearse again.", **more
        )
    if newest.at is not None and newest.at < (subject.as_of or now()) - timedelta(days=days):
        return failed(found, f"That is more than {days} days ago. Rehearse again.", **more)
    if newest.seconds > limit:
        return failed(found, "Going back takes too long. Find out why and rehearse again.", **more)
    return passed(found, **more)


CHECKS: dict[str, Check] = {
    "deployments.traffic_ended": Check(
        name="deployments.traffic_ended",
        title="Nothing of it serves traffic any more",
        evaluate=evidence_ending.traffic_ended,
        parameters={"successor": Parameter(bool, True, "an endpoint may go on answering with the version that the successor runs in production")},
    ),
    "deployments.callers_gone": Check(
        name="deployments.callers_gone",
        title="Nobody calls it any more",
        evaluate=evidence_ending.callers_gone,
        parameters={"days": Parameter(int, 30, "days without a request, for a key that is not revoked", 1, 365)},
    ),
    "deployments.rollback_rehearsed": Check(
        name="deployments.rollback_rehearsed",
        title="A rollback was rehearsed",
        evaluate=_rehearsed,
        parameters={
            "max_seconds": Parameter(float, 60.0, "longest time until callers are answered by the right version, seconds", 0.1, 3600),
            "max_age_days": Parameter(int, 90, "days that a rehearsal counts", 1, 3650),
            "restart": Parameter(bool, True, "whether a restart of the only version counts as a rehearsal"),
        },
    ),
}

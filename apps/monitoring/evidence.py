"""Evidence that monitoring offers to gates."""

from typing import Any

from apps.core.canonical import digest_of
from apps.core.evidence import Check, CheckResult, EvidenceSubject, Parameter, failed, missing, passed
from apps.monitoring import selectors
from apps.monitoring.models import Monitor
from apps.registry import selectors as registry
from apps.registry.models import ModelVersion


def _drift_reference(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """An active drift monitor of the use case has a large enough reference that names every input of the model."""
    rows = Monitor.objects.filter(endpoint__usecase_id=subject.usecase_id, kind=Monitor.Kind.DRIFT, active=True).select_related("endpoint")
    if subject.as_of is not None:
        rows = rows.filter(created_at__lte=subject.as_of)
    monitor = rows.order_by("-created_at", "-id").first()
    asked = f"a reference of {parameters['min_rows']} rows or more with every input of the model"
    if monitor is None:
        return missing("Set up a drift monitor on the pilot endpoint, with a reference sample.", asked=asked)
    n = int(monitor.reference.get("n", 0))
    more: dict[str, Any] = {
        "asked": asked, "source": f"/endpoints/{monitor.endpoint.slug}/monitoring/",
        "source_digest": digest_of({"monitor": monitor.id, "reference": monitor.reference_digest, "config": monitor.config}),
        "figure": float(n), "threshold": float(parameters["min_rows"]),
    }  # fmt: skip
    version = ModelVersion.objects.filter(id=subject.model_version_id).first() if subject.model_version_id else None
    known = set(monitor.reference.get("features", {}))
    gaps = [name for name in registry.feature_names(version) if name not in known] if version else []
    found = f"{n:,} rows, {len(known)} features ({monitor.reference.get('source', '')})"
    if gaps:
        return failed(found, f"The reference lacks {', '.join(gaps[:5])}. Make one that has every input.", **more)
    if n < parameters["min_rows"]:
        return failed(found, "The reference is too small to tell drift from chance. Make a larger one.", **more)
    return passed(found, **more)


def _watched(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """An active monitor of each kind stands on an endpoint of the use case."""
    wanted = sorted({k.strip() for k in parameters["kinds"].split(",") if k.strip()})
    rows = Monitor.objects.filter(endpoint__usecase_id=subject.usecase_id, kind__in=wanted, active=True).select_related("endpoint")
    if subject.as_of is not None:
        rows = rows.filter(created_at__lte=subject.as_of)
    monitors = list(rows.order_by("kind", "created_at", "id"))
    there = sorted({m.kind for m in monitors})
    more: dict[str, Any] = {
        "asked": f"an active monitor of {', '.join(wanted)}", "source_digest": digest_of([[m.id, m.kind, m.config] for m in monitors]),
        "figure": float(len(there)), "threshold": float(len(wanted)),
    }  # fmt: skip
    if monitors:
        more["source"] = f"/endpoints/{monitors[0].endpoint.slug}/monitoring/"
    if gaps := [k for k in wanted if k not in there]:
        found = f"{len(there)} of {len(wanted)} kinds"
        return failed(found, f"Set up a monitor of {', '.join(gaps)} on the endpoint.", **more) if there else missing(
            f"Set up monitors of {', '.join(gaps)} on the endpoint.", **more)  # fmt: skip
    return passed(f"{len(monitors)} active: {', '.join(there)}", **more)


def _no_open_incident(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """Nothing is open that was not dealt with."""
    # As it stands now, not at `as_of`: an incident opened after freezing has to stop the signature.
    rows = list(selectors.open_incidents_of(subject.usecase_id))
    serious = [r for r in rows if r.severity not in parameters["ignore"].split(",")] if parameters["ignore"] else rows
    more: dict[str, Any] = {"asked": "no open incident", "source_digest": digest_of([r.id for r in rows])}
    if not serious:
        return passed("none open", **more)
    first = serious[0]
    more |= {
        "source": f"/endpoints/{first.endpoint.slug}/monitoring/" if first.endpoint else "",
        "figure": float(len(serious)),
        "threshold": 0.0,
    }
    return failed(f"{len(serious)} open: {first.title}", "Deal with it and close it, or say why it may stay open in another way.", **more)


CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check(
            "monitoring.drift_reference", "Drift can be told: there is a reference", _drift_reference,
            {"min_rows": Parameter(int, 400, "rows the reference must have", 10, 10_000_000)},
        ),
        Check(
            "monitoring.watched", "The endpoint is watched", _watched,
            {"kinds": Parameter(str, "drift,latency", "kinds of monitor that must be active, separated by commas")},
        ),
        Check(
            "monitoring.no_open_incident", "No incident is open", _no_open_incident,
            {"ignore": Parameter(str, "", "severities that may be open, separated by commas")},
        ),
    )
}  # fmt: skip

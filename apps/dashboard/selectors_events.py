"""What happened to a use case and when: stage moves, gates for new versions, rollouts, incidents. For charts and lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.approvals.models import Gate
from apps.core.templatetags.gatehouse import words
from apps.deployments.models import Rollout
from apps.monitoring.models import Incident
from apps.usecases.models import UseCase

LIMIT = 60


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened. `short` fits on a chart; `path` is the page that tells more, or empty."""

    at: datetime
    short: str
    words: str
    path: str = ""


def happenings(usecase: UseCase) -> list[Happening]:
    """Oldest first, at most LIMIT of each kind. The caller found the use case among what the actor may see."""
    found = [
        Happening(m.moved_at, _to(m.to_stage), f"moved from {words(m.from_stage)} to {words(m.to_stage)}") for m in usecase.moves.all()
    ]
    gates = Gate.objects.filter(usecase=usecase, kind="version", decided_at__isnull=False).select_related("model_version__model")
    for gate in gates.order_by("-decided_at")[:LIMIT]:
        version = gate.model_version.label if gate.model_version else "a version"
        found.append(
            Happening(
                gate.decided_at, f"{_number(version)} {gate.state}", f"{version} {gate.state} for {gate.environment}", f"/gates/{gate.id}/"
            )
        )
    rollouts = Rollout.objects.filter(endpoint__usecase=usecase).select_related("to_deployment", "endpoint").order_by("-id")[:LIMIT]
    for rollout in rollouts:
        found += _rollout(rollout)
    for incident in Incident.objects.filter(usecase=usecase).select_related("endpoint").order_by("-opened_at")[:LIMIT]:
        path = f"/endpoints/{incident.endpoint.slug}/monitoring/" if incident.endpoint else ""
        found.append(Happening(incident.opened_at, "incident", f"incident: {incident.title}", path))
    return sorted(found, key=lambda h: h.at)


def _rollout(rollout: Rollout) -> list[Happening]:
    label, path = rollout.to_deployment.model_version_label, f"/endpoints/{rollout.endpoint.slug}/"
    begun = "canary" if rollout.strategy == "canary" else "deploy"
    where = rollout.endpoint.environment
    found = [
        Happening(rollout.created_at, f"{_number(label)} {begun}", f"{label}: {begun} on {rollout.endpoint.name} ({where}) begun", path)
    ]
    if rollout.finished_at and rollout.state == Rollout.State.COMPLETED:
        found.append(
            Happening(
                rollout.finished_at, f"{_number(label)} live", f"{label} takes all traffic of {rollout.endpoint.name} ({where})", path
            )
        )
    elif rollout.finished_at:
        found.append(
            Happening(
                rollout.finished_at, f"{_number(label)} {words(rollout.state)}", f"{label} {words(rollout.state)}: {rollout.reason}", path
            )
        )
    return found


def _number(label: str) -> str:
    """`v3` of `name/3`: a chart has little room."""
    number = label.rpartition("/")[2]
    return f"v{number}" if number.isdigit() else label


def _to(stage: str) -> str:
    return {"poc": "proof of concept", "on_hold": "on hold", "stopped": "stopped"}.get(stage, stage)


def for_chart(found: Sequence[Happening], start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """What happened from start to end, or shortly before and after; the chart puts neighbours under one label."""
    near = max((end - start) / 10, timedelta(seconds=1))
    return [(h.at, h.short) for h in found if start - near <= h.at <= end + near]

"""What follows from a window: an incident, a hold, a rollback."""

from django.db import transaction

from apps.core.actor import Actor
from apps.core.errors import DomainError
from apps.deployments import services as deployments
from apps.monitoring import selectors
from apps.monitoring.models import Incident, Monitor, MonitorWindow
from apps.monitoring.services.incidents import open_incident


def react(*, actor: Actor, monitor: Monitor, window: MonitorWindow) -> Incident | None:
    """Act on a window that found something; the caller's transaction holds the window. Returns the incident, new or still open."""
    # Whoever asked for the look, what follows is the monitor's own doing.
    by = Actor.system("monitors", on_behalf_of="" if actor.is_system else actor.id)
    if window.state == MonitorWindow.State.DRIFT:
        return _drifted(by, monitor, window)
    if window.state == MonitorWindow.State.WORSE:
        return _dearer(by, monitor, window) if monitor.kind == Monitor.Kind.COST else _slow(by, monitor, window)
    return None


def _drifted(actor: Actor, monitor: Monitor, window: MonitorWindow) -> Incident:
    found = window.statistics
    names = ", ".join(f"{f} {found['features'][f]['psi']:.2f}" for f in found["drifted"][:6])
    # The version that answered these rows is the one in doubt, also when another has taken over since.
    answered = found.get("answered_by", {})
    subject = max(answered, key=lambda d: answered[d]) if answered else None
    return open_incident(
        actor=actor, endpoint_id=monitor.endpoint_id, deployment_id=subject, severity=Incident.Severity.HIGH, monitor=monitor, window=window,
        title=f"Inputs have drifted: {len(found['drifted'])} of {len(found['features'])} features",
        detail=(
            f"Stability index of {window.n:,} rows against {found['reference_rows']:,} reference rows: {names}. "
            f"An incident is opened from {found['drifted_share_bound']:.0%} of features on."
        ),
        numbers={"drifted": {f: found["features"][f] for f in found["drifted"]}, "n": window.n, "drifted_share": found["drifted_share"]},
    )  # fmt: skip


def _slow(actor: Actor, monitor: Monitor, window: MonitorWindow) -> Incident:
    found = window.statistics
    return open_incident(
        actor=actor, endpoint_id=monitor.endpoint_id, severity=Incident.Severity.MEDIUM, monitor=monitor, window=window, hold=False,
        title=f"Answers are slow: p99 {found['p99_ms']:.0f} ms",
        detail=f"99 of 100 answers came within {found['p99_ms']:.1f} ms over {window.n:,} requests; {found['target_ms']:g} ms are asked.",
        numbers=found,
    )  # fmt: skip


def _dearer(actor: Actor, monitor: Monitor, window: MonitorWindow) -> Incident:
    """The answering version costs more than the one beside it by the stated bound: incident, hold, and back."""
    found, pair = window.statistics["comparison"], window.statistics["pair"]
    words = (
        f"On {found['pairs']:,} labelled rows that both versions answered, {pair['new_version']} costs {found['difference_per_1k']:,.0f} more"
        f" per 1,000 decisions than {pair['old_version']} ({found['confidence']:.0%} interval {found['low_per_1k']:,.0f} to"
        f" {found['high_per_1k']:,.0f}); the stated bound is {found['bound_per_1k']:,.0f}."
    )
    incident = open_incident(
        actor=actor, endpoint_id=monitor.endpoint_id, deployment_id=pair["new"], severity=Incident.Severity.CRITICAL, monitor=monitor,
        window=window, title=f"{pair['new_version']} costs more than {pair['old_version']}", detail=words, numbers=found,
    )  # fmt: skip
    if monitor.config["auto_roll_back"] and incident.rollout_id is None:
        _roll_back(actor, monitor, incident, words)
    return incident


def _roll_back(actor: Actor, monitor: Monitor, incident: Incident, words: str) -> None:
    live, _, rollout = selectors.pair_of(monitor.endpoint_id)
    if rollout is None or live is None or live.id != incident.deployment_id:
        return
    try:
        # Its own savepoint: an incident stays open even where there is no way back.
        with transaction.atomic():
            done = deployments.roll_back(actor=actor, rollout_id=rollout.id, reason=words)
    except DomainError as error:
        incident.detail = f"{incident.detail} It was not rolled back: {error.detail}"
        incident.save(update_fields=["detail"])
        return
    incident.rollout = done
    incident.save(update_fields=["rollout"])

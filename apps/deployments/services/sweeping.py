"""Tidying: what is old enough that nothing needs it."""

from datetime import timedelta

from django.db import transaction

from apps.core.actor import Actor
from apps.core.clock import now
from apps.decisions import selectors as decisions
from apps.deployments.models import AgentReport, Deployment, GatewayState, PhaseTally, RoutingSnapshot
from apps.deployments.services import shifts
from apps.registry.models import AliasRecord

KEEP_REPORTS = timedelta(days=30)
KEEP_SNAPSHOTS = 1000
KEEP_TALLIES = timedelta(days=400)


@transaction.atomic
def sweep(*, actor: Actor) -> int:
    """Delete reports older than a month (no agent sends those again), old snapshots, and tallies and gateways that were last heard of
    more than a year ago; returns how many rows.

    What happened stays: orders, engine starts, shifts and the trail are never deleted.
    """
    moment = now()
    count = AgentReport.objects.filter(received_at__lt=moment - KEEP_REPORTS).delete()[0]
    newest = RoutingSnapshot.objects.order_by("-version").values_list("version", flat=True).first() or 0
    count += RoutingSnapshot.objects.filter(version__lte=newest - KEEP_SNAPSHOTS).delete()[0]
    count += PhaseTally.objects.filter(hour__lt=moment - KEEP_TALLIES).delete()[0]
    # As long as tallies: whether a gateway counted is asked as far back as they go.
    return count + GatewayState.objects.filter(seen_at__lt=moment - KEEP_TALLIES).delete()[0]


@transaction.atomic
def remind_of_aliases(*, actor: Actor) -> int:
    """Have the alias moved where it does not point at what is live in production; returns how many were asked for."""
    rows = Deployment.objects.filter(endpoint__environment="production", role=Deployment.Role.LIVE, desired="running", weight=100)
    live = list(rows.select_related("endpoint", "model_version__model").order_by("id"))
    count = 0
    for deployment in live:
        version = deployment.model_version
        # Two use cases with different versions of one model live: the alias follows whichever moved last.
        if any(d.model_version.model_id == version.model_id and d.model_version_id != version.id for d in live):
            continue
        named = AliasRecord.objects.filter(model=version.model, alias=shifts.PRODUCTION_ALIAS, ended_at=None, version=version).exists()
        # Without a live decision the alias may not move; asking would be refused each time.
        if not named and decisions.is_live(deployment.decision_id):
            shifts.follow_with_alias(deployment.endpoint, deployment)
            count += 1
    return count

"""What running a use case's engines cost, from counted engine hours and the rate card."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Max, Min

from apps.core.actor import Actor
from apps.core.clock import iso, now
from apps.deployments import selectors
from apps.deployments.models import EngineStart
from apps.kpis import selectors as kpis
from apps.kpis import services as kpi_services
from apps.kpis.models import CostEntry

SOURCE = "portal: engine hours x rate card"


@transaction.atomic
def meter_cost(*, actor: Actor, usecase_id: Any, until: datetime | None = None) -> CostEntry | None:
    """Write what the use case's engines cost since the last entry, until `until` (now); None when nothing ran or nothing is priced.

    amount = CPU core hours x cpu_hour + GPU hours x gpu_hour + GiB hours of memory x memory_gib_hour of the rate card in force;
    memory is what the agents said their engines hold. Periods follow each other without
    gaps; the same period again changes nothing.
    """
    card = kpis.rate_card()
    starts = EngineStart.objects.filter(deployment__endpoint__usecase_id=usecase_id)
    last = CostEntry.objects.filter(usecase_id=usecase_id, source=SOURCE).aggregate(at=Max("period_end"))["at"]
    since = last or starts.aggregate(at=Min("started_at"))["at"]
    until = until or now()
    if card is None or since is None or until <= since:
        return None
    hours = selectors.engine_hours(usecase_id=usecase_id, since=since, until=until)
    if hours["engine"] <= 0:
        return None
    prices = {"cpu": card.cpu_hour, "gpu": card.gpu_hour, "memory_gib": card.memory_gib_hour}
    amount = sum((Decimal(repr(hours[name])) * price for name, price in prices.items()), Decimal(0))
    return kpi_services.record_cost(
        actor=actor, usecase_id=usecase_id, period_start=since, period_end=until, amount=round(amount, 6), currency=card.currency,
        source=SOURCE, external_id=f"engines:{iso(since)}",
    )  # fmt: skip
